"""What a node's data is on: a folder, or as a run's faults need it an ext4 image of its own, or a file system of ours.

Where both are wanted there is only the second: it can do with a disk whatever the first can, and an image beneath it
could not be unmounted while it has files open there.

Substrates whose nodes' data is on this machine make one :class:`Storage` for each node before it is started, hand
``data`` to the node, and remove it after the node is dead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from faults.family import Storage as Kind
from faults.needs import Disk, Files, Undo, UndoList
from harness.errors import HarnessError
from harness.host.mounts import IMAGE_NAME
from harness.substrates.disks import ImageDisk
from harness.substrates.files import MountedFiles


@dataclass(slots=True, kw_only=True)
class Storage:
    """One node's. ``folder`` is the node's folder in the run folder."""

    name: str
    folder: Path
    wanted: frozenset[Kind]
    undo: UndoList
    keep_data: bool = False
    image: ImageDisk | None = None
    mounted: MountedFiles | None = None

    @property
    def data(self) -> Path:
        """The node's data folder; known before it is made."""
        if "fuse" in self.wanted:
            return self.folder / "files" / "data"
        return self.folder / "disk" / "data" if "image" in self.wanted else self._plain

    @property
    def disk(self) -> Disk | None:
        """The disk of its own."""
        return self.mounted if self.mounted is not None else self.image

    @property
    def files(self) -> Files | None:
        """The user-space file system."""
        return self.mounted

    async def make(self) -> None:
        """Makes it; what is made is registered with the watchdog first.

        Raises:
            HarnessError: the machine does not allow it.
        """
        if not self.keep_data:
            await self.undo.register(Undo(id=self._undo_id, kind="remove", arguments={"path": str(self._plain)}))
            await self.undo.register(Undo(id=self._image_undo_id, kind="remove", arguments={"path": str(self._file)}))
        if "fuse" in self.wanted:
            self.mounted = MountedFiles(folder=self.folder, undo_list=self.undo, keep_data=self.keep_data)
            await self.mounted.make()
        elif "image" in self.wanted:
            self.image = ImageDisk(image=self._file, mount=self.folder / "disk", undo_list=self.undo)
            await self.image.make()
        self.data.mkdir(parents=True, exist_ok=True)

    async def remove(self) -> None:
        """Removes it; the data too, unless it is to be kept (then what was on an image is copied to the folder
        ``data``). Safe to call twice.
        """
        if self.mounted is not None:
            await self.mounted.remove(self._plain)
        if self.image is not None:
            if self.keep_data and os.path.ismount(self.image.mount):
                shutil.copytree(self.image.data, self._plain, symlinks=True, dirs_exist_ok=True)
            await self.image.remove()
        if not self.keep_data:
            if self._plain.exists():
                shutil.rmtree(self._plain)
            await self.undo.discharge(self._image_undo_id)
            await self.undo.discharge(self._undo_id)

    def check_seen(self, path: str) -> None:
        """Whether a container, in whose root ``path`` leads to its data folder, really sees this storage. No error if
        the container is dead, or nobody but root may look into it.

        Raises:
            HarnessError: it sees something else.
        """
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if self.wanted and os.stat(path).st_dev != self.data.stat().st_dev:
                raise HarnessError(
                    f"the container of {self.name} does not see what is mounted at {self.data}: its engine runs in"
                    " another mount namespace; start the engine and Capsize in the same one, or use --substrate process"
                )

    @property
    def _plain(self) -> Path:
        return self.folder / "data"

    @property
    def _file(self) -> Path:
        return self.folder / IMAGE_NAME

    @property
    def _undo_id(self) -> str:
        return f"data of {self.name}"

    @property
    def _image_undo_id(self) -> str:
        return f"image of {self.name}"
