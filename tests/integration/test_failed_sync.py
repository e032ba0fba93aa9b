"""The node's log on a disk whose sync fails once, and then on one that loses its power: a file system of ours, really
mounted, that treats the pages of a failed sync as Linux does.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faults.fakes.cluster import FakeUndoList
from faults.filesystem.rules import Rule
from harness.substrates.files import MountedFiles, why_refused
from node.durable.wal import Wal

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="outside namespaces only root mounts"),
    pytest.mark.skipif(why_refused() is not None, reason="no /dev/fuse here"),
]

FRAMES = [letter * 3000 for letter in (b"a", b"b", b"c", b"d")]
"""Each begins in a page that holds a part of the one before."""


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[MountedFiles]:
    made = MountedFiles(folder=tmp_path / "n1", undo_list=FakeUndoList())
    await made.make()
    try:
        yield made
    finally:
        await made.remove(tmp_path / "kept")


def recovered(folder: Path) -> tuple[Wal, list[bytes]]:
    wal = Wal(folder)
    return wal, [frame.payload for frame in wal.recover()]


async def test_what_is_read_back_after_a_failed_sync_is_written_once_more(files: MountedFiles) -> None:
    """The page of the frame whose sync failed is clean for the kernel, and never was on the disk. Later frames are, so
    that without it the log would have a hole, and be refused as damaged.
    """
    folder = files.data / "wal"
    wal, _ = recovered(folder)
    wal.rotate()
    wal.append(FRAMES[0])
    await files.lay("test", [Rule(operations=["fsync"], path="wal/*", action="fail", error=errno.EIO)])
    with pytest.raises(OSError, match="Input/output"):
        wal.append(FRAMES[1])
    wal.close()
    await files.lay("test", [])
    wal, found = recovered(folder)
    assert found == FRAMES[:2]
    for frame in FRAMES[2:]:
        wal.append(frame)
    wal.seal()
    wal.close()
    await files.lose_unsynced()
    wal, found = recovered(folder)
    wal.close()
    assert found == FRAMES
