"""What rot does to files at rest, and where it may: decided by a pure function of what is on the disk and a random
stream, carried out by a program that runs where the files are (:mod:`faults.programs`).

==============  =====================================================================================================
``flip``        one bit
``zero``        a chunk of 64, 512 or 4096 bytes: a sector that was lost
``copy-chunk``  a chunk with another one's bytes, of the same file or another: a write or a read that was misdirected
``truncate``    the file ends early
==============  =====================================================================================================

Never the newest records. The last record of a log that is damaged looks like one that was being written when the
machine stopped, to everybody, and whoever cuts off such a torn tail is right; what was promised with it is lost all the
same. What may be damaged is decided without knowing any format, by two looks at the folder, one some time before the
node is killed and one after:

* A file that was not written between the looks, and is not the newest of its folder: all of it.
* Any other (what is being written, and the newest of a folder): only what was there at the first look, without the last
  ``spare_tail`` bytes, and never by ``truncate``, since a log that ends early is a log that ends. Zeros at a file's end
  are room that was reserved for what is to come, and do not count; nor does a file of nothing else, however old.
* What was not there at the first look: nothing.

A file that is overwritten in place (a database's pages) has its newest records anywhere: aim past it with ``files``.

Nothing but the standard library is imported here.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

KINDS = ("flip", "zero", "copy-chunk", "truncate")
CHUNKS = (64, 512, 4096)
TRIES_MAX = 30
"""How often a place is drawn anew where nothing would change, or something was changed already."""
TAIL_BYTES = 8000
_BLOCK = 1 << 16

Listing = Mapping[str, Mapping[str, int]]
"""By path below the folder: ``size``, ``end`` (without zeros at the end) and ``modified_ns``."""
Read = Callable[[str, int, int], bytes]
"""Bytes of a file: path, offset, length."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What of a file may be damaged: its bytes below ``limit``; all of it, even its length, if it is ``old``."""

    file: str
    limit: int
    old: bool


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One piece of damage. ``length`` bytes from ``offset`` on: one of whose ``bit`` is flipped, or that are replaced,
    or that are cut off. ``source`` says where a copied chunk comes from.
    """

    kind: str
    file: str
    offset: int
    length: int
    bit: int = 0
    source: str = ""
    source_offset: int = 0


def rooms(before: Listing, now: Listing, *, files: str, spare_tail: int) -> list[Room]:
    """What may be damaged, by two looks at a folder; ``files`` is a pattern for paths or names."""
    newest: dict[str, int] = {}
    for file, facts in now.items():
        folder = os.path.dirname(file)
        newest[folder] = max(newest.get(folder, 0), facts["modified_ns"])
    found = []
    for file, facts in sorted(now.items()):
        if file not in before or not _matches(file, files):
            continue
        old = facts == before[file] and facts["modified_ns"] < newest[os.path.dirname(file)]
        limit = facts["size"] if old else min(before[file]["end"], facts["end"] - spare_tail)
        if limit > 0 and facts["end"]:
            found.append(Room(file=file, limit=limit, old=old))
    return found


def possible(found: Sequence[Room], kind: str) -> bool:
    """Whether there is room for this kind of damage (``any``: for one of them)."""
    return any(kind != "truncate" or room.old for room in found)


def draw(found: Sequence[Room], kind: str, taken: Sequence[Edit], random: Random, read: Read) -> Edit | None:
    """Damage that changes something, away from what was damaged before; None where none was found."""
    for one in random.sample(KINDS, len(KINDS)) if kind == "any" else (kind,):
        fit = [room for room in found if one != "truncate" or room.old]
        for _ in range(TRIES_MAX if fit else 0):
            edit = _place(one, random.choice(fit), found, random)
            if not any(_overlap(edit, other) for other in taken) and _changes(edit, read):
                return edit
    return None


def replaced(edit: Edit, read: Read) -> bytes:
    """The bytes that come in place of those from ``offset`` on."""
    if edit.kind == "flip":
        return bytes([read(edit.file, edit.offset, 1)[0] ^ 1 << edit.bit])
    if edit.kind == "zero":
        return bytes(edit.length)
    return read(edit.source, edit.source_offset, edit.length) if edit.kind == "copy-chunk" else b""


def _place(kind: str, room: Room, found: Sequence[Room], random: Random) -> Edit:
    if kind == "flip":
        return Edit(kind=kind, file=room.file, offset=random.randrange(room.limit), length=1, bit=random.randrange(8))
    if kind == "truncate":
        offset = random.randrange(room.limit)
        return Edit(kind=kind, file=room.file, offset=offset, length=room.limit - offset)
    origin = random.choice(found)
    length = min(random.choice(CHUNKS), room.limit, origin.limit)
    edit = Edit(kind=kind, file=room.file, offset=random.randint(0, room.limit - length), length=length)
    if kind == "zero":
        return edit
    place = random.randint(0, origin.limit - length)
    return Edit(**{**asdict(edit), "source": origin.file, "source_offset": place})


def _matches(file: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(file, pattern) or fnmatch.fnmatchcase(os.path.basename(file), pattern)


def _overlap(one: Edit, other: Edit) -> bool:
    apart = one.offset + one.length <= other.offset or other.offset + other.length <= one.offset
    return one.file == other.file and (not apart or "truncate" in (one.kind, other.kind))


def _changes(edit: Edit, read: Read) -> bool:
    return edit.kind == "truncate" or replaced(edit, read) != read(edit.file, edit.offset, edit.length)


# ---- on the disk


def look(folder: str) -> Listing:
    """All regular files below a folder that are not empty. Raises OSError."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            full = os.path.join(path, name)
            if os.path.isfile(full) and not os.path.islink(full):
                with contextlib.suppress(FileNotFoundError), open(full, "rb") as file:
                    facts = os.fstat(file.fileno())
                    end = _end(file.fileno(), facts.st_size)
                    shape = {"size": facts.st_size, "end": end, "modified_ns": facts.st_mtime_ns}
                    if facts.st_size:
                        found[os.path.relpath(full, folder)] = shape
    return found


def _end(file: int, size: int) -> int:
    """Where the zeros at the end begin."""
    end = size
    while end > 0:
        begin = max(0, end - _BLOCK)
        kept = os.pread(file, end - begin, begin).rstrip(b"\0")
        if kept:
            return begin + len(kept)
        end = begin
    return 0


def reader(folder: str) -> Read:
    """Reads files below a folder."""

    def read(path: str, offset: int, length: int) -> bytes:
        with open(os.path.join(folder, path), "rb") as file:
            return os.pread(file.fileno(), length, offset)

    return read


def apply(folder: str, edit: Edit) -> dict[str, Any]:
    """Does the damage, and reads it back from the disk. When the file was modified is left as it was: rot leaves no
    trace there. Raises OSError.

    Returns the edit with the file's size before, and hashes of the bytes before, of those that were to be, and of those
    that are there now.
    """
    read = reader(folder)
    size = os.path.getsize(os.path.join(folder, edit.file))
    told = {**asdict(edit), "size": size, "before": _hash(read(edit.file, edit.offset, edit.length))}
    new = replaced(edit, read)
    file = os.open(os.path.join(folder, edit.file), os.O_RDWR)
    try:
        times = os.fstat(file)
        if edit.kind == "truncate":
            os.ftruncate(file, edit.offset)
        else:
            os.pwrite(file, new, edit.offset)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)
    return {**told, "after": _hash(new), "found": _hash(read(edit.file, edit.offset, edit.length))}


def damage(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Draws and does what is asked for: ``data`` (the folder), ``before`` (the first look), ``kind``, ``amount``,
    ``files``, ``spare_tail``, ``seed``. Returns ``edits``. Raises OSError.
    """
    folder, random = asked["data"], Random(asked["seed"])
    found = rooms(asked["before"], look(folder), files=asked["files"], spare_tail=asked["spare_tail"])
    edits: list[Edit] = []
    told = []
    for _ in range(asked["amount"]):
        edit = draw(found, asked["kind"], edits, random, reader(folder))
        if edit is None:
            break
        edits.append(edit)
        told.append(apply(folder, edit))
        found = [room for room in found if edit.kind != "truncate" or room.file != edit.file]
    return {"edits": told}


def tail(path: str) -> str:
    """The end of a text file; empty if there is none."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return os.pread(file.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES)).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def answer(asked: Mapping[str, Any]) -> Any:
    """What the program is asked for: to ``look``, to do ``damage``, or for the ``tail`` of a log."""
    if asked["do"] == "damage":
        return damage(asked)
    return look(asked["data"]) if asked["do"] == "look" else tail(asked["log"])


def main() -> int:
    """JSON from standard input, the answer as JSON to standard output."""
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
    return 0
