"""Log entries as bytes: one block stands for a run of them, in an AppendEntries message and in the log on disk alike.

A leader's new entries go to each follower and to its own disk, a follower's come from its leader and go to its disk:
four times the same bytes. So the last blocks are remembered by the entries that they stand for, and each is made once,
or not at all. A block is an array of arrays in msgpack, because Python makes and reads that at a tenth of the cost of
protobuf messages (docs/node.md); peer.proto and log.proto carry it as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from node.network.frames import WireError
from node.raft.messages import Entry

ENTRY_BYTES = 32
"""What an entry takes in a block beside its command, at most."""

REMEMBERED_MAX = 16
"""Blocks: as many as may be on their way at a time, about. Beyond it all are forgotten, which costs an encoding."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Entry, ...]).decode
_remembered: dict[tuple[int, int, int], tuple[Entry, Entry, bytes]] = {}
"""By the identities of the first and the last entry, and how many there are. A run of a log is known by its ends: what
lies before an entry never changes. The value keeps both alive, so that their identities stay theirs.
"""


def size_of(entries: Sequence[Entry]) -> int:
    """At most so many bytes are in the block of these: told without making it."""
    return sum([len(entry.data) for entry in entries]) + ENTRY_BYTES * len(entries)


def runs_of(entries: Sequence[Entry], bytes_max: int) -> Iterator[Sequence[Entry]]:
    """The same entries in runs whose blocks keep to the limit each; a single larger one is a run of its own."""
    first = size = 0
    for position, entry in enumerate(entries):
        size += len(entry.data) + ENTRY_BYTES
        if size > bytes_max and position > first:
            yield entries[first:position]
            first, size = position, len(entry.data) + ENTRY_BYTES
    yield entries[first:]


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """The block of a run of entries; empty for none."""
    if not entries:
        return b""
    known = _remembered.get((id(entries[0]), id(entries[-1]), len(entries)))
    return known[2] if known is not None else _remember(entries, _encode(entries))


def decode_entries(block: bytes) -> tuple[Entry, ...]:
    """The inverse. Raises :class:`WireError` for what no :func:`encode_entries` of this version made."""
    if not block:
        return ()
    try:
        entries = _decode(block)
    except msgspec.DecodeError as error:
        raise WireError(f"no entries: {error}") from None
    if entries:
        _remember(entries, block)
    return entries


def _remember(entries: Sequence[Entry], block: bytes) -> bytes:
    if len(_remembered) >= REMEMBERED_MAX:
        _remembered.clear()
    _remembered[id(entries[0]), id(entries[-1]), len(entries)] = (entries[0], entries[-1], block)
    return block
