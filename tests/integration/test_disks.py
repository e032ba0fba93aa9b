"""A disk of a node's own, which loses what was not synced."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faults.fakes import FakeUndoList
from faults.needs import Loss
from harness.substrates.disks import ImageDisk

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root"),
    pytest.mark.skipif(not os.path.exists("/dev/loop-control"), reason="no loop devices here"),
]


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[ImageDisk]:
    made = ImageDisk(image=tmp_path / "disk.img", mount=tmp_path / "disk", undo=FakeUndoList())
    await made.make()
    try:
        yield made
    finally:
        await made.remove()
        assert not os.path.ismount(made.mount)
        assert not made.image.exists()


def write(path: Path, text: str, *, sync: bool) -> None:
    with path.open("a") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())


async def test_what_was_synced_is_kept_and_the_rest_is_lost(disk: ImageDisk) -> None:
    """In one file and between files; and again after the disk came back."""
    for _ in range(2):
        write(disk.data / "log", "synced;", sync=True)
        folder = os.open(disk.data, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        write(disk.data / "log", "not synced;", sync=False)
        write(disk.data / "new", "not synced", sync=False)
        assert await disk.lose_unsynced() == Loss(synced_kept=True, unsynced_lost=True)
        assert not (disk.data / "new").exists()
        assert "not" not in (disk.data / "log").read_text()
    assert (disk.data / "log").read_text() == "synced;synced;"


async def test_a_disk_that_keeps_nothing_is_seen(tmp_path: Path) -> None:
    """The proof can fail: a mark that was not made durable is not there."""
    undo = FakeUndoList()
    made = ImageDisk(image=tmp_path / "disk.img", mount=tmp_path / "disk", undo=undo, sync=lambda _: None)
    await made.make()
    try:
        assert (await made.lose_unsynced()).synced_kept is False
    finally:
        await made.remove()
    assert undo.entries == {}
