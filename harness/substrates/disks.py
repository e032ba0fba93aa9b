"""A disk of its own for each node: an ext4 file system in a file, which can lose what was not synced.

The file lies in the node's folder and is mounted beside it; in a run's private mount namespace nobody else sees it, and
it is gone with the run's last process. A failure of the power is ext4's shutdown request without a flush of its journal
(``EXT4_IOC_SHUTDOWN``, ``include/uapi/linux/ext4.h``): the file system stops as if the machine had, and mounting it
again replays the journal as after any failure. Measured: 1 ms, and 25-60 ms to mount again.

The mark that must survive is synced when the disk is mounted, not when it fails: syncing one file commits the journal
for all of them, and would save what the node had not synced.

Needs the right to make loop devices: root, with ``/dev/loop-control``.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faults.needs import Loss, Undo, UndoList
from harness.errors import HarnessError
from harness.tools import run_tool

SIZE = 512 << 20
"""Bytes, of a sparse file: what is not written takes no room."""

_SHUTDOWN, _WITHOUT_FLUSH = 0x8004587D, 2
_SYNCED, _UNSYNCED = "synced-mark", "unsynced-mark"


@dataclass(kw_only=True, slots=True)
class ImageDisk:
    """Implements :class:`faults.needs.Disk`. ``mount`` holds the folder ``data``, which the node gets."""

    image: Path
    mount: Path
    undo: UndoList
    size: int = SIZE
    sync: Callable[[int], None] = os.fsync
    """What makes the synced mark durable (a test leaves it out to see the proof fail)."""
    _mark: str = ""

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
        await self._tool("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))
        umount = {"argv": ["umount", "-l", str(self.mount)]}
        await self.undo.register(Undo(id=f"disk {self.mount}", kind="run", arguments=umount))
        await self._tool("mount", "-o", "loop", str(self.image), str(self.mount))
        self.data.mkdir(exist_ok=True)
        self._renew_mark()

    async def remove(self) -> None:
        """Unmounts it and removes the file. Safe to call twice, and after a failed :meth:`make`."""
        if os.path.ismount(self.mount):
            await self._tool("umount", str(self.mount))
        self.image.unlink(missing_ok=True)
        await self.undo.discharge(f"disk {self.mount}")

    async def lose_unsynced(self) -> Loss:
        """See :class:`faults.needs.Disk`.

        Raises:
            HarnessError: somebody still has a file open, or the machine refuses.
        """
        before = self._mark
        _write(self.mount / _UNSYNCED, before)
        folder = os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
        finally:
            os.close(folder)
        await self._tool("umount", str(self.mount))
        await self._tool("mount", "-o", "loop", str(self.image), str(self.mount))
        loss = Loss(synced_kept=self._has(_SYNCED, before), unsynced_lost=not self._has(_UNSYNCED, before))
        self._renew_mark()
        return loss

    def _renew_mark(self) -> None:
        self._mark = os.urandom(8).hex()
        _write(self.mount / _SYNCED, self._mark, self.sync)

    def _has(self, name: str, mark: str) -> bool:
        path = self.mount / name
        return path.exists() and path.read_text(errors="replace") == mark

    async def _tool(self, *argv: str) -> None:
        done = await run_tool(argv)
        if done.status != 0:
            raise HarnessError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip() or done.status}")


def _write(path: Path, text: str, sync: Callable[[int], None] = lambda _: None) -> None:
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        os.write(file, text.encode())
        sync(file)
    finally:
        os.close(file)
