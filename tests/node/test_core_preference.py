"""Who leads if there is a choice: priorities, health, and a leader that gives way, but not to and fro."""

from __future__ import annotations

import pytest

from node.observing.health import LAG_MS, Health, Readings, Scale, read
from node.raft.messages import AppendReply, Role, TimeoutNow
from node.raft.preference import MARGIN
from node.raft.timing import MS, Timing
from tests.node.by_hand import ByHand

HANDOVER_S = 5


def leader(*, priority: int = 50) -> ByHand:
    """Leads a, b and c; its first entry is committed."""
    member = ByHand(timing=Timing(priority=priority))
    member.lead()
    answer(member, {})
    assert member.core.commit == 1
    return member


def answer(member: ByHand, fitness: dict[str, int], *, match: int = 1) -> list[str]:
    """Both followers answer (fitness 150 like the leader's if nothing is said); whom it tells to stand."""
    sent = member.hear(
        *(
            AppendReply(
                source=name,
                target="a",
                term=member.core.term,
                success=True,
                match=match,
                fitness=fitness.get(name, 150),
                read_round=member.core.read_round,
            )
            for name in ("b", "c")
        )
    )
    return [message.target for message in sent if isinstance(message, TimeoutNow)]


def lead_on(member: ByHand, fitness: dict[str, int], *, seconds: float) -> list[str]:
    """Heartbeats and answers for so long; whom it tells to stand."""
    told = []
    end_ns = member.now_ns + int(seconds * 1000 * MS)
    while member.now_ns < end_ns and member.core.role is Role.LEADER:
        told += [message.target for message in member.time_out() if isinstance(message, TimeoutNow)]
        told += answer(member, fitness)
    return told


def test_a_leader_gives_way_to_one_that_is_better_for_long() -> None:
    """Not at once, and to the best."""
    member = leader()
    better = {"b": 150 + MARGIN, "c": 150 + 2 * MARGIN}
    assert lead_on(member, better, seconds=HANDOVER_S - 0.2) == []
    assert lead_on(member, better, seconds=0.4)[0] == "c"


def test_a_little_better_is_not_enough() -> None:
    """The margin is what keeps two equals from handing over for ever."""
    assert lead_on(leader(), {"b": 150 + MARGIN - 1}, seconds=60) == []


def test_a_break_begins_the_time_anew() -> None:
    """A follower that is better now and then never gets there."""
    member = leader()
    for _ in range(10):
        assert lead_on(member, {"b": 200}, seconds=HANDOVER_S - 0.3) == []
        assert lead_on(member, {}, seconds=0.2) == []


def test_who_lags_is_not_asked() -> None:
    """A transfer takes no proposals until the target has caught up."""
    member = leader()
    for number in range(3):
        member.propose(*(b"x" for _ in range(500)))
        answer(member, {"b": 200}, match=1 + number)
    told = []
    for _ in range(100):
        member.time_out()
        told += answer(member, {"b": 200}, match=1)
    assert told == []


def test_a_transfer_that_fails_is_not_repeated_at_once() -> None:
    """The leader goes on, and the other has to be better for as long again."""
    member = leader()
    lead_on(member, {"b": 200}, seconds=HANDOVER_S + 0.2)
    assert member.core.transfer_target == "b"
    lead_on(member, {"b": 200}, seconds=1.2)
    assert member.core.transfer_target is None
    assert lead_on(member, {"b": 200}, seconds=HANDOVER_S - 1) == []
    assert member.core.role is Role.LEADER


def test_a_low_priority_waits_longer_but_not_beyond_the_range() -> None:
    """Full fitness draws from the whole range, none from its upper half."""
    low_ns, high_ns = Timing().election_ns_min, Timing().election_ns_max
    assert ByHand(log=[1], term=1).core.election_interval() == (low_ns, high_ns)
    member = ByHand(log=[1], term=1, timing=Timing(priority=0))
    assert member.core.election_interval() == (low_ns + (high_ns - low_ns) // 4, high_ns)
    member.core.rate(0)
    assert member.core.election_interval() == (low_ns + (high_ns - low_ns) // 2, high_ns)


def test_followers_tell_their_fitness() -> None:
    """Priority plus health."""
    member = ByHand(timing=Timing(priority=30))
    member.core.rate(45)
    assert member.core.fitness == 75
    member.core.rate(1000)
    assert member.core.fitness == 130


def test_a_priority_is_a_number_from_0_to_100() -> None:
    """Anything else is refused with its value."""
    with pytest.raises(ValueError, match="priority=101"):
        Timing(priority=101)


# Health

WELL = Readings(runnable=0.5, memory_free=0.5)


def test_the_worst_reading_counts() -> None:
    """A node with all the memory of the world is no good without a processor."""
    assert Health(lambda: WELL).mark(5) == 100
    for readings, lag_ms in (
        (WELL, 5000),
        (Readings(runnable=9, memory_free=0.5), 5),
        (Readings(runnable=0, memory_free=0), 5),
    ):
        health = Health(lambda readings=readings: readings)  # type: ignore[misc]
        assert [health.mark(lag_ms) for _ in range(30)][-1] <= 1


def test_a_short_trouble_is_none() -> None:
    """One second without a processor costs less than the margin of a handover lasts."""
    health = Health(lambda: WELL)
    marks = [health.mark(lag_ms) for lag_ms in (5, 3000, 5, 5, 5)]
    assert marks == [100, 75, 81, 86, 89]


def test_scales_are_linear_and_end() -> None:
    """Good is 100, bad is 0, either way round."""
    assert [Scale(good=0, bad=10).mark(value) for value in (-5, 0, 5, 10, 20)] == [100, 100, 50, 0, 0]
    assert [Scale(good=10, bad=0).mark(value) for value in (-5, 0, 5, 10, 20)] == [0, 0, 50, 100, 100]
    assert LAG_MS.mark(LAG_MS.good) == 100


def test_the_kernel_tells() -> None:
    """On this machine, whatever it is."""
    readings = read()
    assert readings.runnable >= 0
    assert 0 < readings.memory_free <= 1
