"""Claims about staleness, sessions and durability of registers: against definitions by quantifiers over all writes."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from checkers.guarantees.durability import DURABILITY
from checkers.guarantees.sessions import SESSIONS
from checkers.guarantees.staleness import STALENESS
from checkers.history import History
from checkers.operation import Operation
from checkers.verdict import Validity
from tests.checkers.guarantees.objects import Versioned
from tests.checkers.guarantees.spoiled import Event, correct, one_of, small
from tests.checkers.guarantees.told import op, story
from tests.checkers.things import PlainRegister, Register

FOREVER = float("inf")


class Facts:
    """What a history proves of one key's values, by definition."""

    def __init__(self, history: History, key: Any) -> None:
        every = [item for item in history.operations if item.key == key and item.outcome != "fail"]
        self.writes = [item for item in every if item.f in ("write", "cas")]
        self.reads = [item for item in every if item.f == "read" and item.outcome == "ok"]
        self.swaps = [item for item in every if item.f == "cas" and item.outcome == "ok"]
        self.seen = [(item, item.result) for item in self.reads] + [(item, item.value[0]) for item in self.swaps]

    def writers(self, value: Any) -> list[Operation]:
        return [item for item in self.writes if new(item) == value]

    def known(self, write: Operation) -> float:
        times = [FOREVER if write.return_index is None else write.return_index]
        if len(self.writers(new(write))) == 1:
            ends = [item.return_index for item, value in self.seen if value == new(write)]
            times += [end for end in ends if end is not None and end > write.call_index]
        return min(times)

    def settled(self, value: Any) -> float:
        writers = self.writers(value)
        return max(map(self.known, writers)) if writers else (-1 if value is None else FOREVER)

    def newer(self, value: Any, before: float) -> list[Operation]:
        """Writes that began when the value could not be written again, and were known before."""
        since = self.settled(value)
        return [item for item in self.writes if item.call_index > since and self.known(item) < before]

    def older(self, one: Any, other: Any, *, real_time: bool = True) -> bool:
        """Whether one value is provably older: by compare-and-sets, by time, or by one after the other."""
        if one == other or any(len(self.writers(value)) != (value is not None) for value in (one, other)):
            return False
        if other in self.made(one):
            return True
        if other is None or one in self.made(other):
            return False
        if self.chain(one) == self.chain(other):
            return False
        if one is None:
            return True
        return real_time and any(
            self.known(low) < high.call_index
            for low in map(self.writer, [one, *self.made(one)])
            for high in map(self.writer, [value for value in [other, *self.sources(other)] if value is not None])
        )

    def writer(self, value: Any) -> Operation:
        return self.writers(value)[0]

    def links(self) -> dict[Any, Any]:
        seen = [value for _, value in self.seen]
        links: dict[Any, set[Any]] = {}
        for item in self.writes:
            if item.f == "cas" and (item.outcome == "ok" or item.value[1] in seen):
                old, after = item.value
                if len(self.writers(after)) == 1 and len(self.writers(old)) == (old is not None):
                    links.setdefault(old, set()).add(after)
        return {old: next(iter(after)) for old, after in links.items() if len(after) == 1}

    def made(self, value: Any) -> list[Any]:
        links, found = self.links(), []
        while value in links and links[value] not in found:
            value = links[value]
            found.append(value)
        return found

    def sources(self, value: Any) -> list[Any]:
        return [old for old in self.links() if value in self.made(old)]

    def chain(self, value: Any) -> frozenset[Any]:
        return frozenset([value, *self.made(value), *self.sources(value)])


def new(item: Operation) -> Any:
    return item.value[1] if item.f == "cas" else item.value


def spoil(stream: random.Random, ok: list[Event]) -> None:
    """Lets a read return another value."""
    event = one_of(stream, ok, "read")
    if event is not None:
        values = [other["value"] for other in ok if other["f"] == "write"]
        event["value"] = stream.choice([None, *values])


def histories(seeds: range) -> list[tuple[int, History]]:
    things: list[Callable[[], Any]] = [PlainRegister, Register]
    return [(seed, small(seed, things[seed % 2], spoil, operations=12, keys=1 + seed % 3 // 2)) for seed in seeds]


def compare_staleness(seeds: range) -> int:
    stale = 0
    for seed, history in histories(seeds):
        result = STALENESS.check(history, {"bound_ms": 0})
        expected: list[tuple[Operation, int]] = []
        for key in {item.key for item in history.operations}:
            facts = Facts(history, key)
            for read in facts.reads:
                count = len(facts.newer(read.result, read.call_index))
                expected += [(read, count)] if count else []
        assert result.statistics["stale"] == len(expected), seed
        worst = result.statistics["stale_versions"].get("max", 0)
        assert bool(worst) == bool(expected), seed
        assert worst <= max((count for _, count in expected), default=0), seed
        stale += bool(expected)
    return stale


def test_staleness_agrees_with_its_definition() -> None:
    """A read is stale if and only if a write began after its value was settled and was known before the read began; and
    no more versions are claimed than there are such writes."""
    assert 60 < compare_staleness(range(500)) < 450


def expected_breaches(history: History, *, real_time: bool) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {
        kind: set() for kind in ("read your writes", "monotonic reads", "monotonic writes", "writes follow reads")
    }
    for key in {item.key for item in history.operations}:
        facts = Facts(history, key)
        mine = [item for item in history.operations if item.key == key and item.outcome == "ok"]
        for item in mine:
            past = [other for other in mine if other.process == item.process and other.index < item.index]
            reads = [value for other, value in facts.seen if other in past]
            writes = [new(other) for other in past if other.f != "read"]
            shown = [value for other, value in facts.seen if other == item]
            left = [new(item)] if item.f != "read" else []
            pairs = {
                "read your writes": (shown, writes),
                "monotonic reads": (shown, reads),
                "monotonic writes": (left, writes),
                "writes follow reads": (left, reads + (shown if item.f == "cas" else [])),
            }
            for kind, (now, before) in pairs.items():
                if any(facts.older(value, other, real_time=real_time) for value in now for other in before):
                    found[kind].add(item.index)
    return found


def compare_sessions(seeds: range) -> int:
    refused = 0
    for seed, history in histories(seeds):
        for real_time in (True, False):
            expected = expected_breaches(history, real_time=real_time)
            result = SESSIONS.check(history, {"real_time": real_time})
            counts = {kind: result.statistics[kind.replace(" ", "_")] for kind in expected}
            assert counts == {kind: len(rows) for kind, rows in expected.items()}, (seed, real_time)
            named = {(finding.kind, finding.evidence["later"]) for finding in result.findings if finding.operations}
            assert all(row in expected[kind] for kind, row in named), seed
            refused += real_time and any(expected.values())
    return refused


def test_sessions_agree_with_their_definition() -> None:
    """Every guarantee is broken at exactly the operations at which the definition by quantifiers says so."""
    assert 40 < compare_sessions(range(350)) < 320


def test_sessions_with_numbers_agree_with_their_definition() -> None:
    """With [version, value] a guarantee is broken where a smaller number follows a larger one."""
    refused = 0

    def disturb(stream: random.Random, ok: list[Event]) -> None:
        event = one_of(stream, ok, "read", "write")
        if event is not None:
            event["value"] = [max(0, event["value"][0] + stream.choice((-1, 1))), event["value"][1]]

    for seed in range(500):
        history = small(seed, Versioned, disturb, operations=12)
        result = SESSIONS.check(history, {"versions": True})
        done = [item for item in history.operations if item.outcome == "ok" and item.f != "cas"]
        expected = set()
        for item in done:
            past = [other for other in done if other.process == item.process and other.index < item.index]
            kinds = {
                "read": ("monotonic_reads", "read_your_writes"),
                "write": ("writes_follow_reads", "monotonic_writes"),
            }
            for other in past:
                if item.result[0] < other.result[0]:
                    expected.add((kinds[item.f][other.f == "write"], item.index))
        for kind in ("monotonic_reads", "read_your_writes", "writes_follow_reads", "monotonic_writes"):
            count = sum(name == kind for name, _ in expected)
            assert result.statistics[kind] >= count, (seed, kind)
            without_swaps = all(item.f != "cas" for item in history.operations)
            assert not without_swaps or result.statistics[kind] == count, (seed, kind)
        refused += bool(expected)
    assert 50 < refused < 450


def compare_durability(seeds: range) -> int:
    refused = 0
    for seed in seeds:
        stream = random.Random(seed)
        thing = [PlainRegister, Register][seed % 2]
        events = correct(seed, thing(), operations=stream.randint(2, 10), info=0.2)
        written = [event["value"] for event in events if event["type"] == "ok" and event["f"] == "write"]
        time = events[-1]["time"]
        for number in range(stream.randint(1, 2)):
            begin = {
                "process": 900 + number,
                "f": "read",
                "final": True,
                "time": time + stream.randint(0, 2) + 3 * number,
            }
            events.append({**begin, "type": "invoke", "value": None})
            end = {**begin, "type": "ok", "time": begin["time"] + 2, "value": stream.choice([None, *written])}
            events.append(end)
        history = History.of(sorted(events, key=lambda event: event["time"]))
        facts = Facts(history, None)
        finals = [item for item in facts.reads if history.final[item.index]]
        acked = [item for item in facts.writes if item.return_index is not None]
        lost = []
        for write in acked:
            later = [read for read in finals if read.call_index > write.return_index]
            if later and all(facts.settled(read.result) < write.call_index for read in later):
                lost.append(write)
        result = DURABILITY.check(history)
        assert (result.validity is Validity.INVALID) == bool(lost), seed
        for finding in result.findings:
            assert finding.blame != "system under test" or finding.evidence["row"] in [item.index for item in lost]
        refused += bool(lost)
    return refused


def test_durability_of_registers_agrees_with_its_definition() -> None:
    """A write is lost if and only if all final reads since show what was settled before it began."""
    assert 100 < compare_durability(range(800)) < 700


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(1, 11))
@pytest.mark.parametrize("compare", [compare_staleness, compare_sessions, compare_durability])
def test_registers_agree_with_their_definitions_on_many(compare: Callable[[range], int], part: int) -> None:
    """The same on fifty thousand each, in parts."""
    refused = compare(range(part * 10_000, part * 10_000 + 5_000))
    print(f"{compare.__name__}: 5000 histories, {refused} refused")
    assert refused > 500


def test_correct_registers_are_never_refused() -> None:
    """A linearizable register is never stale, keeps every session's guarantees, and loses nothing."""
    for seed in range(120):
        for thing in (PlainRegister, Register, Versioned):
            events = correct(seed, thing(), info=0.2)
            history = History.of(events)
            numbers = thing is Versioned
            assert SESSIONS.check(history, {"versions": numbers}).validity is not Validity.INVALID, seed
            if not numbers:
                assert STALENESS.check(history, {"bound_ms": 0}).statistics["stale"] == 0, seed
                for event in events[len(events) // 2 :]:
                    if event["f"] == "read":
                        event["final"] = True
                assert DURABILITY.check(History.of(events)).validity is not Validity.INVALID, seed


def w(process: int, value: int, time: int, end: int | None, type_: str = "ok", **more: Any) -> list[Event]:
    return op(process, "write", value, value, time, end, type_, **more)


def r(process: int, value: Any, time: int, end: int, **more: Any) -> list[Event]:
    return op(process, "read", None, value, time, end, **more)


def test_staleness_is_measured() -> None:
    """A read of 1, 20 ms after 2 was acknowledged and 10 ms after 3, is 20 ms and two versions stale."""
    history = story(w(0, 1, 0, 1), w(0, 2, 2, 10), w(0, 3, 12, 20), r(1, 1, 30, 31, node="n2"))
    result = STALENESS.check(history)
    assert result.validity is Validity.VALID
    assert result.statistics["stale_ms"]["max"] == 20.0
    assert result.statistics["worst"] == {
        **{"index": 3, "process": 1, "node": "n2", "key": None, "value": 1},
        **{"ms": 20.0, "versions": 2},
    }
    assert result.statistics["by_node"] == {"n2": {"reads": 1, "stale": 1, "stale_ms_max": 20.0}}
    for bound in ({"bound_ms": 19}, {"bound_versions": 1}):
        (finding,) = STALENESS.check(history, bound).findings
        assert finding.message == (
            "The read of the register by process 1 on n2 at 0.030 s returned 1, which had been overwritten by 2 by "
            "process 0 at 0.010 s: it is at least 20.000 ms and 2 versions stale."
        )
    for bound in ({"bound_ms": 20}, {"bound_versions": 2}):
        assert STALENESS.check(history, bound).findings == ()


def test_an_unknown_write_that_was_read_proves_staleness() -> None:
    """Once its value was read it has overwritten what was settled before it began."""
    history = story(w(0, 1, 0, 1), w(1, 2, 2, None), r(2, 2, 4, 5), r(3, 1, 6, 7))
    (finding,) = STALENESS.check(history, {"bound_ms": 0}).findings
    assert "overwritten by 2, which process 2 had seen by 0.005 s" in finding.message


def test_an_unknown_write_of_the_same_value_excuses_a_read() -> None:
    """1 may have been written again at any time."""
    history = story(w(0, 1, 0, 1), w(1, 1, 1, None), w(0, 2, 2, 3), r(3, 1, 6, 7))
    assert STALENESS.check(history, {"bound_ms": 0}).statistics["stale"] == 0


SESSION_STORIES = {
    "read your writes": (
        story(w(0, 1, 0, 1), w(0, 2, 2, 3), r(0, 1, 4, 5)),
        "Process 0 read 1 from the register at 0.004 s, after it wrote 2 (over at 0.003 s); but 1 is older: 1 was "
        "there by 0.001 s (process 0), before the write of 2 began at 0.002 s.",
    ),
    "monotonic reads": (
        story(w(0, 1, 0, 1), w(0, 2, 2, 3), r(1, 2, 4, 5), r(1, 1, 6, 7)),
        "Process 1 read 1 from the register at 0.006 s, after it read 2 (over at 0.005 s); but 1 is older: 1 was "
        "there by 0.001 s (process 0), before the write of 2 began at 0.002 s.",
    ),
}


@pytest.mark.parametrize("kind", SESSION_STORIES)
def test_sessions_are_told_with_their_proof(kind: str) -> None:
    """Who saw what, and by what the version is older."""
    history, sentence = SESSION_STORIES[kind]
    (finding,) = SESSIONS.check(history).findings
    assert (finding.kind, finding.message) == (kind, sentence)
    assert SESSIONS.check(history, {"real_time": False}).validity is not Validity.INVALID


def test_chains_need_no_real_time() -> None:
    """What was made from a value is newer than it, at whatever time: writes follow reads, and monotonic writes."""
    swap = partial(op, f="cas")
    chain = [w(9, 1, 0, 9), swap(8, value=[1, 2], result=[1, 2], time=1, end=8)]
    reads = story(*chain, r(0, 2, 2, 3), r(0, 1, 4, 5))
    (finding,) = SESSIONS.check(reads, {"real_time": False}).findings
    assert finding.kind == "monotonic reads"
    assert finding.message.endswith("but 1 is older: 2 was made from it, by compare-and-sets that took effect.")
    follows = story(r(0, 2, 0, 1), w(0, 1, 2, 3), swap(8, value=[1, 2], result=[1, 2], time=0, end=8))
    assert "writes follow reads" in {finding.kind for finding in SESSIONS.check(follows).findings}


def test_sessions_with_one_operation_each_are_unknown() -> None:
    """Nothing can be compared."""
    assert SESSIONS.check(story(w(0, 1, 0, 1), r(1, 1, 2, 3))).validity is Validity.UNKNOWN


def test_a_lost_write_is_told() -> None:
    """The write, the final read, and why what it shows is older."""
    history = story(w(0, 1, 0, 1), w(0, 2, 2, 3), r(1, 1, 10, 11, final=True))
    (finding,) = DURABILITY.check(history).findings
    assert finding.message == (
        "The write of 2 to the register by process 0 was acknowledged at 0.003 s; but the final read by process 1 at "
        "0.010 s returned 1, and 1 was written before that write began at 0.002 s, and never again."
    )


def test_a_possible_overwrite_excuses() -> None:
    """An unknown write of what the final read shows may have come last."""
    history = story(w(0, 1, 0, 1), w(5, 3, 0, None), w(0, 2, 2, 3), r(1, 3, 10, 11, final=True))
    assert DURABILITY.check(history).validity is Validity.VALID


def test_no_final_read_is_unknown() -> None:
    """Reads that are not final say nothing about the end."""
    assert DURABILITY.check(story(w(0, 1, 0, 1), r(1, None, 2, 3))).validity is Validity.UNKNOWN


@pytest.mark.parametrize(("f", "data"), [("add", "set"), ("append", "log")])
def test_elements_that_no_final_read_shows_are_lost(f: str, data: str) -> None:
    """One final read that shows an element is enough; one that began before its acknowledgement does not count."""
    done = [op(0, f, value, value, value, value + 1) for value in (1, 3)]
    history = story(*done, r(1, [1], 2, 9, final=True), r(2, [], 10, 11, final=True), r(3, [1], 10, 11, final=True))
    result = DURABILITY.check(history)
    (finding,) = result.findings
    assert result.statistics["data"] == data
    assert result.statistics["on_some_final_reads_only"] == 1
    did = "added to" if f == "add" else "appended to"
    assert finding.message == (
        f"3 was {did} the {data} by process 0 (acknowledged at 0.004 s), but none of the 2 final reads since (the "
        "final read by process 2 at 0.010 s first) shows it."
    )


def test_a_lost_queue_value_is_told_by_durability_too() -> None:
    """As total-queue says it."""
    history = story(op(0, "enqueue", 1, 1, 0, 1), op(1, "drain", None, [], 5, 6, final=True))
    (finding,) = DURABILITY.check(history).findings
    assert (finding.checker, finding.kind) == ("durability", "lost")


def test_the_initial_value_written_again_tells_no_order() -> None:
    """A read of it before that write ended shows what was there from the beginning, not what was written."""
    history = story(
        op(2, "write", None, None, 0, None),
        op(1, "read", None, None, 1, 2),
        op(1, "write", 1, 1, 3, 4),
        op(1, "read", None, None, 5, 6, final=True),
    )
    for guarantee, settings in ((STALENESS, {"bound_ms": 0}), (DURABILITY, {}), (SESSIONS, {})):
        assert guarantee.check(history, settings).validity is not Validity.INVALID, guarantee.name
