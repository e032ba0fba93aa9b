"""A disk of its own for each node: an ext4 file system in a file, which can fail as disks and their power do.

The file lies in the node's folder and is mounted beside it with the options that Debian gives to a root file system
(``data=ordered``, ``errors=remount-ro``). In a run's private mount namespace nobody else sees it, and it is gone with
the run's last process.

========================  =====================================================================================
power failure, dead disk  ext4's shutdown request without a flush of its journal (``EXT4_IOC_SHUTDOWN``,
                          ``include/uapi/linux/ext4.h``): the file system stops as if the machine had, and every
                          call fails with EIO. Mounting it again replays the journal as after any failure.
read-only                 ext4 is told of an error (``/sys/fs/ext4/DEVICE/trigger_fs_error``) and does what it does
                          about a real one: it aborts its journal, and every write fails with EROFS. A plain
                          ``mount -o remount,ro`` is refused while a file is open for writing.
full                      ``posix_fallocate`` of all that is left; nothing is reserved (``mkfs -m 0``)
========================  =====================================================================================

The mark that must survive is synced when the disk is mounted, not when it fails: syncing one file commits the journal
for all of them, and would save what the node had not synced. Marks are overwritten in place, so a full disk takes them.

Needs the right to make loop devices: root, with ``/dev/loop-control``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faults.needs import DiskState, Loss, Undo, UndoList
from harness.errors import HarnessError
from harness.host import mounts, namespaces
from harness.host.tools import run_tool

SIZE = 512 << 20
"""Bytes, of a sparse file: what is not written takes no room."""
BLOCK = 4096
POLL_S = 0.02
POLLS_MAX = 150
"""3 s: how long something may still hold a disk whose node is dead."""

TOOLS = {"mkfs.ext4": "e2fsprogs", "mount": "mount", "umount": "mount", "mountpoint": "util-linux"}
"""Commands that are run, and the Debian and Ubuntu packages that ship them."""

_ALL_IDS = 2**32 - 1
_CAP_SYS_ADMIN = 21
_SHUTDOWN, _WITHOUT_FLUSH = 0x8004587D, 2
_SYNCED, _UNSYNCED, _FILLER, _TRY = "synced-mark", "unsynced-mark", "filler", "try"
_STATES = {errno.ENOSPC: DiskState.FULL, errno.EROFS: DiskState.READ_ONLY, errno.EIO: DiskState.DEAD}
UNMOUNT = 'while mountpoint -q "$1"; do umount -l "$1" || exit 1; done'
"""For a bare process: right as often as it is run, and wherever (in another namespace nothing is mounted there)."""


def why_refused() -> str | None:
    """Why there can be no such disks here, with the next step; None if there can."""
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=namespaces.SEARCH_PATH) is None:
            return f"{tool} not found: sudo apt-get install -y {package}"
    control = Path("/dev/loop-control")
    if not control.exists():
        return "no loop devices (/dev/loop-control): sudo modprobe loop   (in a container: docker run --privileged)"
    if not (os.access(control, os.W_OK) and _may_mount()):
        return "loop devices are mounted by root only: run the same command with sudo"
    if "\text4\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        return "the kernel has no ext4: sudo modprobe ext4"
    return None


def _may_mount() -> bool:
    """Whether this is root outside any user namespace, with the right to administrate."""
    if Path("/proc/self/uid_map").read_text(encoding="ascii").split() != ["0", "0", str(_ALL_IDS)]:
        return False
    status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) & 1 << _CAP_SYS_ADMIN)


@dataclass(kw_only=True, slots=True)
class ImageDisk:
    """Implements :class:`faults.needs.Disk`. ``mount`` holds the folder ``data``, which the node gets."""

    image: Path
    """Its name must be :data:`harness.host.mounts.IMAGE_NAME`."""
    mount: Path
    undo_list: UndoList
    size: int = SIZE
    sync: Callable[[int], None] = os.fsync
    """What makes the synced mark durable (a test leaves it out to see the proof fail)."""
    _mark: str = ""
    _device: str = ""

    @property
    def data(self) -> Path:
        """The node's data folder."""
        return self.mount / "data"

    async def make(self) -> None:
        """Makes and mounts it.

        Raises:
            HarnessError: the machine does not allow it.
        """
        self.mount.mkdir(parents=True, exist_ok=True)
        with self.image.open("wb") as file:
            file.truncate(self.size)
        await _tool("mkfs.ext4", "-q", "-F", "-m", "0", "-b", str(BLOCK), str(self.image))
        unmount = {"argv": ["sh", "-c", UNMOUNT, "sh", str(self.mount)]}
        await self.undo_list.register(Undo(id=self._undo_id, kind="run", arguments=unmount))
        await self._mount()
        self.data.mkdir(exist_ok=True)
        self._renew_marks()

    async def remove(self) -> None:
        """Unmounts it and removes the file. Safe to call twice, and after a failed :meth:`make`.

        Raises:
            HarnessError: somebody still has a file open.
        """
        if os.path.ismount(self.mount):
            await self._unmount()
        self.image.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.mount.rmdir()
        await self.undo_list.discharge(self._undo_id)

    async def lose_unsynced(self) -> Loss:
        """See :class:`faults.needs.Disk`.

        Raises:
            HarnessError: somebody still has a file open, or the machine refuses.
        """
        before = self._mark
        with contextlib.suppress(OSError):  # a disk that failed already takes no mark, and then shows none
            _overwrite(self.mount / _UNSYNCED, before)
        await self.die()
        await self._remount()
        loss = Loss(synced_kept=self._has(_SYNCED, before), unsynced_lost=not self._has(_UNSYNCED, before))
        self._renew_marks()
        return loss

    async def fill(self) -> None:
        """See :class:`faults.needs.Disk`. In steps that are halved, down to the last block."""
        await asyncio.to_thread(_take_all, self.mount / _FILLER, self.size)

    async def free(self) -> None:
        """See :class:`faults.needs.Disk`."""
        (self.mount / _FILLER).unlink(missing_ok=True)

    async def make_read_only(self) -> None:
        """See :class:`faults.needs.Disk`.

        Raises:
            HarnessError: the kernel has no trigger for it.
        """
        if await self.state() is DiskState.READ_ONLY:
            return
        trigger = Path(os.path.realpath(f"/sys/dev/block/{self._device}")).name
        try:
            Path(f"/sys/fs/ext4/{trigger}/trigger_fs_error").write_text("capsize", encoding="ascii")
        except OSError as error:
            raise HarnessError(f"{self.mount} cannot be made read-only: {error}; use a dead disk instead") from None

    async def die(self) -> None:
        """See :class:`faults.needs.Disk`."""
        folder = os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
        finally:
            os.close(folder)

    async def revive(self) -> None:
        """See :class:`faults.needs.Disk`.

        Raises:
            HarnessError: somebody still has a file open.
        """
        if await self.state() in (DiskState.DEAD, DiskState.READ_ONLY):
            await self._remount()
            self._renew_marks()

    async def state(self) -> DiskState:
        """See :class:`faults.needs.Disk`. One that is not mounted is dead.

        Raises:
            OSError: the disk fails in a way that has no name here.
        """
        if not os.path.ismount(self.mount):
            return DiskState.DEAD
        path = self.mount / _TRY
        try:
            (self.mount / _SYNCED).read_bytes()
            path.write_bytes(bytes(BLOCK))
            path.unlink()
        except OSError as error:
            if error.errno not in _STATES:
                raise
            with contextlib.suppress(OSError):
                path.unlink()
            return _STATES[error.errno]
        return DiskState.WORKS

    def undo(self, state: DiskState) -> Undo | None:
        """See :class:`faults.needs.Disk`."""
        if state is not DiskState.FULL:
            return None
        return Undo(id=f"full {self._undo_id}", kind="remove", arguments={"path": str(self.mount / _FILLER)})

    @property
    def _undo_id(self) -> str:
        return f"disk {self.mount}"

    async def _mount(self) -> None:
        await _tool("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.mount))
        self._device = mounts.device_of(self.mount)

    async def _remount(self) -> None:
        await self._unmount()
        await self._mount()

    async def _unmount(self) -> None:
        """Unmounts, and waits until the kernel has let the file system go: mounted once more before that, it would come
        back as it was, dead.
        """
        for _ in range(POLLS_MAX):
            if not os.path.ismount(self.mount):
                break
            if (await run_tool(["umount", str(self.mount)])).status != 0:
                await asyncio.sleep(POLL_S)
        for _ in range(POLLS_MAX):
            if mounts.backing_file(self._device) != str(self.image.resolve()):
                return
            await asyncio.sleep(POLL_S)
        held = ", ".join(map(str, mounts.holders(self._device))) or "none found"
        raise HarnessError(f"{self.mount} is in use and cannot be unmounted; processes that see it mounted: {held}")

    def _renew_marks(self) -> None:
        self._mark = os.urandom(8).hex()
        _overwrite(self.mount / _UNSYNCED, "-" * len(self._mark))
        _overwrite(self.mount / _SYNCED, self._mark, self.sync)

    def _has(self, name: str, mark: str) -> bool:
        path = self.mount / name
        return path.exists() and path.read_text(errors="replace") == mark


async def _tool(*argv: str) -> None:
    done = await run_tool(argv)
    if done.status != 0:
        raise HarnessError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip() or done.status}")


def _overwrite(path: Path, text: str, sync: Callable[[int], None] = lambda _: None) -> None:
    """In place: an old mark of the same length takes no new room."""
    file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.write(file, text.encode())
        sync(file)
    finally:
        os.close(file)


def _take_all(path: Path, size: int) -> None:
    file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        end, step = os.fstat(file).st_size, size
        while step >= BLOCK:
            try:
                os.posix_fallocate(file, end, step)
                end += step
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2
    finally:
        os.close(file)
