"""Deciders against the dumb twin: many small histories, each under a key of its own, judged as one history.

The small ones are correct by construction (``simulated.py``) and then spoiled in ways that may or may not make them
impossible. Checked for every key that a decider does not defer: its verdict; of refused ones that the named operations
are impossible by themselves and that the facts of time are facts; of accepted ones that the order is one.
"""

from __future__ import annotations

import collections
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers import History, Operation, Outcome
from checkers.deciders.decision import FINDINGS_MAX, Decider
from checkers.models.model import REFUSED, Model
from checkers.search import twin
from tests.checkers.simulated import Thing, simulate

Event = dict[str, Any]

OPERATIONS_MAX = 8
NAMED_MAX = 8
"""Findings with more operations are not tried by the twin."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How small histories of a data type are made and spoiled.

    ``results``: another result for an ok completion of a function, given all values of the history; None if there is
    none. ``by_process``: operations stay with their process. ``renamed``: functions that may stand for one another.
    ``changes``: how many at most; ``weights``: how often results, outcomes, arguments and times are changed.
    """

    decider: Decider
    model: Callable[..., Model]
    thing: Callable[[random.Random], Thing]
    results: Callable[[random.Random, str, Sequence[Any]], Any] = lambda _random, _f, _values: None
    arguments: Callable[[random.Random, str, Sequence[Any]], Any] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    by_process: bool = False
    initial: Any = None
    changes: int = 2
    weights: tuple[int, int, int, int] = (4, 1, 1, 1)


@dataclass(kw_only=True, slots=True)
class _Op:
    process: int
    f: str
    value: Any
    result: Any = None
    outcome: str = "info"


def small(kind: Kind, random_: random.Random) -> list[Event]:
    """A history of a few operations, most of them spoiled a little."""
    made = simulate(
        kind.thing(random_),
        random_,
        operations=random_.randint(1, OPERATIONS_MAX),
        concurrency=random_.randint(1, 5),
        info=random_.choice((0.0, 0.15, 0.3)),
    )
    ops, points = _parsed(made.events, kind)
    if random_.random() < 0.75:
        for _ in range(random_.randint(1, kind.changes)):
            random_.choices(_SPOILS, kind.weights)[0](kind, random_, ops, points)
    return _events(random_, ops, points)


Points = list[tuple[int, bool]]
"""(number of the operation, does it end?) in the order of time."""


def _parsed(events: Sequence[Event], kind: Kind) -> tuple[list[_Op], Points]:
    ops: list[_Op] = []
    points: Points = []
    open_: dict[int, int] = {}
    for event in events:
        process = event["process"]
        if event["type"] == "invoke":
            open_[process] = len(ops)
            points.append((len(ops), False))
            ops.append(_Op(process=process if kind.by_process else len(ops), f=event["f"], value=event["value"]))
            continue
        number = open_.pop(process)
        ops[number].outcome = event["type"]
        ops[number].result = event["value"] if event["type"] == "ok" else None
        points.append((number, True))
    return ops, points


def _respoil_results(kind: Kind, random_: random.Random, ops: list[_Op], points: Points) -> None:  # noqa: ARG001
    values = [op.value for op in ops] + [op.result for op in ops]
    done = [op for op in ops if op.outcome == "ok" and kind.results(random_, op.f, values) is not None]
    if done:
        op = random_.choice(done)
        op.result = kind.results(random_, op.f, values)


def _respoil_outcomes(kind: Kind, random_: random.Random, ops: list[_Op], points: Points) -> None:
    number = random_.randrange(len(ops))
    op = ops[number]
    values = [item.value for item in ops] + [item.result for item in ops]
    last = not kind.by_process or all(item.process != op.process for item in ops[number + 1 :])
    ends = (number, True) in points
    op.outcome = random_.choice(("ok", "fail", "info") if ends and last else ("ok", "fail") if ends else ("info",))
    op.result = (op.result or kind.results(random_, op.f, values)) if op.outcome == "ok" else None


def _respoil_arguments(kind: Kind, random_: random.Random, ops: list[_Op], points: Points) -> None:  # noqa: ARG001
    values = [op.value for op in ops]
    op = random_.choice(ops)
    if op.f in kind.renamed and random_.random() < 0.5:
        op.f = kind.renamed[op.f]
        op.result = kind.results(random_, op.f, values) if op.outcome == "ok" else None
    elif kind.arguments is not None:
        op.value = kind.arguments(random_, op.f, values)


def _respoil_times(kind: Kind, random_: random.Random, ops: list[_Op], points: Points) -> None:
    """One event moves, as far as its own operation (and process) allows."""
    place = random_.randrange(len(points))
    number, end = points[place]

    def bound(other: tuple[int, bool]) -> bool:
        return other[0] == number or (kind.by_process and ops[other[0]].process == ops[number].process)

    earlier = max((at for at in range(place) if bound(points[at])), default=-1) + 1
    later = min((at for at in range(place + 1, len(points)) if bound(points[at])), default=len(points)) - 1
    points.insert(random_.randint(earlier, later), points.pop(place))
    assert (number, end) in points


_SPOILS = (_respoil_results, _respoil_outcomes, _respoil_arguments, _respoil_times)


def _events(random_: random.Random, ops: Sequence[_Op], points: Points) -> list[Event]:
    events: list[Event] = []
    time = 0
    last: dict[int, int] = {}
    for number, end in points:
        op = ops[number]
        time += random_.choice((0, 1, 1))
        if last.get(op.process) == time and random_.random() < 0.95:
            time += 1  # a process that touches itself is rare
        last[op.process] = time
        base = {"time": time, "process": op.process, "f": op.f, "value": op.value}
        if not end:
            events.append({**base, "type": "invoke"})
        elif op.outcome == "ok":
            events.append({**base, "type": "ok", "value": op.result, "node": "n1"})
        else:
            events.append({**base, "type": op.outcome})
    return events


def together(kind: Kind, random_: random.Random, size: int) -> History:
    """So many small histories one after another, each with a key and processes of its own."""
    events: list[Event] = []
    for number in range(size):
        for event in small(kind, random_):
            moved = {"time": event["time"] + 1000 * number, "process": event["process"] + 1000 * number}
            events.append({**event, **moved, "key": f"k{number}"})
    return History.of(events)


def compare(kind: Kind, seed: int, size: int) -> collections.Counter[Any]:
    """Judges random histories; how often which verdict, which kind of finding and which reason to defer came up."""
    random_ = random.Random(seed)
    history = together(kind, random_, size)
    null_read = random_.choice(("value", "unknown"))
    decision = kind.decider.decide(history, initial=kind.initial, null_read=null_read)
    model = kind.model(null_read=null_read)
    start = model.start(kind.initial)
    seen: collections.Counter[Any] = collections.Counter(decision.deferred.values())
    rows = [np.flatnonzero(history.key == code) for code in range(len(history.keys))]
    assert not decision.refused & set(decision.deferred)
    for code, mine in enumerate(rows):
        operations = [history.operation(int(row)) for row in mine]
        possible = twin.linearizable(operations, model.step, start)
        seen[possible] += 1
        if code in decision.deferred:
            seen["deferred"] += 1
            continue
        assert possible == (code not in decision.refused), f"seed {seed}, key {code}: {described(operations)}"
        if possible:
            order = kind.decider.order(history, mine, initial=kind.initial, null_read=null_read)
            if order is not None:
                seen["order"] += 1
                check_order(operations, [history.operation(int(row)) for row in order], model, start)
    findings = decision.findings
    assert len(findings) == min(len(decision.refused), FINDINGS_MAX)
    for finding in findings:
        seen[finding.kind] += 1
        told = f"seed {seed}: {finding.kind}: {finding.message} {described(finding.operations)}"
        if len(finding.operations) <= NAMED_MAX:
            assert not twin.linearizable(finding.operations, model.step, start), told
        for earlier, later in finding.evidence["before"]:
            assert history.return_[earlier] < history.call[later], told
        assert set(finding.evidence["roles"].values()) <= {item.index for item in finding.operations}
    return seen


def check_order(operations: Sequence[Operation], order: Sequence[Operation], model: Model, start: Any) -> None:
    """The order holds every completed operation once, keeps to the times, and the data type allows it."""
    done = {item.index for item in operations if item.outcome is Outcome.OK}
    indices = [item.index for item in order]
    assert len(set(indices)) == len(indices), indices
    assert done <= set(indices) <= {item.index for item in operations if item.outcome is not Outcome.FAIL}, indices
    state, latest = start, -1
    for item in order:
        assert item.outcome is Outcome.INFO or item.return_index is None or latest < item.return_index, indices
        latest = max(latest, item.call_index)
        state = model.step(state, twin.call_of(item))
        assert state is not REFUSED, (indices, item.index, described(operations))


def described(operations: Sequence[Operation]) -> str:
    return "\n" + "\n".join(
        f"  {item.index}: p{item.process} {item.f} {item.value!r} -> {item.outcome} {item.result!r} "
        f"[{item.call_index}, {item.return_index}]"
        for item in operations
    )


def compare_many(kind: Kind, seeds: range, size: int) -> collections.Counter[Any]:
    """The sum of :func:`compare` over seeds."""
    seen: collections.Counter[Any] = collections.Counter()
    for seed in seeds:
        seen.update(compare(kind, seed, size))
    return seen
