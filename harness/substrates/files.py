"""A user-space file system over a node's data: :mod:`faults.filesystem`, started, commanded and ended.

What lies in the node's folder in the run folder:

=================  ============================================================================================
``files``          where it is mounted; the node's data is ``files/data``
``files-store``    what it holds, as the node sees it
``files-removed``  files that were removed and whose removal is not committed
=================  ============================================================================================

It is a process of its own for each node, which ends when it is unmounted. It does not sync what is beneath: what a node
would lose in a power failure it remembers itself, so a node on it is not slower for the disk's sake.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults.filesystem import device
from faults.filesystem.rules import DATA, HEAL, OPERATIONS, WRITING, Rule, Tally
from faults.needs import Attempt, DiskState, FilesStatus, HelperError, Loss, Undo, UndoList
from faults.programs import local_program
from harness.errors import HarnessError
from harness.substrates.disks import UNMOUNT
from harness.substrates.helpers import LocalHelper, locally

START_TIMEOUT_S = 20.0
PROBE_TIMEOUT_S = 15.0
HEAL_SCRIPT = 'rmdir "$1" 2>/dev/null || [ ! -d "$1" ]'
"""For a bare process: ends all rules; nothing to do where nothing is mounted."""
_SYNCED, _UNSYNCED = "synced-mark", "unsynced-mark"
_AS_DISK = "whole disk"
"""Who owns the rules by which it plays a whole disk that fails."""
_STATES = {"ENOSPC": DiskState.FULL, "EROFS": DiskState.READ_ONLY, "EIO": DiskState.DEAD}


def why_refused() -> str | None:
    """Why there can be no such file systems here, with the next step; None if there can."""
    if not os.path.exists(device.PATH):
        return f"no {device.PATH}: sudo modprobe fuse   (in a container: docker run --privileged)"
    if not os.access(device.PATH, os.R_OK | os.W_OK):
        return f"{device.PATH} is not ours to use: sudo chmod a+rw {device.PATH}, or run as root"
    return None


@dataclass(kw_only=True, slots=True)
class MountedFiles:
    """Implements :class:`faults.needs.Files`, and :class:`faults.needs.Disk` as well: a file system that remembers what
    is not synced can lose it, be full or read-only, or die.
    """

    folder: Path
    undo_list: UndoList
    keep_data: bool = False
    seed: int = 0
    _helper: LocalHelper | None = None
    _mark: str = ""

    @property
    def mount(self) -> Path:
        """Where it is mounted."""
        return self.folder / "files"

    @property
    def data(self) -> Path:
        """The node's data folder."""
        return self.mount / DATA

    @property
    def store(self) -> Path:
        """What it holds, beneath."""
        return self.folder / "files-store"

    @property
    def trash(self) -> Path:
        """What was removed."""
        return self.folder / "files-removed"

    async def make(self) -> None:
        """Starts and mounts it.

        Raises:
            HarnessError: the machine does not allow it.
        """
        self.mount.mkdir(parents=True, exist_ok=True)
        for path in (self.store, self.trash) if not self.keep_data else (self.trash,):
            await self.undo_list.register(Undo(id=f"folder {path}", kind="remove", arguments={"path": str(path)}))
        unmount = {"argv": ["sh", "-c", f'{UNMOUNT}; rmdir "$1" 2>/dev/null || true', "sh", str(self.mount)]}
        await self.undo_list.register(Undo(id=self._undo_id, kind="run", arguments=unmount))
        config = {"mount": str(self.mount), "store": str(self.store), "trash": str(self.trash), "really": False}
        try:
            self._helper = await LocalHelper.start(locally(local_program("faults.filesystem.__main__")))
            said = await self._helper.ask(json.dumps({**config, "seed": self._seed}), timeout_s=START_TIMEOUT_S)
        except HelperError as error:
            raise HarnessError(f"no file system for {self.folder.name}: {error}") from None
        if said != "ready":
            raise HarnessError(f"no file system for {self.folder.name}: {json.loads(said)['error']}")
        self._renew_marks()

    async def remove(self, plain: Path) -> None:
        """Unmounts it and removes what it held; data that is to be kept is moved to the folder ``plain``. Safe to call
        twice, and after a failed :meth:`make`.
        """
        if os.path.ismount(self.mount):
            device.unmount(str(self.mount))
        if self._helper is not None:
            await self._helper.close()
        if self.keep_data and (self.store / DATA).is_dir() and not plain.exists():
            shutil.move(self.store / DATA, plain)
        with contextlib.suppress(FileNotFoundError):
            self.mount.rmdir()
        for path in (self.store, self.trash):
            if path.exists():
                shutil.rmtree(path)
            await self.undo_list.discharge(f"folder {path}")
        await self.undo_list.discharge(self._undo_id)

    # ---- as files

    async def lay(self, owner: str, rules: Sequence[Rule]) -> None:
        """See :class:`faults.needs.Files`."""
        await self._ask({"do": "rules", "owner": owner, "rules": [asdict(rule) for rule in rules]})

    async def status(self) -> FilesStatus:
        """See :class:`faults.needs.Files`."""
        said = await self._ask({"do": "status"})
        tallies = {owner: [Tally(**each) for each in tallies] for owner, tallies in said["rules"].items()}
        return FilesStatus(operations=said["operations"], tallies=tallies, crash=said["crash"])

    async def probe(self, operations: Sequence[str]) -> Mapping[str, Attempt]:
        """See :class:`faults.needs.Files`."""
        said = await self._ask({"do": "probe", "operations": list(operations)}, timeout_s=PROBE_TIMEOUT_S)
        return {operation: Attempt(**attempt) for operation, attempt in said.items()}

    async def thaw(self) -> None:
        """See :class:`faults.needs.Files`."""
        await self._ask({"do": "thaw"})

    def heal_undo(self) -> Undo:
        """See :class:`faults.needs.Files`."""
        argv = ["sh", "-c", HEAL_SCRIPT, "sh", str(self.mount / HEAL)]
        return Undo(id=f"rules of {self.mount}", kind="run", arguments={"argv": argv})

    # ---- as a disk

    async def lose_unsynced(self) -> Loss:
        """See :class:`faults.needs.Disk`."""
        before = self._mark
        _overwrite(self.mount / _UNSYNCED, before)
        await self._ask({"do": "lose"})
        loss = Loss(
            synced_kept=_read(self.mount / _SYNCED) == before, unsynced_lost=_read(self.mount / _UNSYNCED) != before
        )
        self._renew_marks()
        return loss

    async def fill(self) -> None:
        """See :class:`faults.needs.Disk`."""
        await self.lay(_AS_DISK, [Rule(operations=WRITING, action="fill")])

    async def free(self) -> None:
        """See :class:`faults.needs.Disk`."""
        await self.lay(_AS_DISK, [])

    async def make_read_only(self) -> None:
        """See :class:`faults.needs.Disk`."""
        await self._fail(WRITING, errno.EROFS)

    async def die(self) -> None:
        """See :class:`faults.needs.Disk`."""
        await self._fail(OPERATIONS, errno.EIO)

    async def revive(self) -> None:
        """See :class:`faults.needs.Disk`."""
        await self.lay(_AS_DISK, [])
        await self.thaw()

    async def state(self) -> DiskState:
        """See :class:`faults.needs.Disk`."""
        attempts = await self.probe(["read", "write", "create"])
        errors = {attempt.error for attempt in attempts.values()}
        return next((state for error, state in _STATES.items() if error in errors), DiskState.WORKS)

    def undo(self, state: DiskState) -> Undo | None:
        """See :class:`faults.needs.Disk`."""
        return None if state is DiskState.WORKS else self.heal_undo()

    async def _fail(self, operations: Sequence[str], error: int) -> None:
        """What was not synced never will be: nothing may be written any more."""
        await self.lay(_AS_DISK, [Rule(operations=operations, action="fail", error=error)])
        await self._ask({"do": "lose"})

    # ---- how

    def _renew_marks(self) -> None:
        self._mark = os.urandom(8).hex()
        _overwrite(self.mount / _UNSYNCED, "0" * len(self._mark), sync=True)
        _overwrite(self.mount / _SYNCED, self._mark, sync=True)

    async def _ask(self, message: Mapping[str, Any], timeout_s: float = 5.0) -> Mapping[str, Any]:
        """Commands it.

        Raises:
            HelperError: it is dead, does not answer, or refuses.
        """
        if self._helper is None:
            raise HelperError(f"the file system of {self.folder.name} was not started")
        said: Mapping[str, Any] = json.loads(await self._helper.ask(json.dumps(message), timeout_s=timeout_s))
        if "error" in said and isinstance(said["error"], str):
            raise HelperError(f"the file system of {self.folder.name}: {said['error']}")
        return said

    @property
    def _seed(self) -> int:
        return self.seed ^ zlib.crc32(self.folder.name.encode())

    @property
    def _undo_id(self) -> str:
        return f"files {self.mount}"


def _overwrite(path: Path, text: str, *, sync: bool = False) -> None:
    """In place: nothing of a name has to be committed once the file is there."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, text.encode(), 0)
        if sync:
            os.fdatasync(fd)
    finally:
        os.close(fd)


def _read(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii")
    return None
