"""The disk as the loop sees it: what waits behind a slow sync is joined, within a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from node.durable import disk as disks
from node.durable import storage as storages
from node.durable import wal
from node.durable.disk import Disk
from node.durable.storage import Change, Storage
from node.durable.wal import Wal
from node.raft.messages import Entry, EntryKind

COMMAND = bytes(4096)
PER_TURN = 10
FRAME = 256 << 10
"""A frame holds six turns."""


class HangingWal(Wal):
    """A log whose syncs wait for a test."""

    go_on = Event()

    def sync(self) -> None:
        assert self.go_on.wait(30)
        super().sync()


class HangingStorage(Storage):
    """Counts the changes of each group commit."""

    wal = HangingWal

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.commits: list[int] = []

    def persist(self, changes: Sequence[Change]) -> None:
        self.commits.append(len(changes))
        super().persist(changes)


def turn(number: int) -> Change:
    """What one turn of a busy leader brings to the disk."""
    first = number * PER_TURN + 1
    return Change(
        entries=tuple(Entry(index, 1, EntryKind.COMMAND, COMMAND) for index in range(first, first + PER_TURN))
    )


async def test_what_waits_for_a_slow_sync_is_joined_frame_by_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the log takes as one frame piles up: all of it is written, and each part is reported when it is durable
    and not when all is.
    """
    for module in (disks, storages):
        monkeypatch.setattr(module, "FRAME_BYTES", FRAME)
    monkeypatch.setattr(wal, "FRAME_BYTES_MAX", 4 * FRAME)
    HangingWal.go_on.clear()
    storage = HangingStorage(tmp_path)
    failures: list[BaseException] = []
    done: list[int] = []
    disk = Disk(storage, asyncio.get_running_loop(), failures.append)
    all_done = asyncio.Event()
    for number in range(31):
        disk.persist(turn(number), partial(done.append, number))
        disk.flush()
    disk.persist(None, all_done.set)
    HangingWal.go_on.set()
    await asyncio.wait_for(all_done.wait(), 30)
    await disk.close()
    storage.close()
    assert not failures
    assert done == list(range(31))
    assert storage.commits == [1, 7, 7, 7, 7, 2]
    reopened = Storage(tmp_path)
    reopened.close()
    assert len(reopened.recovered.entries) == 31 * PER_TURN
