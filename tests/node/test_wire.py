"""Messages between nodes survive the way through protobuf; junk is told from messages; the generated code is
current.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import node
from node.network.frames import WireError
from node.network.wire import decode_message, encode_message
from node.raft.messages import (
    AppendEntries,
    AppendReply,
    Entry,
    EntryKind,
    InstallSnapshot,
    Message,
    RequestVote,
    Snapshot,
    SnapshotReply,
    VoteReply,
)

NUMBERS = st.integers(0, 2**64 - 1)
ENTRIES = st.lists(st.builds(Entry, NUMBERS, NUMBERS, st.sampled_from(EntryKind), st.binary()), max_size=4).map(tuple)
SNAPSHOTS = st.builds(Snapshot, index=NUMBERS, term=NUMBERS, voters=st.lists(st.text(), max_size=3).map(tuple))
COMMON = {"source": st.text(), "target": st.text(), "term": NUMBERS}
FLAGS = st.booleans()
MESSAGES = st.one_of(
    st.builds(RequestVote, **COMMON, last_index=NUMBERS, last_term=NUMBERS, pre=FLAGS),
    st.builds(VoteReply, **COMMON, granted=FLAGS, pre=FLAGS),
    st.builds(
        AppendEntries,
        **COMMON,
        prev_index=NUMBERS,
        prev_term=NUMBERS,
        entries=ENTRIES,
        commit=NUMBERS,
        read_round=NUMBERS,
        patience_ns=NUMBERS,
    ),
    st.builds(
        AppendReply,
        **COMMON,
        success=FLAGS,
        match=NUMBERS,
        refused_index=NUMBERS,
        conflict_index=NUMBERS,
        conflict_term=NUMBERS,
        read_round=NUMBERS,
        fitness=st.integers(0, 2**32 - 1),
    ),
    st.builds(InstallSnapshot, **COMMON, snapshot=SNAPSHOTS, offset=NUMBERS, data=st.binary(), done=FLAGS),
    st.builds(SnapshotReply, **COMMON, index=NUMBERS, next_offset=NUMBERS, done=FLAGS),
)


@given(message=MESSAGES)
def test_every_message_comes_back_as_it_was(message: Message) -> None:
    """All fields of all kinds, with empty and extreme values."""
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("junk", [b"", b"\xff\xff\xff", b"\x0a\x02n1"])
def test_junk_is_refused(junk: bytes) -> None:
    """Bytes that are no protobuf, or hold no message that is known."""
    with pytest.raises(WireError):
        decode_message(junk)


def test_the_generated_code_is_current(tmp_path: Path) -> None:
    """``python -m node.proto.generate`` would change nothing but the generator's version."""
    pytest.importorskip("grpc_tools")
    from node.proto.generate import generate

    committed = Path(node.__file__).parent
    written = generate(tmp_path)
    assert {path.name for path in written} == {path.name for path in committed.glob("*_pb2.py*")}
    for path in written:
        if path.suffix == ".py":
            stale = f"{path.name}: run python -m node.proto.generate"
            assert described(path) == described(committed / path.name), stale


def described(path: Path) -> str:
    """The line that holds the whole .proto, serialized."""
    return next(line for line in path.read_text().splitlines() if "AddSerializedFile(" in line)
