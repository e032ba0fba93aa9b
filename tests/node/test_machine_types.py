"""What each type of value does, and the limits that the state keeps."""

from __future__ import annotations

import pytest

from node.machine import Machine, Result, ResultKind
from node.machine.limits import COLLECTION_BYTES_MAX, COUNTER_MAX, ELEMENT_BYTES_MAX, READ_BYTES_MAX
from node.operations import (
    Acquire,
    Append,
    CompareAndSet,
    Delete,
    Increment,
    ListAppend,
    Operation,
    Put,
    Read,
    Release,
    SetAdd,
    SetRemove,
    Transaction,
)
from tests.node.machine_model import command, opened


class Client:
    """One session with one machine."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        self.index = 1
        self.machine.apply(1, opened())

    def do(self, operation: Operation, stamp_ms: int = 0) -> Result:
        self.index += 1
        return self.machine.apply(self.index, command(operation, 1, self.index - 1, stamp_ms))


OK = Result(ResultKind.OK)


def test_sets() -> None:
    """An element is there once; a set that lost its last is an empty set; taking from nothing makes no set."""
    client = Client()
    assert client.do(SetRemove("s", b"a")) == OK
    assert client.machine.get("s") is None
    for element in (b"a", b"b", b"a"):
        assert client.do(SetAdd("s", element)) == OK
    assert client.machine.get("s") == {b"a", b"b"}
    client.do(SetRemove("s", b"a"))
    client.do(SetRemove("s", b"b"))
    assert client.machine.get("s") == frozenset()


def test_counters() -> None:
    """Each tells the new number; one that would leave 64 bits stays where it is."""
    client = Client()
    assert client.do(Increment("c", 5)).value == 5
    assert client.do(Increment("c", -7)).value == -2
    client.do(Increment("big", COUNTER_MAX))
    assert client.do(Increment("big", 1)).kind is ResultKind.INVALID
    assert client.machine.get("big") == COUNTER_MAX


def test_transactions_see_their_own_writes() -> None:
    """Steps happen in order, at one moment; the reads tell what was there at their point."""
    client = Client()
    steps = (Read("l"), ListAppend("l", b"1"), Read("l"), Put("r", b"x"), ListAppend("l", b"2"), Read("l"), Read("r"))
    assert client.do(Transaction(steps)).reads == (None, (b"1",), (b"1", b"2"), b"x")
    assert client.do(Transaction((Read("l"),))).reads == ((b"1", b"2"),)


@pytest.mark.parametrize(
    "last",
    [ListAppend("r", b"1"), Put("l", b"1"), Put("c", b"1"), ListAppend("fresh", b"1")],
    ids=["append to a register", "put to a list", "put to a counter", "append to what it has just put"],
)
def test_a_transaction_happens_as_a_whole_or_not_at_all(last: ListAppend | Put) -> None:
    """A step of a wrong type undoes the steps before it, fences and new keys included."""
    client = Client()
    client.do(Put("r", b"x"))
    client.do(Increment("c"))
    client.do(Transaction((ListAppend("l", b"0"),)))
    hashed = client.machine.copy().state
    steps = (Put("fresh", b"y", fence=9), ListAppend("l", b"1"), ListAppend("new", b"1"), Put("r", b"y"), last)
    assert client.do(Transaction(steps)).kind is ResultKind.WRONG_TYPE
    after = client.machine.copy().state
    assert (after.values, after.fences, after.weight) == (hashed.values, hashed.fences, hashed.weight)
    assert client.do(Put("fresh", b"z", fence=1)) == OK


MAKERS: list[Operation] = [
    Put("k", b"x"),
    SetAdd("k", b"x"),
    Increment("k"),
    Acquire("k", "me"),
    Transaction((ListAppend("k", b"x"),)),
]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: type(maker).__name__)
def test_a_key_keeps_its_type(maker: Operation) -> None:
    """Every operation of another type is refused, says what the key holds, and changes nothing; after a delete the key
    is free for any.
    """
    others: list[Operation] = [*MAKERS, Append("k", b"x"), SetRemove("k", b"x"), Release("k", "me")]
    others = [other for other in others if _type_of(other) != _type_of(maker)]
    client = Client()
    client.do(maker)
    held = client.machine.get("k")
    for other in others:
        result = client.do(other)
        assert result.kind is ResultKind.WRONG_TYPE
        assert f"'k' holds a {_type_of(maker)}, not a {_type_of(other)}" in result.detail
        assert client.machine.get("k") == held
    client.do(Delete("k"))
    assert client.do(others[0]).kind is ResultKind.OK


def _type_of(operation: Operation) -> str:
    types: dict[type, str] = {SetAdd: "set", SetRemove: "set", Increment: "counter", Transaction: "list"}
    return types.get(type(operation), "lock" if isinstance(operation, Acquire | Release) else "register")


def test_a_compare_and_set_of_another_type_is_refused() -> None:
    """It is no mismatch: a set is no value that could have been expected."""
    client = Client()
    client.do(SetAdd("k", b"x"))
    assert client.do(CompareAndSet("k", None, b"y")).kind is ResultKind.WRONG_TYPE


def test_fences() -> None:
    """A write with a fence that is lower than the highest shown is refused and told the highest; equal ones and writes
    without are not; a delete does not make the key forget.
    """
    client = Client()
    assert client.do(Put("k", b"a", fence=7)) == OK
    assert client.do(Put("k", b"b", fence=6)) == Result(ResultKind.MISMATCH, 7)
    assert client.do(Put("k", b"c", fence=7)) == OK
    assert client.do(Put("k", b"d")) == OK
    client.do(Delete("k"))
    assert client.do(Put("k", b"e", fence=6)) == Result(ResultKind.MISMATCH, 7)
    assert client.do(Transaction((Put("k", b"f", fence=6), Put("other", b"f")))) == Result(ResultKind.MISMATCH, 7)
    assert (client.machine.get("k"), client.machine.get("other")) == (None, None)


class TestLimits:
    """What would break one is refused and changes nothing."""

    def test_collections(self) -> None:
        """A set and a list have their bytes counted."""
        client, element = Client(), bytes(ELEMENT_BYTES_MAX - 8)
        fitting = COLLECTION_BYTES_MAX // ELEMENT_BYTES_MAX
        for number in range(fitting):
            assert client.do(SetAdd("s", number.to_bytes(4, "big") + element[4:])) == OK
            assert client.do(Transaction((ListAppend("l", element),))).kind is ResultKind.OK
        assert client.do(SetAdd("s", b"one more")).kind is ResultKind.INVALID
        assert client.do(Transaction((ListAppend("l", b""),))).kind is ResultKind.INVALID
        client.do(SetRemove("s", bytes(4) + element[4:]))
        assert client.do(SetAdd("s", b"one more")) == OK

    def test_reads_of_one_transaction(self) -> None:
        """Its result is remembered, so it can't be of any size."""
        client = Client()
        for _ in range(READ_BYTES_MAX // ELEMENT_BYTES_MAX):
            client.do(Transaction((ListAppend("l", bytes(ELEMENT_BYTES_MAX - 8)),)))
        assert client.do(Transaction((Read("l"),))).kind is ResultKind.OK
        assert client.do(Transaction((Read("l"), ListAppend("r", b"x"), Read("r")))).kind is ResultKind.INVALID
        assert client.machine.get("r") is None

    @pytest.mark.parametrize(
        "operation",
        [
            Put("k", bytes(100)),
            Put("k", b"x", fence=1),
            Append("k", bytes(100)),
            CompareAndSet("k", b"small", bytes(100)),
            SetAdd("s", bytes(100)),
            Increment("a counter with so long a name that there is no room for it"),
            Acquire("l", "an owner with so long a name that there is no room for him in this state"),
            Transaction((ListAppend("l", bytes(50)), ListAppend("l", bytes(50)))),
            Transaction((Put("k", b"x", fence=1),)),
        ],
        ids=lambda operation: f"{type(operation).__name__}{'_fenced' * ('fence=1' in str(operation))}",
    )
    def test_the_whole_state(self, operation: Operation) -> None:
        """Beyond it nothing may grow; what shrinks or stays as long may be written, and makes room."""
        client = Client(Machine(state_bytes_max=100))
        client.do(Put("k", b"small"))
        client.do(Put("filler", bytes(50)))
        before = client.machine.copy().state
        assert client.do(operation).kind is ResultKind.FULL
        after = client.machine.copy().state
        assert (after.values, after.fences, after.weight) == (before.values, before.fences, before.weight)
        assert client.do(Put("k", b"SMALL")) == OK
        assert client.do(Delete("filler")) == OK
        assert client.do(Delete("k")) == OK
        assert client.do(Put("another", bytes(70))) == OK

    def test_the_account_of_the_state_is_right(self) -> None:
        """What was there and went leaves nothing behind in it, whatever it was."""
        client = Client()
        for maker in MAKERS:
            client.do(maker)
            client.do(maker)
            client.do(Delete("k"))
        client.do(SetAdd("k", b"x"))
        client.do(SetRemove("k", b"x"))
        client.do(Delete("k"))
        client.do(Acquire("k", "me"))
        client.do(Release("k", "me"))
        client.do(Delete("k"))
        assert client.machine.copy().state.weight == 0

    def test_what_sessions_remember(self) -> None:
        """Beyond it the session used longest ago is forgotten, however few there are."""
        machine = Machine(session_bytes_max=100)
        machine.apply(1, opened())
        machine.apply(2, opened())
        machine.apply(3, command(Put("k", bytes(80)), 1, 1))
        machine.apply(4, command(CompareAndSet("k", None, b""), 1, 2))
        assert machine.session_count == 2
        machine.apply(5, command(Transaction((Read("k"),)), 2, 1))
        assert machine.session_count == 1
        assert machine.apply(6, command(Put("k", b""), 1, 3)).kind is ResultKind.SESSION_EXPIRED
        assert machine.apply(7, command(Transaction((Read("k"),)), 2, 1)).reads == (bytes(80),)
