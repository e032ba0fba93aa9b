"""The key-value state machine: what operations do, and that sessions make them happen once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import kv_pb2
from node.machine import VALUE_BYTES_MAX, BadStateError, Machine, Result, ResultKind
from node.zoo.sessions import DoubleApply

OK = Result(ResultKind.OK)


def opened() -> bytes:
    return kv_pb2.Command(open_session=kv_pb2.OpenSessionRequest()).SerializeToString()


def write(session: int, sequence: int, key: str = "k", **operation: object) -> bytes:
    request = kv_pb2.ExecuteRequest(session=session, sequence=sequence, key=key, **operation)  # type: ignore[arg-type]
    return kv_pb2.Command(write=request).SerializeToString()


def put(session: int, sequence: int, value: bytes, key: str = "k") -> bytes:
    return write(session, sequence, key, put=kv_pb2.Put(value=value))


def append(session: int, sequence: int, value: bytes) -> bytes:
    return write(session, sequence, append=kv_pb2.Append(value=value))


def cas(session: int, sequence: int, expected: bytes | None, value: bytes) -> bytes:
    return write(session, sequence, cas=kv_pb2.CompareAndSet(expected=expected, value=value))


def machine_with_session(kind: type[Machine] = Machine) -> Machine:
    machine = kind()
    assert machine.apply(1, opened()) == Result(ResultKind.OK, session=1)
    return machine


def test_operations() -> None:
    """put sets, append extends or creates, delete removes (and removing nothing is fine)."""
    machine = machine_with_session()
    assert machine.get("k") is None
    assert machine.apply(2, put(1, 1, b"a")) == OK
    assert machine.apply(3, append(1, 2, b"b")) == OK
    assert machine.get("k") == b"ab"
    assert machine.apply(4, write(1, 3, delete=kv_pb2.Delete())) == OK
    assert machine.get("k") is None
    assert machine.apply(5, write(1, 4, delete=kv_pb2.Delete())) == OK
    assert machine.apply(6, append(1, 5, b"c")) == OK
    assert machine.get("k") == b"c"


def test_compare_and_set_tells_what_it_observed() -> None:
    """A mismatch changes nothing; ``expected`` absent means that the key must not exist, which is not the empty
    value.
    """
    machine = machine_with_session()
    assert machine.apply(2, cas(1, 1, b"", b"x")) == Result(ResultKind.MISMATCH, None)
    assert machine.apply(3, cas(1, 2, None, b"x")) == OK
    assert machine.apply(4, cas(1, 3, None, b"y")) == Result(ResultKind.MISMATCH, b"x")
    assert machine.apply(5, cas(1, 4, b"x", b"y")) == OK
    assert machine.get("k") == b"y"


def test_a_repeated_write_happens_once_and_gets_the_same_answer() -> None:
    """The remembered result, not a new one: a repeated compare-and-set that succeeded still says so."""
    machine = machine_with_session()
    machine.apply(2, append(1, 1, b"a"))
    assert machine.apply(3, append(1, 1, b"a")) == OK
    assert machine.get("k") == b"a"
    assert machine.apply(4, cas(1, 2, b"a", b"b")) == OK
    assert machine.apply(5, cas(1, 2, b"a", b"b")) == OK
    assert machine.apply(6, append(1, 1, b"a")).kind is ResultKind.FORGOTTEN
    assert machine.get("k") == b"b"


def test_double_apply_does_it_twice() -> None:
    """The planted bug K1."""
    machine = machine_with_session(DoubleApply)
    machine.apply(2, append(1, 1, b"a"))
    machine.apply(3, append(1, 1, b"a"))
    assert machine.get("k") == b"aa"


def test_an_unknown_session_changes_nothing() -> None:
    """Neither does sequence number 0, which no write has."""
    machine = machine_with_session()
    assert machine.apply(2, put(99, 1, b"a")).kind is ResultKind.SESSION_EXPIRED
    assert machine.apply(3, put(1, 0, b"a")).kind is ResultKind.INVALID
    assert machine.get("k") is None


def test_the_session_used_longest_ago_is_forgotten_first() -> None:
    """Use counts, not age; the place in the log decides, so every node forgets the same one."""
    machine = Machine(sessions_max=2)
    machine.apply(1, opened())
    machine.apply(2, opened())
    machine.apply(3, put(1, 1, b"a"))
    machine.apply(4, opened())
    assert machine.session_count == 2
    assert machine.apply(5, put(2, 1, b"b")).kind is ResultKind.SESSION_EXPIRED
    assert machine.apply(6, put(1, 2, b"c")) == OK
    assert machine.apply(7, put(4, 1, b"d")) == OK


@pytest.mark.parametrize("junk", [b"", b"\xff\xff", kv_pb2.Command(write=kv_pb2.ExecuteRequest()).SerializeToString()])
def test_junk_never_raises(junk: bytes) -> None:
    """What can't be understood is refused alike on every node; an exception would stop them all."""
    assert Machine().apply(1, junk).kind in (ResultKind.INVALID, ResultKind.SESSION_EXPIRED)


def test_a_value_cannot_grow_for_ever() -> None:
    """The limit is part of the state machine."""
    machine = machine_with_session()
    machine.apply(2, put(1, 1, bytes(VALUE_BYTES_MAX)))
    assert machine.apply(3, append(1, 2, b"x")).kind is ResultKind.INVALID


COMMANDS = st.lists(
    st.one_of(
        st.just(opened()),
        st.builds(put, st.integers(1, 5), st.integers(1, 4), st.binary(max_size=3), st.sampled_from("abc")),
        st.builds(append, st.integers(1, 5), st.integers(1, 4), st.binary(max_size=3)),
        st.builds(cas, st.integers(1, 5), st.integers(1, 4), st.none() | st.binary(max_size=1), st.binary(max_size=1)),
        st.builds(lambda s, q: write(s, q, delete=kv_pb2.Delete()), st.integers(1, 5), st.integers(1, 4)),
    ),
    max_size=30,
)


@settings(max_examples=30)
@given(before=COMMANDS, after=COMMANDS)
def test_a_snapshot_holds_everything(before: list[bytes], after: list[bytes]) -> None:
    """A machine restored from a snapshot (sessions included) gives the same results and hashes ever after."""
    original, copy = Machine(sessions_max=3), Machine(sessions_max=3)
    for index, command in enumerate(before, start=1):
        original.apply(index, command)
    copy.restore(original.copy().encode())
    assert copy.state_hash() == original.state_hash()
    for index, command in enumerate(after, start=len(before) + 1):
        assert copy.apply(index, command) == original.apply(index, command)
    assert copy.state_hash() == original.state_hash()


def test_a_copy_is_not_touched_by_later_writes() -> None:
    """It is encoded by another thread while the machine goes on."""
    machine = machine_with_session()
    machine.apply(2, put(1, 1, b"a"))
    copy = machine.copy()
    expected = copy.encode()
    machine.apply(3, put(1, 2, b"b"))
    assert copy.encode() == expected


@pytest.mark.parametrize("state", [b"", b"junk", b"\x93\x02\x80\x90"])
def test_a_foreign_state_is_refused_and_changes_nothing(state: bytes) -> None:
    """Bytes that are no state, or of another version."""
    machine = machine_with_session()
    before = machine.state_hash()
    with pytest.raises(BadStateError):
        machine.restore(state)
    assert machine.state_hash() == before


def test_results_that_differ_have_different_digests() -> None:
    """Also where they differ only in whether a value is there."""
    results = [OK, Result(ResultKind.OK, b""), Result(ResultKind.MISMATCH, None), Result(ResultKind.OK, session=2)]
    assert len({result.digest() for result in results}) == len(results)
