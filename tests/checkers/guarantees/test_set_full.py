"""Claims about set-full: against its definition by quantifiers, on correct sets, on sets broken on purpose."""

from __future__ import annotations

import random
from typing import Any

import pytest

from checkers.guarantees.set_full import SET_FULL
from checkers.history import History, HistoryError
from checkers.operation import Operation
from checkers.verdict import Blame, Validity
from tests.checkers.guarantees.spoiled import Event, correct, one_of, small
from tests.checkers.guarantees.told import op, story
from tests.checkers.things import GrowOnlySet


def fates(history: History) -> dict[str, set[Any]]:
    """Elements by what became of them, by the definition: for all reads, there is a read ..."""
    every = [item for item in history.operations if item.outcome != "fail"]
    found: dict[str, set[Any]] = {kind: set() for kind in ("lost", "stale", "duplicate", "phantom", "early")}
    for key in {item.key for item in every}:
        adds = [item for item in every if item.key == key and item.f == "add"]
        reads = [item for item in every if item.key == key and item.f == "read" and item.outcome == "ok"]
        for element in {item.value for item in adds} | {value for item in reads for value in item.result}:
            for kind in _fates(element, adds, reads):
                found[kind].add(element if key is None else (key, element))
    return found


def _fates(element: Any, adds: list[Operation], reads: list[Operation]) -> set[str]:
    mine = [item for item in adds if item.value == element]
    shows = [item for item in reads if element in item.result]
    kinds = {"duplicate"} if any(item.result.count(element) > 1 for item in shows) and mine else set()
    if not mine:
        return {"phantom"}
    if any(item.return_index < min(add.call_index for add in mine) for item in shows):
        kinds.add("early")
    told = [item.return_index for item in [*mine, *shows] if item.return_index is not None]
    if told:
        misses = [item for item in reads if item.call_index > min(told) and element not in item.result]
        gone = [item for item in misses if not any(other.return_index > item.call_index for other in shows)]
        if misses:
            kinds.add("lost" if gone else "stale")
    return kinds


def judged(history: History) -> dict[str, set[Any]]:
    statistics = SET_FULL.check(history).statistics
    names = {"early": "shown before its add"}
    listed = {kind: statistics["elements"].get(names.get(kind, kind), []) for kind in fates(history)}
    return {kind: {tuple(item) if isinstance(item, list) else item for item in items} for kind, items in listed.items()}


def spoil(stream: random.Random, ok: list[Event]) -> None:
    """Changes what a read shows."""
    event = one_of(stream, ok, "read")
    if event is None:
        return
    shown, every = list(event["value"]), [other["value"] for other in ok if other["f"] == "add"] + [999]
    how = stream.randrange(4)
    if how == 0 and shown:
        shown.remove(stream.choice(shown))
    elif how == 1 and shown:
        shown.append(stream.choice(shown))
    elif how == 2:
        shown.append(stream.choice(every))
    else:
        shown = stream.sample(shown, len(shown) // 2)
    event["value"] = shown


def compare(seeds: range) -> int:
    refused = 0
    for seed in seeds:
        history = small(seed, GrowOnlySet, spoil, keys=1 + seed % 2)
        expected = fates(history)
        assert judged(history) == expected, seed
        broken = any(expected.values())
        refused += broken
        verdict = SET_FULL.check(history)
        assert (verdict.validity is Validity.INVALID) == broken, seed
        lenient = SET_FULL.check(history, {"linearizable": False})
        assert (lenient.validity is Validity.INVALID) == (broken and bool(expected.keys() - _only_stale(expected))), (
            seed
        )
    return refused


def _only_stale(expected: dict[str, set[Any]]) -> set[str]:
    return {kind for kind, elements in expected.items() if not elements or kind == "stale"}


def test_it_agrees_with_its_definition() -> None:
    """On small random histories every element has the fate that the definition by quantifiers gives it."""
    assert 180 < compare(range(600)) < 540


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(1, 11))
def test_it_agrees_with_its_definition_on_many(part: int) -> None:
    """The same on a hundred thousand, in parts."""
    refused = compare(range(part * 10_000, part * 10_000 + 10_000))
    print(f"set-full: 10000 histories, {refused} refused")
    assert refused > 1000


def test_correct_sets_are_never_refused() -> None:
    """A set that takes effect at one moment is accepted, whatever ended unknown."""
    for seed in range(200):
        assert SET_FULL.check(History.of(correct(seed, GrowOnlySet()))).validity is not Validity.INVALID, seed


def began(events: list[Event], done: Event) -> int:
    """When the operation began that this event ends."""
    place = next(at for at, event in enumerate(events) if event is done)
    return int(next(event["time"] for event in events[place - 1 :: -1] if event["process"] == done["process"]))


def broken(kind: str, seed: int) -> tuple[History, Any] | None:
    """A correct history with one element broken; None if this one gave no chance."""
    stream = random.Random(seed)
    events = correct(seed, GrowOnlySet(), info=0.0)
    reads = [event for event in events if event["type"] == "ok" and event["f"] == "read"]
    shows = [read for read in reads if read["value"]]
    if len(shows) < 3:
        return None
    element = stream.choice(shows[0]["value"])
    known = [shows[0]["time"]] + [
        event["time"] for event in events if event["type"] == "ok" and (event["f"], event["value"]) == ("add", element)
    ]
    changed = {"lost": reads, "stale": shows[-2:-1], "duplicate": shows[:1], "phantom": shows[:1]}[kind]
    if kind == "phantom":
        element = -7
    if kind in ("lost", "stale") and max(began(events, read) for read in changed) <= (known[1:] or known)[0]:
        return None
    for read in changed:
        kept = [value for value in read["value"] if value != element]
        read["value"] = kept if kind in ("lost", "stale") else [*read["value"], element]
    return History.of(events), element


@pytest.mark.parametrize("kind", ["lost", "stale", "duplicate", "phantom"])
def test_broken_sets_are_refused_by_name(kind: str) -> None:
    """An element that was taken out of later reads, doubled or invented is refused, and is the one that is named."""
    made = [case for case in (broken(kind, seed) for seed in range(150)) if case is not None]
    assert len(made) > 30
    for history, element in made:
        result = SET_FULL.check(history)
        assert result.validity is Validity.INVALID
        finding = next(finding for finding in result.findings if finding.kind == kind)
        assert finding.evidence["element"] == element
        assert f"element {element}" in finding.message.lower()
        assert finding.operations


def add(process: int, time: int, value: Any, *, end: int) -> list[Event]:
    return op(process, "add", value, value, time, end)


def test_latencies_are_told_in_milliseconds() -> None:
    """An element that a read missed 30 ms after its acknowledgement has a stable latency of 30 ms."""
    history = story(
        add(0, 0, 1, end=10),
        op(1, "read", None, [], 40, 50),
        op(1, "read", None, [1], 60, 70),
    )
    result = SET_FULL.check(history)
    assert result.statistics["stable_latency_ms"]["max"] == 30.0
    (finding,) = result.findings
    assert finding.kind == "stale"
    assert finding.message == (
        "Element 1 of the set was acknowledged to process 0 at 0.010 s, but the read by process 1 that began at "
        "0.040 s does not show it; the read by process 1 that ended at 0.070 s does."
    )


def test_reads_that_overlap_lose_nothing() -> None:
    """If a read that shows an element ended after the one that misses it began, the element may have come back."""
    history = story(add(0, 0, 1, end=1), op(1, "read", None, [1], 2, 9), op(2, "read", None, [], 5, 6))
    assert [finding.kind for finding in SET_FULL.check(history).findings] == ["stale"]


def test_nothing_read_is_unknown() -> None:
    """A set that nobody read proves nothing, nor does one to which nobody added."""
    for history in (story(add(0, 0, 1, end=1)), story(op(0, "read", None, [], 0, 1))):
        result = SET_FULL.check(history)
        assert result.validity is Validity.UNKNOWN
        assert [finding.blame for finding in result.findings] == [Blame.HARNESS]


def test_a_read_that_is_no_list_is_an_error() -> None:
    """The line and the value are named."""
    with pytest.raises(HistoryError, match=r"line 1: the result of a read is 5"):
        SET_FULL.check(story(op(0, "read", None, 5, 0, 1)))


def test_settings_are_validated() -> None:
    """Unknown settings, wrong values and foreign functions are refused by name."""
    history = story(add(0, 0, 1, end=1))
    with pytest.raises(ValueError, match="no setting 'linear'"):
        SET_FULL.check(history, {"linear": True})
    with pytest.raises(ValueError, match="linearizable is 3; use true or false"):
        SET_FULL.check(history, {"linearizable": 3})
    with pytest.raises(HistoryError, match="no function 'pop'"):
        SET_FULL.check(story(op(0, "pop", None, 1, 0, 1)))


def test_elements_of_any_json_type_are_told_apart() -> None:
    """1, true and "1" are three elements, and lists are elements too."""
    values = [1, True, "1", [1, 2], 1.5]
    adds = [add(number, number, value, end=number + 1) for number, value in enumerate(values)]
    assert SET_FULL.check(story(*adds, op(9, "read", None, values, 20, 21))).validity is Validity.VALID
    short = SET_FULL.check(story(*adds, op(9, "read", None, [1, "1", [1, 2], 1.5], 20, 21)))
    assert short.statistics["elements"] == {"lost": [True]}
