"""Small random histories of transactions for comparing checkers: most are nearly right, so that both verdicts are
frequent.
"""

from __future__ import annotations

import random
from typing import Any

from tests.checkers.transactions.simulated import simulated

Event = dict[str, Any]


def history(random_: random.Random, write: str, *, duplicates: bool = False) -> list[Event]:
    """Two to six transactions on one to three keys; most of them spoiled in one to three places."""
    keys = random_.randint(1, 3)
    made = simulated(
        random_,
        transactions=random_.randint(2, 6),
        concurrency=random_.randint(1, 4),
        info=random_.choice((0.0, 0.0, 0.3)),
        ties=random_.choice((0.0, 0.3)),
        write=write,
        keys=keys,
        writes_per_key=1000,
        length_max=3,
        fail=random_.choice((0.0, 0.2)),
    )
    events = [{**event, "value": [list(micro) for micro in event["value"]]} for event in made.events]
    for _ in range(random_.choice((0, 1, 1, 2, 3))):
        spoil(random_, events, write)
    if duplicates:
        _same_value_twice(random_, events, write)
    return events


def spoil(random_: random.Random, events: list[Event], write: str) -> None:
    """Another result of one read: what another read saw, a part of it, or something else."""
    done = [event for event in events if event["type"] == "ok"]
    reads = [(event, place) for event in done for place, micro in enumerate(event["value"]) if micro[0] == "r"]
    if not reads:
        return
    event, place = random_.choice(reads)
    micro = event["value"][place]
    (_lists if write == "append" else _registers)(random_, events, reads, micro)


def _lists(random_: random.Random, events: list[Event], reads: list[Any], micro: list[Any]) -> None:
    seen = list(micro[2] or ())
    others = [other["value"][at][2] for other, at in reads if other["value"][at][1] == micro[1]]
    appended = [m[2] for event in events for m in event["value"] if m[0] == "append" and m[1] == micro[1]]
    kind = random_.randrange(6)
    if kind == 0 and seen:
        seen = seen[: random_.randrange(len(seen))]
    elif kind == 1:
        seen = list(random_.choice(others) or ())
    elif kind == 2 and len(seen) > 1:
        random_.shuffle(seen)
    elif kind == 3 and appended:
        seen.insert(random_.randrange(len(seen) + 1), random_.choice(appended))
    elif kind == 4 and seen:
        seen.pop(random_.randrange(len(seen)))
    elif random_.random() < 0.1:
        seen.append(99)
    micro[2] = seen


def _registers(random_: random.Random, events: list[Event], reads: list[Any], micro: list[Any]) -> None:
    others = [other["value"][at][2] for other, at in reads if other["value"][at][1] == micro[1]]
    written = [m[2] for event in events for m in event["value"] if m[0] == "w" and m[1] == micro[1]]
    choices = [*others, *written, *written, None]
    micro[2] = 99 if random_.random() < 0.03 else random_.choice(choices)


def _same_value_twice(random_: random.Random, events: list[Event], write: str) -> None:
    """One write writes what another one wrote."""
    calls = [event for event in events if event["type"] == "invoke"]
    writes = [(event, at) for event in calls for at, micro in enumerate(event["value"]) if micro[0] == write]
    if len(writes) < 2:
        return
    (one, at), (other, place) = random_.sample(writes, 2)
    key, value = one["value"][at][1:]
    begin = next(number for number, event in enumerate(events) if event is other)
    ends = (event for event in events[begin + 1 :] if event["process"] == other["process"])
    end = next(ends, other)
    for event in (other, end if end["type"] != "invoke" else other):
        if event["value"][place][0] == write:
            event["value"][place][1:] = [key, value]
