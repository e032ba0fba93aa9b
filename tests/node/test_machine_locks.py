"""Locks: leases in the machine's time, tokens that rise, and the clock that leaders stamp with."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from node.machine import Machine, Result, ResultKind
from node.machine.locks import LeaderClock
from node.operations import Acquire, Delete, Release
from tests.node.machine_model import command, opened
from tests.node.test_machine_types import OK, Client

MS = 1_000_000


def test_a_lock_has_one_owner() -> None:
    """Others are refused and told the holder's token, by taking and by releasing; the owner renews and releases."""
    client = Client()
    token = client.do(Acquire("l", "me")).value
    assert client.machine.get("l") == token
    assert client.do(Acquire("l", "you")) == Result(ResultKind.MISMATCH, token)
    assert client.do(Release("l", "you")) == Result(ResultKind.MISMATCH, token)
    assert client.do(Release("l", "me", token=1)) == Result(ResultKind.MISMATCH, token)
    assert client.do(Acquire("l", "me")).value == token
    assert client.do(Release("l", "me", token=int(str(token)))) == OK
    assert client.machine.get("l") == 0
    assert client.do(Release("l", "me")) == Result(ResultKind.MISMATCH, 0)


def test_tokens_rise_for_ever() -> None:
    """Over releases, leases that ran out, and deletes."""
    client = Client()
    tokens = [client.do(Acquire("l", "me", lease_ms=10), stamp_ms=1).value]
    tokens.append(client.do(Acquire("l", "you"), stamp_ms=12).value)
    client.do(Release("l", "you"))
    tokens.append(client.do(Acquire("l", "me")).value)
    client.do(Delete("l"))
    tokens.append(client.do(Acquire("l", "you")).value)
    assert tokens == sorted(set(map(int, map(str, tokens))))


def test_a_lease_runs_out_in_the_machines_time() -> None:
    """Not before; whoever asks then takes it, and the former owner, too, gets a new token."""
    client = Client()
    first = client.do(Acquire("l", "me", lease_ms=100), stamp_ms=1000).value
    assert client.do(Acquire("l", "you"), stamp_ms=1100).kind is ResultKind.MISMATCH
    assert client.do(Acquire("l", "me", lease_ms=100), stamp_ms=1101).value != first
    assert client.do(Acquire("l", "me", lease_ms=100), stamp_ms=1150).value == client.machine.get("l")
    assert client.do(Acquire("l", "you"), stamp_ms=1250).kind is ResultKind.MISMATCH
    assert client.do(Acquire("l", "you"), stamp_ms=1251).kind is ResultKind.OK


def test_a_lease_is_not_shorter_by_a_part_of_a_millisecond() -> None:
    """Stamps are whole milliseconds: an owner that asked late in one has its lease in full all the same."""
    clock, client = LeaderClock(), Client()
    clock.stamp_ms(1, machine_ms=1, now_ns=0)

    def acquire(owner: str, now_ns: int) -> ResultKind:
        stamp_ms = clock.stamp_ms(1, machine_ms=client.machine.now_ms, now_ns=now_ns)
        return client.do(Acquire("l", owner, lease_ms=1), stamp_ms=stamp_ms).kind

    assert acquire("me", 5 * MS - 1) is ResultKind.OK
    assert acquire("you", 6 * MS - 2) is ResultKind.MISMATCH
    assert acquire("you", 7 * MS) is ResultKind.OK


def test_time_never_goes_back() -> None:
    """A stamp that is lower than one before moves nothing: an old leader's entry, or a retry."""
    client = Client()
    client.do(Acquire("l", "me", lease_ms=10), stamp_ms=1000)
    assert client.do(Acquire("l", "you"), stamp_ms=5).kind is ResultKind.MISMATCH
    assert client.machine.now_ms == 1000


def test_time_is_part_of_the_state() -> None:
    """Who comes from a snapshot agrees on whose lease has run out."""
    client = Client()
    client.do(Acquire("l", "me", lease_ms=10), stamp_ms=1000)
    restored = Machine()
    restored.restore(client.machine.copy().encode())
    assert restored.now_ms == 1000


def test_a_leaders_clock_counts_what_passed() -> None:
    """From the machine's time when it began to lead; an earlier leader's later stamps make it catch up, not jump."""
    clock = LeaderClock()
    assert clock.stamp_ms(3, machine_ms=500, now_ns=77 * MS) == 500
    assert clock.stamp_ms(3, machine_ms=500, now_ns=87 * MS) == 510
    assert clock.stamp_ms(3, machine_ms=600, now_ns=97 * MS) == 600
    assert clock.stamp_ms(3, machine_ms=600, now_ns=98 * MS) == 601
    assert clock.stamp_ms(5, machine_ms=600, now_ns=9_000 * MS) == 600


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),  # which of three nodes leads
            st.integers(0, 50),  # milliseconds that pass before it is asked
            st.sampled_from(["me", "you", "him"]),
            st.booleans(),  # whether the entry is replicated at once, or only with the next of them
        ),
        max_size=30,
    ),
    st.lists(st.integers(0, 10**6), min_size=3, max_size=3),
)
def test_no_lease_is_shorter_than_asked(asked: list[tuple[int, int, str, bool]], offsets: list[int]) -> None:
    """Leaders change at will, their monotonic clocks begin anywhere, and applying lags behind: by real time, nobody
    gets a lock before the lease of whoever had it, counted from the moment at which the leader was asked, is over.
    """
    lease_ms, machine, clocks = 20, Machine(), [LeaderClock() for _ in range(3)]
    machine.apply(1, opened())
    waiting: list[tuple[int, str, bytes]] = []
    real_ms = index = term = sequence = 1
    holder: tuple[str, int] | None = None
    leading = -1
    for node, pause_ms, owner, at_once in asked:
        real_ms += pause_ms
        if node != leading:
            leading, term = node, term + 1
        stamp = clocks[node].stamp_ms(term, machine.now_ms, (real_ms + offsets[node]) * MS)
        waiting.append((real_ms, owner, command(Acquire("l", owner, lease_ms), 1, sequence, stamp)))
        sequence += 1
        if not at_once:
            continue
        for begun_ms, wanted, entry in waiting:
            index += 1
            if machine.apply(index, entry).kind is ResultKind.OK:
                assert holder is None or holder[0] == wanted or begun_ms >= holder[1] + lease_ms
                holder = (wanted, begun_ms)
        waiting.clear()
