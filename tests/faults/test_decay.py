"""Which bytes rot, and that nothing else does."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from faults.disks.decay import KINDS, Edit, Room, answer, apply, draw, look, possible, reader, rooms


def facts(size: int, modified_ns: int, end: int | None = None) -> dict[str, int]:
    return {"size": size, "end": size if end is None else end, "modified_ns": modified_ns}


def test_what_is_old_may_rot_as_a_whole_and_what_is_written_only_where_it_is_old() -> None:
    """The newest of a folder loses neither its end nor what came after the first look, even if nobody writes it."""
    before = {"log/1": facts(100, 5), "log/2": facts(90, 8, end=80), "snap/1": facts(70, 3), "snap/2": facts(70, 4)}
    now = {**before, "log/2": facts(99, 9, end=95), "log/3": facts(50, 10), "late": facts(10, 9)}
    assert rooms(before, now, files="*", spare_tail=20) == [
        Room(file="log/1", limit=100, old=True),
        Room(file="log/2", limit=75, old=False),
        Room(file="snap/1", limit=70, old=True),
        Room(file="snap/2", limit=50, old=False),
    ]


def test_the_first_look_counts_where_much_was_written_since() -> None:
    """What is younger than the first look is never damaged, however much there is behind it."""
    (room,) = rooms({"log": facts(80, 1)}, {"log": facts(5000, 2)}, files="*", spare_tail=20)
    assert room == Room(file="log", limit=80, old=False)


@pytest.mark.parametrize(("pattern", "count"), [("*", 2), ("*.wal", 1), ("log/*", 1), ("*.snap", 0)])
def test_files_are_chosen_by_path_or_name(pattern: str, count: int) -> None:
    """As shells do."""
    seen = {"log/1.wal": facts(9, 1), "db": facts(9, 1)}
    assert len(rooms(seen, seen, files=pattern, spare_tail=0)) == count


def test_a_folder_of_which_everything_is_new_has_no_room() -> None:
    """A tail that is spared whole leaves nothing; only what is old can end early."""
    seen = {"log": facts(100, 1)}
    assert rooms(seen, seen, files="*", spare_tail=100) == []
    assert not possible([], "any")
    newest = rooms(seen, seen, files="*", spare_tail=1)
    assert possible(newest, "any")
    assert not possible(newest, "truncate")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files with random bytes."""
    for number, name in enumerate(("old", "new")):
        (tmp_path / name).write_bytes(Random(name).randbytes(20_000))
        os.utime(tmp_path / name, (number, number))
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(20))
def test_damage_changes_what_it_says_and_nothing_else(kind: str, seed: int, folder: Path) -> None:
    """Every byte outside the edit is as it was, those inside are what was to come, and the same seed repeats it."""
    was = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = [Room(file="new", limit=15_000, old=False), Room(file="old", limit=20_000, old=True)]
    edit = draw(found, kind, [], Random(seed), reader(folder.as_posix()))
    assert edit == draw(found, kind, [], Random(seed), reader(folder.as_posix()))
    assert edit is not None
    told = apply(folder.as_posix(), edit)
    assert told["before"] != told["after"] == told["found"]
    assert told["size"] == 20_000
    is_now = {path.name: path.read_bytes() for path in folder.iterdir()}
    (changed,) = [name for name in was if is_now[name] != was[name]]
    end = edit.offset + edit.length
    assert changed == edit.file
    assert end <= (15_000 if changed == "new" else 20_000)
    assert is_now[changed][: edit.offset] == was[changed][: edit.offset]
    assert is_now[changed][end:] == was[changed][end:]
    if kind == "truncate":
        assert (changed, len(is_now[changed])) == ("old", edit.offset)
    else:
        assert len(is_now[changed]) == len(was[changed])


def test_each_kind_is_what_it_is_called(folder: Path) -> None:
    """One bit; zeros; another chunk's bytes."""
    read = reader(folder.as_posix())
    rooms_here = [Room(file="old", limit=20_000, old=True)]
    for seed in range(10):
        flip, zero, copy = (draw(rooms_here, kind, [], Random(seed), read) for kind in ("flip", "zero", "copy-chunk"))
        assert flip
        assert zero
        assert copy
        byte = read("old", flip.offset, 1)[0]
        chunk = read(copy.source, copy.source_offset, copy.length)
        apply(folder.as_posix(), flip)
        assert (byte ^ read("old", flip.offset, 1)[0]).bit_count() == 1
        apply(folder.as_posix(), zero)
        assert read("old", zero.offset, zero.length) == bytes(zero.length)
        (folder / "old").write_bytes(Random(seed).randbytes(20_000))
        chunk = read(copy.source, copy.source_offset, copy.length)
        apply(folder.as_posix(), copy)
        assert read("old", copy.offset, copy.length) == chunk


def test_zeros_are_not_zeroed_and_no_place_is_hit_twice(folder: Path) -> None:
    """What would change nothing is no damage."""
    (folder / "old").write_bytes(bytes(20_000))
    read = reader(folder.as_posix())
    room = [Room(file="old", limit=20_000, old=True)]
    assert draw(room, "zero", [], Random(1), read) is None
    assert draw(room, "copy-chunk", [], Random(1), read) is None
    whole = Edit(kind="zero", file="old", offset=0, length=20_000)
    assert draw(room, "flip", [whole], Random(1), read) is None


def test_a_look_sees_where_reserved_room_begins(tmp_path: Path) -> None:
    """Zeros at the end do not count, however many; empty files, links and folders are not seen."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "log").write_bytes(b"abc\0def" + bytes(200_000))
    (tmp_path / "blank").write_bytes(bytes(70_000))
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("blank")
    seen = look(tmp_path.as_posix())
    assert {name: (each["size"], each["end"]) for name, each in seen.items()} == {
        "sub/log": (200_007, 7),
        "blank": (70_000, 0),
    }


def test_when_a_file_was_modified_does_not_change(folder: Path) -> None:
    """Which file is the newest is the same after the damage."""
    before = (folder / "old").stat().st_mtime_ns
    apply(folder.as_posix(), Edit(kind="flip", file="old", offset=3, length=1))
    assert (folder / "old").stat().st_mtime_ns == before


def test_several_pieces_are_all_different(folder: Path) -> None:
    """As many as were asked for, by the program's own door; a file that was cut off is left alone after."""
    asked = {"do": "damage", "data": folder.as_posix(), "before": look(folder.as_posix()), "seed": "7 n1"}
    edits = answer({**asked, "kind": "any", "amount": 12, "files": "*", "spare_tail": 100})["edits"]
    assert len(edits) == 12
    assert len({(edit["file"], edit["offset"]) for edit in edits}) == 12
    assert all(edit["found"] == edit["after"] for edit in edits)
    cut = [place for place, edit in enumerate(edits) if edit["kind"] == "truncate"]
    assert all(edit["file"] == "new" for edit in edits[cut[0] + 1 :])


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    """Its end only; nothing where there is none."""
    (tmp_path / "node.log").write_text("x" * 5000 + "\nlast line\n")
    assert answer({"do": "tail", "log": str(tmp_path / "node.log")}).endswith("x\nlast line\n")
    assert answer({"do": "tail", "log": str(tmp_path / "none")}) == ""


def test_room_that_was_only_reserved_does_not_rot() -> None:
    """A file of zeros that is waiting to be used, as etcd's next log is: nothing in it could be lost."""
    seen = {
        "wal/0.tmp": {"size": 64 << 20, "end": 0, "modified_ns": 1},
        "wal/1.wal": {"size": 64 << 20, "end": 9000, "modified_ns": 2},
    }
    assert [room.file for room in rooms(seen, seen, files="*", spare_tail=100)] == ["wal/1.wal"]
