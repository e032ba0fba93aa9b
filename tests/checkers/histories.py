"""Small random histories for comparing checkers: most are nearly right, so that both verdicts are frequent."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]


def intervals(random_: random.Random, operations: int, processes: int) -> list[tuple[str, int, int]]:
    """(invoke or complete, process, number of the operation) in some order of time, each process one at a time."""
    schedule: list[tuple[str, int, int]] = []
    open_: dict[int, int] = {}
    started = 0
    while started < operations or open_:
        free = [process for process in range(processes) if process not in open_]
        if started < operations and free and (not open_ or random_.random() < 0.55):
            process = random_.choice(free)
            open_[process] = started
            schedule.append(("invoke", process, started))
            started += 1
        else:
            process = random_.choice(sorted(open_))
            schedule.append(("complete", process, open_.pop(process)))
    return schedule


def register_history(
    random_: random.Random, *, unique: bool = True, keys: int = 1, cas: bool = True, initial: Any = None
) -> list[Event]:
    """Operations on registers that took effect at random moments, then some reads, outcomes and times spoiled."""
    operations = random_.randint(2, 8)
    schedule = intervals(random_, operations, random_.randint(1, 5))
    state: dict[int, Any] = dict.fromkeys(range(keys), initial)
    fresh = iter(range(1, 100))
    calls: dict[int, dict[str, Any]] = {}
    pending: dict[int, dict[str, Any]] = {}
    events: list[Event] = []
    time = 0
    for kind, process, number in schedule:
        time += random_.choice((0, 1, 1))
        if kind == "invoke":
            call = _call(random_, fresh, state, unique=unique, keys=keys, cas=cas)
            calls[number] = pending[number] = call
        _take_effect(random_, state, pending, None if kind == "invoke" else number)
        call = calls[number]
        base = {"time": time, "process": process + 10 * number, "f": call["f"], "key": f"k{call['key']}"}
        if kind == "invoke":
            events.append({**base, "type": "invoke", "value": call["value"]})
        elif random_.random() < 0.12:
            if random_.random() < 0.6:
                events.append({**base, "type": "info", "value": call["value"], "error": "timeout"})
        elif call["type"] == "fail":
            events.append({**base, "type": "fail", "value": call["value"]})
        else:
            events.append({**base, "type": "ok", "value": call.get("result", call["value"])})
    return _spoiled(random_, events) if random_.random() < 0.6 else events


def _call(random_: random.Random, fresh: Any, state: Any, *, unique: bool, keys: int, cas: bool) -> dict[str, Any]:
    key = random_.randrange(keys)
    f = random_.choice(("read", "read", "write", *(("cas", "cas") if cas else ())))
    new = next(fresh) if unique else random_.randrange(3)
    value = {"read": None, "write": new, "cas": [state[key] if random_.random() < 0.8 else random_.randrange(4), new]}[
        f
    ]
    return {"f": f, "key": key, "value": value, "type": "ok"}


def _take_effect(random_: random.Random, state: Any, pending: dict[int, dict[str, Any]], must: int | None) -> None:
    """Some pending operations take effect now; ``must`` does at the latest."""
    order = random_.sample(sorted(pending), len(pending))
    for number in order:
        if number == must or random_.random() < 0.3:
            _apply(state, pending.pop(number))


def _apply(state: Any, call: dict[str, Any]) -> None:
    key = call["key"]
    if call["f"] == "read":
        call["result"] = state[key]
    elif call["f"] == "write":
        state[key] = call["value"]
    elif state[key] == call["value"][0]:
        state[key] = call["value"][1]
    else:
        call["type"] = "fail"


def _spoiled(random_: random.Random, events: Sequence[Event]) -> list[Event]:
    """One to three changes that may or may not make the history impossible."""
    spoiled = [dict(event) for event in events]
    results = [event for event in spoiled if event["type"] == "ok" and event["f"] == "read"]
    values = [event["value"] for event in spoiled if event["type"] != "fail" and not isinstance(event["value"], list)]
    values += [item for event in spoiled if isinstance(event["value"], list) for item in event["value"]]
    for event in random_.sample(results, min(len(results), random_.randint(1, 3))):
        event["value"] = random_.choice(values)
    if random_.random() < 0.3:
        for event in spoiled:
            if event["type"] == "fail" and random_.random() < 0.5:
                event["type"] = "ok"
    return spoiled
