"""Data that rotted at rest: the node refuses to start, or comes back with exactly what it had.

Everything on the disk of a small node is damaged, at every byte, in every way that the fault ``rot`` knows; but for the
last group commit, whose damage nobody can tell from a write that was interrupted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.disks.decay import Edit, apply
from node.durable.storage import Change, Storage, UnrecoverableError
from node.raft.messages import Entry, EntryKind, HardState, Snapshot

SEGMENT_BYTES = 150
STATES = {3: b"state at three " * 2, 6: b"state at six " * 2}
VOTERS = ("n1", "n2", "n3")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a node knows after a restart."""

    hard_state: HardState
    entries: Sequence[Entry]
    snapshot: Snapshot
    state: bytes | None


def entry(index: int, term: int) -> Entry:
    return Entry(index=index, term=term, kind=EntryKind.COMMAND, data=f"command {index} of {term}".encode())


def write(directory: Path) -> None:
    """A history with everything in it: votes, a conflict that was cut away, snapshots, segments, a sealed end."""
    storage = Storage(directory, segment_bytes=SEGMENT_BYTES)
    storage.persist([Change(hard_state=HardState(term=1, vote="n1"))])
    for index in (1, 2, 3):
        storage.persist([Change(entries=[entry(index, 1)])])
    take(storage, 3, 1)
    storage.persist([Change(entries=[entry(4, 1), entry(5, 1)])])
    storage.persist([Change(hard_state=HardState(term=2, vote="n2"), truncate_from=5, entries=[entry(5, 2)])])
    storage.persist([Change(entries=[entry(6, 2)])])
    take(storage, 6, 2)
    for index in (7, 8, 9):
        storage.persist([Change(truncate_from=index, entries=[entry(index, 2)])])
        storage.persist([Change(hard_state=HardState(term=index, vote="n3"))])
        storage.persist([Change(truncate_from=index, entries=[entry(index, index)])])
    storage.seal()
    storage.close()


def take(storage: Storage, index: int, term: int) -> None:
    snapshot = Snapshot(index=index, term=term, voters=VOTERS)
    storage.save_snapshot(snapshot, STATES[index])
    storage.compact(snapshot)


def read(directory: Path) -> Memory:
    """A restart. Raises UnrecoverableError."""
    storage = Storage(directory, segment_bytes=SEGMENT_BYTES)
    storage.close()
    recovered = storage.recovered
    return Memory(
        hard_state=recovered.hard_state,
        entries=recovered.entries,
        snapshot=recovered.snapshot,
        state=storage.state,
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undamaged data directory."""
    directory = tmp_path_factory.mktemp("original")
    write(directory)
    return directory


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on a sync."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(f"os.{name}", lambda _: None)


def files(directory: Path) -> Mapping[str, int]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path.stat().st_size)
    return {str(path.relative_to(directory)): path.stat().st_size for path in paths}


def chunks(directory: Path, kind: str, length: int) -> Iterator[Edit]:
    """Chunks of one length everywhere, with zeros or with a chunk from another place: the same file or another."""
    sizes = files(directory)
    names = list(sizes)
    for number, (file, size) in enumerate(sizes.items()):
        for offset in range(0, size - length + 1, 5):
            source = names[(number + offset) % len(names)]
            place = (offset * 7 + 1) % (sizes[source] - length + 1)
            yield Edit(kind=kind, file=file, offset=offset, length=length, source=source, source_offset=place)


def edits(directory: Path) -> Iterator[Edit]:
    """All of it."""
    for file, size in files(directory).items():
        for offset in range(size):
            yield Edit(kind="flip", file=file, offset=offset, length=1, bit=offset % 8)
            yield Edit(kind="truncate", file=file, offset=offset, length=size - offset)
    for length in (4, 16, 64):
        yield from chunks(directory, "zero", length)
        yield from chunks(directory, "copy-chunk", length)


def last_frame(directory: Path) -> tuple[str, int]:
    """The newest segment, and where its last group commit begins: from there on nobody can tell rot from a torn tail,
    if nothing valid is left behind it.
    """
    newest = [file for file in files(directory) if file.startswith("wal/")][-1]
    data = (directory / newest).read_bytes()
    seal = data.rindex(b"\xacWL\x01")
    return newest, data.rindex(b"\xacWL\x01", 0, seal)


def is_spared(edit: Edit, newest: str, last: int) -> bool:
    """Whether the fault never does this: it takes the log's end away, or reaches into the last group commit."""
    return edit.file == newest and (edit.kind == "truncate" or edit.offset + edit.length > last)


def restore(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Only what differs is written: this is done thousands of times."""
    for path in directory.rglob("*.bad"):
        path.unlink()
    for file, data in contents.items():
        path = directory / file
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)


def wrong(directory: Path, whole: Memory, edit: Edit) -> list[str]:
    """What the node made of the damage, if it is neither a refusal nor the truth."""
    apply(str(directory), edit)
    try:
        found = read(directory)
    except UnrecoverableError:
        return []
    right = (found.hard_state, found.entries) == (whole.hard_state, whole.entries)
    known = found.snapshot.index == 0 or STATES[found.snapshot.index] == found.state
    return [] if right and known else [f"{edit}: {found}"]


def test_no_damage_is_believed(original: Path, tmp_path: Path) -> None:
    """Refused, or the same term, vote, log and snapshot."""
    contents = {file: (original / file).read_bytes() for file in files(original)}
    scratch = tmp_path / "scratch"
    shutil.copytree(original, scratch)
    whole = read(original)
    assert len([file for file in files(original) if file.startswith("wal/")]) >= 4
    assert whole.snapshot.index == 6
    newest, last = last_frame(original)
    failures = []
    for edit in edits(original):
        if not is_spared(edit, newest, last):
            restore(scratch, contents)
            failures += wrong(scratch, whole, edit)
    assert failures == []
