"""Small random histories of queues, stacks and priority queues, both verdicts frequent, and what every decider of them
is held to: the twin's verdict, a witness that replays, findings that are impossible by themselves and say the truth.
"""

from __future__ import annotations

import collections
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from checkers import History, Operation, Outcome, Validity, check
from checkers.deciders.decision import Decider, Decision
from checkers.history import OK
from checkers.models import MODELS
from checkers.models.container import Container
from checkers.models.model import REFUSED
from checkers.search import twin
from tests.checkers.simulated import Thing, simulate

Events = list[dict[str, Any]]

SIZE_MAX = 7
"""Operations of one random history: the twin tries every order."""


class Make:
    """Random histories of one kind of container. ``make`` gives the correct object, with its initial elements."""

    def __init__(self, model: str, make: Callable[[list[int]], Thing], unknown: Sequence[str]) -> None:
        self.model: Container = MODELS[model](null_read="value")  # type: ignore[assignment]
        self.make = make
        self.unknown = unknown

    def events(self, random_: random.Random, initial: list[int], size_max: int = SIZE_MAX) -> Events:
        """One history, spoiled in up to four ways."""
        simulated = simulate(
            self.make(list(initial)),
            random_,
            operations=random_.randint(2, size_max),
            concurrency=random_.randint(1, 5),
            info=random_.choice((0.0, 0.0, 0.15, 0.3)),
            ties=random_.choice((0.0, 0.0, 0.4)),
            may_end_unknown=lambda f: f in self.unknown,
        )
        events = [dict(event) for event in simulated.events]
        for _ in range(random_.choice((0, 1, 1, 2, 2, 3, 4))):
            random_.choice(WAYS)(self.model, random_, events)
        return events

    def history(self, seed: int, size: int) -> tuple[History, list[int], str]:
        """So many random histories, each under a key of its own, interleaved or one after another."""
        random_ = random.Random(seed)
        initial = random_.choice(([], [], [], [902, 901], [901]))
        every: Events = []
        for number in range(size):
            events = self.events(random_, initial)
            base = 1000 * number if random_.random() < 0.5 else 0
            for event in events:
                moved = {"time": base + event["time"], "process": 1000 * number + event["process"]}
                every.append({**event, **moved, "key": None if size == 1 else f"k{number}"})
        return History.of(sorted(every, key=lambda event: int(event["time"]))), initial, "value"


def _taken(model: Container, events: Events) -> Events:
    return [event for event in events if event["type"] == "ok" and event["f"] != model.put]


def change_result(model: Container, random_: random.Random, events: Events) -> None:
    """A take returns something else: another value that was put in, nothing, or a phantom."""
    taken = _taken(model, events)
    values = [event["value"] for event in events if event["f"] == model.put]
    if taken:
        random_.choice(taken)["value"] = random_.choice([*values, *values, None, None, 77, 901])


def swap_results(model: Container, random_: random.Random, events: Events) -> None:
    """Two takes return what the other did."""
    taken = _taken(model, events)
    if len(taken) > 1:
        one, other = random_.sample(taken, 2)
        one["value"], other["value"] = other["value"], one["value"]


def swap_times(model: Container, random_: random.Random, events: Events) -> None:  # noqa: ARG001
    """Two neighbouring events of different processes change places."""
    places = [i for i in range(len(events) - 1) if events[i]["process"] != events[i + 1]["process"]]
    for place in random_.sample(places, min(len(places), 3)):
        one, other = events[place], events[place + 1]
        if one["process"] != other["process"]:
            one["time"], other["time"] = other["time"], one["time"]
            events[place], events[place + 1] = other, one


def hide(model: Container, random_: random.Random, events: Events) -> None:  # noqa: ARG001
    """What returned did not: nobody saw it end."""
    done = [event for event in events if event["type"] == "ok"]
    if done:
        event = random_.choice(done)
        fresh = 1 + max(other["process"] for other in events)
        place = events.index(event)
        for later in events[place + 1 :]:
            later["process"] = fresh if later["process"] == event["process"] else later["process"]
        if random_.random() < 0.5:
            event.update(type="info", value=None)
        else:
            events.remove(event)


def fail(model: Container, random_: random.Random, events: Events) -> None:  # noqa: ARG001
    """An operation failed."""
    done = [event for event in events if event["type"] == "ok"]
    if done:
        random_.choice(done)["type"] = "fail"


def repeat_value(model: Container, random_: random.Random, events: Events) -> None:
    """A value is put in twice (rarely: those keys are the search's)."""
    puts = [event for event in events if event["f"] == model.put and event["type"] == "invoke"]
    if len(puts) > 1 and random_.random() < 0.15:
        one, other = random_.sample(puts, 2)
        one["value"] = other["value"]


WAYS = (
    change_result,
    change_result,
    swap_results,
    swap_results,
    swap_times,
    swap_times,
    hide,
    hide,
    fail,
    repeat_value,
)


def by_key(history: History) -> Iterator[tuple[int, list[Operation]]]:
    parts: dict[Any, list[Operation]] = {}
    for item in history.operations:
        parts.setdefault(item.key, []).append(item)
    return ((history.keys.find(key), operations) for key, operations in parts.items())


def compare(make: Make, decider: Decider, seed: int, size: int = 1) -> collections.Counter[Any]:
    """Judges random histories and holds the decider to everything it promises."""
    history, initial, null_read = make.history(seed, size)
    decision = decider.decide(history, initial=initial, null_read=null_read)
    start = make.model.start(initial)
    seen: collections.Counter[Any] = collections.Counter()
    for code, operations in by_key(history):
        if code in decision.deferred:
            seen[decision.deferred[code]] += 1
            continue
        possible = twin.linearizable(operations, make.model.step, start)
        assert possible == (code not in decision.refused), f"seed {seed}, key {code}"
        seen[possible] += 1
        if possible:
            check_order(make.model, decider, history, code, initial)
    check_findings(make.model, history, decision, initial)
    seen.update(f"kind: {finding.kind}" for finding in decision.findings)
    return seen


def check_order(model: Container, decider: Decider, history: History, code: int, initial: Any) -> None:
    """The witness holds every completed operation once, obeys real time, and is legal step by step."""
    rows = np.flatnonzero(history.key == code)
    order = decider.order(history, rows, initial=initial, null_read="value")
    assert order is not None
    placed = order.tolist()
    assert len(set(placed)) == len(placed)
    assert set(rows[history.outcome[rows] == OK].tolist()) <= set(placed) <= set(rows.tolist())
    state: Any = model.start(initial)
    latest_call = -1
    for row in placed:
        assert history.return_[row] > latest_call, "real time"
        latest_call = max(latest_call, int(history.call[row]))
        operation = history.operation(row)
        assert operation.outcome is not Outcome.FAIL
        state = model.step(state, twin.call_of(operation))
        assert state is not REFUSED, (row, placed)


def check_findings(model: Container, history: History, decision: Decision, initial: Any) -> None:
    """Each finding's operations are impossible by themselves, and its facts of time are true of its operations."""
    assert {history.keys.find(finding.key) for finding in decision.findings} == decision.refused
    for finding in decision.findings:
        rows = {operation.index: operation for operation in finding.operations}
        for earlier, later in finding.evidence["before"]:
            returned = rows[earlier].return_index
            assert returned is not None
            assert returned < rows[later].call_index, finding
        assert set(finding.evidence["roles"].values()) <= set(rows)
        assert finding.message[0].isupper() or finding.message[0] in '"0123456789'
        assert finding.message.endswith(".")
        if finding.kind.startswith("never"):
            continue
        alone = [operation for operation in finding.operations if operation.outcome is not Outcome.FAIL]
        assert not twin.linearizable(alone, model.step, model.start(initial)), finding.message


Row = tuple[str, Any, int, int | None]
"""Function, value (put in or returned), time of the call, time of the return or None."""

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"


def ops(rows: Sequence[Row]) -> History:
    """Rows as a history, one process each."""
    events: Events = []
    for process, (f, value, call, return_) in enumerate(rows):
        puts = f in ("enqueue", "push", "insert")
        base = {"process": process, "f": f}
        events.append({**base, "time": call, "type": "invoke", "value": value if puts else None})
        if return_ is not None:
            events.append({**base, "time": return_, "type": "ok", "value": value})
    return History.of(sorted(events, key=lambda event: int(event["time"])))


def refusal(decider: Decider, model: Container, rows: Sequence[Row], initial: Any = None) -> tuple[str, str]:
    """Kind and sentence of the only finding, after holding it to what findings promise."""
    history = ops(rows)
    decision = decider.decide(history, initial=initial, null_read="value")
    check_findings(model, history, decision, initial)
    (finding,) = decision.findings
    return finding.kind, finding.message


def wrong_vectors(folder: str) -> list[Any]:
    """Public histories that are not judged as stated, or not without search."""
    every = json.loads((VECTORS / "manifest.json").read_text())["histories"]
    wrong = []
    for entry in every:
        if entry["file"].startswith(f"{folder}/"):
            result = check(History.read(VECTORS / entry["file"]), model=entry["model"], initial=entry["initial"])
            expected = Validity.VALID if entry["expected"] else Validity.INVALID
            if result.validity is not expected or result.statistics["keys_searched"]:
                wrong.append((entry["file"], result.validity))
    return wrong
