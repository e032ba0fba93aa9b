"""The state machine against its dumb twin, and against itself by other ways: copies, snapshots, retries."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from node.machine import Machine, Result, ResultKind, Saved
from node.machine.held import weight_of
from node.machine.state import SharedState, new_weight
from node.operations import Acquire, CompareAndSet, Delete, Increment, ListAppend, Operation, Put, SetAdd, Transaction
from tests.node.machine_model import (
    KEYS,
    MISMATCH,
    OK,
    OPERATIONS,
    REFUSED,
    STAMPS,
    Answer,
    Model,
    apply_all,
    command,
    opened,
)

_OUTCOMES = {ResultKind.OK: OK, ResultKind.MISMATCH: MISMATCH, ResultKind.WRONG_TYPE: REFUSED}


def answer_of(result: Result) -> Answer:
    return _OUTCOMES[result.kind], result.value, result.reads


@settings(max_examples=40)
@given(st.lists(st.tuples(OPERATIONS, STAMPS), max_size=25))
def test_every_operation_means_what_the_model_says(log: list[tuple[Operation, int]]) -> None:
    """Same answers, and every key reads the same after each; an answer that is no OK changed nothing."""
    machine, model = Machine(), Model()
    machine.apply(1, opened())
    for sequence, (operation, stamp_ms) in enumerate(log, start=1):
        before = [machine.get(key) for key in KEYS] if stamp_ms <= machine.now_ms else None
        result = machine.apply(sequence + 1, command(operation, 1, sequence, stamp_ms))
        assert answer_of(result) == model.apply(operation, sequence + 1, stamp_ms)
        after = [machine.get(key) for key in KEYS]
        assert after == [model.get(key) for key in KEYS]
        assert result.kind is ResultKind.OK or before in (None, after)


_WISHES = st.lists(
    st.tuples(OPERATIONS, st.sampled_from([1, 1, 2, 9]), st.sampled_from([0, 0, 0, 1]), STAMPS) | st.none(), max_size=20
)
"""Operations with a session, which is there or not, how far the sequence number lags, and a stamp; None opens a
session.
"""


def log_of(wishes: list[tuple[Operation, int, int, int] | None], first: int) -> list[bytes]:
    """Entries from index ``first`` on: new writes, retries, writes that come too late."""
    return [
        opened() if wish is None else command(wish[0], wish[1], max(index - wish[2], 1), wish[3])
        for index, wish in enumerate(wishes, start=first)
    ]


@settings(max_examples=40)
@given(st.tuples(_WISHES, _WISHES, _WISHES))
def test_who_comes_from_a_snapshot_is_the_same(
    wishes: tuple[list[tuple[Operation, int, int, int] | None], ...],
) -> None:
    """Equal results and, byte for byte, equal states on: who applied everything, who was restored in the middle, and
    who took a copy (so that what it goes on with was shared) and never used it. The copy stays as it was.
    """
    plain, copying, restored = (Machine(sessions_max=3) for _ in range(3))
    begin = [opened(), opened(), *log_of(wishes[0], 3)]
    apply_all(plain, begin, 1)
    apply_all(copying, begin, 1)
    copy = copying.copy()
    saved = copy.encode()
    restored.restore(saved)
    first = len(begin) + 1
    for part in wishes[1:]:
        commands = log_of(part, first)
        expected = apply_all(plain, commands, first)
        assert apply_all(restored, commands, first) == expected
        assert apply_all(copying, commands, first) == expected
        assert plain.state_hash() == restored.state_hash() == copying.state_hash()
        assert copy.encode() == saved
        first += len(commands)


@settings(max_examples=40)
@given(log=st.lists(st.tuples(OPERATIONS, STAMPS), min_size=1, max_size=10), late=STAMPS, data=st.data())
def test_a_retry_changes_nothing(log: list[tuple[Operation, int]], late: int, data: st.DataObject) -> None:
    """Whatever the operation, even with a stamp of its own: the remembered answer, all keys as they were (but for
    leases that its stamp ends).
    """
    machine = Machine()
    machine.apply(1, opened())
    commands = [command(operation, 1, number, stamp) for number, (operation, stamp) in enumerate(log, start=1)]
    results = apply_all(machine, commands, 2)
    machine.apply(len(log) + 2, command(log[-1][0], 99, 1, late))  # nobody's session: only its stamp counts
    before = [machine.get(key) for key in KEYS]
    number = data.draw(st.integers(1, len(log)))
    retried = machine.apply(len(log) + 3, command(log[number - 1][0], 1, number, late))
    assert retried == results[-1] if number == len(log) else retried.kind is ResultKind.FORGOTTEN
    assert [machine.get(key) for key in KEYS] == before


_LONG = st.sampled_from([letter * 60 for letter in "aé€😀𝄞"])
"""Keys and owners, whose characters have one byte, or two, or four."""
_FENCED = st.builds(Put, _LONG, st.sampled_from([b"", bytes(90)]), st.sampled_from([0, 1, 1 << 62]))
_FILLING: st.SearchStrategy[Operation] = st.one_of(
    _FENCED,
    st.builds(CompareAndSet, _LONG, st.none(), st.just(bytes(90))),
    st.builds(Acquire, _LONG, _LONG),
    st.builds(Increment, _LONG),
    st.builds(SetAdd, _LONG, st.binary(max_size=2)),
    st.builds(Transaction, st.lists(_FENCED | st.builds(ListAppend, _LONG, st.just(b"x")), max_size=4).map(tuple)),
    st.builds(Delete, _LONG),
)


@settings(max_examples=40)
@given(st.lists(_FILLING, min_size=20, max_size=40))
def test_the_limit_of_the_state_is_one_of_its_bytes(operations: list[Operation]) -> None:
    """Whatever fills it, fences too: what a snapshot holds of it is about what is counted, so that a peer takes it; the
    count is that of what is there; and what finds no room changes nothing.
    """
    limit = 1500
    machine = Machine(state_bytes_max=limit)
    machine.apply(1, opened())
    state = machine.copy().state
    for sequence, operation in enumerate(operations, start=1):
        before = state
        result = machine.apply(sequence + 1, command(operation, 1, sequence))
        state = machine.copy().state
        assert state.weight <= limit
        if result.kind is ResultKind.FULL:
            assert (state.values, state.fences, state.weight) == (before.values, before.fences, before.weight)
    assert state.weight == _weight(state)
    assert len(Saved(state=state, sessions={}).encode()) <= 1.1 * limit + 64  # the frames of so small a state


def _weight(state: SharedState) -> int:
    """Counted anew."""
    held = sum(new_weight(key) + weight_of(held) for bucket in state.values for key, held in bucket.items())
    return held + sum(new_weight(key) for bucket in state.fences for key in bucket)
