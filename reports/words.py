"""Figures and facts in words: how pages write times, counts, operations and scenarios."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from checkers.operation import Operation, Outcome
from reports.lenient import integer, mapping, sequence, text, texts

THIN = " "
"""A narrow space that does not break: between thousands, and between a number and its unit."""

ARROW = "→"


def count(value: float) -> str:
    """A number with thousands apart; fractions with at most three significant digits after the point."""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.3g}".replace(",", THIN) if abs(value) < 1000 else f"{value:,.0f}".replace(",", THIN)
    return f"{int(value):,}".replace(",", THIN)


def plural(number: int, noun: str) -> str:
    """``1 fault``, ``2 faults``."""
    return f"{count(number)}{THIN}{noun}" + ("" if number == 1 else "s")


def duration(ns: float | None) -> str:
    """A length of time in the unit that a person would choose."""
    if ns is None:
        return "–"
    size = abs(ns)
    if size >= 120e9:
        minutes, seconds = divmod(round(ns / 1e9), 60)
        return f"{minutes}{THIN}min {seconds}{THIN}s" if seconds else f"{minutes}{THIN}min"
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if size >= scale:
            return f"{_short(ns / scale)}{THIN}{unit}"
    return f"{ns:.0f}{THIN}ns" if size else f"0{THIN}s"


def _short(value: float) -> str:
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"


def moment(ns: int | None) -> str:
    """A time of the run, to the millisecond."""
    return "–" if ns is None else f"{ns / 1e9:.3f}{THIN}s"


def size(value: float) -> str:
    """Bytes in the unit that a person would choose."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f}{THIN}{unit}" if unit in ("B", "kB") else f"{value:.1f}{THIN}{unit}"
        value /= 1000
    raise AssertionError("unreachable")


class Shortened(str):
    """Words for a value that somebody has already made as short as they should be."""

    __slots__ = ()


def value_words(value: Any, limit: int = 28) -> str:
    """A value of an operation, short enough for a label."""
    if isinstance(value, Shortened):
        return value
    words = "nil" if value is None else text(value)
    return words if len(words) <= limit else f"{words[: limit - 1]}…"


def operation_words(operation: Operation) -> str:
    """``write 17``, ``read → 17``, ``cas 17 → 23``; the outcome when it was not ok."""
    words = f"{value_words(operation.f, 20)} {_argument(operation)}".rstrip()
    ending = {Outcome.OK: "", Outcome.FAIL: " (failed)", Outcome.INFO: " (outcome unknown)"}[operation.outcome]
    return words + ending


def _argument(operation: Operation) -> str:
    pair = sequence(operation.value)
    if operation.f == "cas" and len(pair) == 2:
        return f"{value_words(pair[0], 14)} {ARROW} {value_words(pair[1], 14)}"
    if operation.value is None:
        return f"{ARROW} {value_words(operation.result)}" if operation.outcome is Outcome.OK else ""
    if operation.outcome is Outcome.OK and operation.result not in (None, operation.value):
        return f"{value_words(operation.value, 14)} {ARROW} {value_words(operation.result, 14)}"
    return value_words(operation.value)


def command_words(run: Mapping[str, Any]) -> str:
    """The line that repeats the run, quoted for a shell, as it is typed in a checkout; empty if the run did not say."""
    command = list(texts(run.get("command")))
    return shlex.join(["./capsize", *command[1:]] if command[:1] == ["capsize"] else command)


def sentence(words: str) -> str:
    """With a full stop, unless it ends like a sentence already."""
    words = words.rstrip()
    return words if not words or words[-1] in ".!?…:" else f"{words}."


_SUBSTRATES: Mapping[str, tuple[str, str]] = {
    "process": ("on", "local process"),
    "docker": ("in", "container"),
    "compose": ("in", "container"),
}


def nodes_words(nodes: int, substrate: Any) -> str:
    """``on 5 local processes``, ``in 5 containers``; what the run says, for a substrate that is not known here."""
    if text(substrate) not in _SUBSTRATES:
        return f"on {plural(nodes, 'node')} ({text(substrate, '?')})"
    where, noun = _SUBSTRATES[text(substrate)]
    many = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{where} {count(nodes)}{THIN}{noun if nodes == 1 else many}"


def workload_words(scenario: Mapping[str, Any]) -> str:
    """``register (rate 500, keys 20)``."""
    workload = scenario.get("workload")
    if not isinstance(workload, Mapping):
        return text(workload)
    details = [
        f"{name.replace('_', ' ')} {text(value)}"
        for name, value in workload.items()
        if name != "name" and value is not None
    ]
    return text(workload.get("name")) + (f" ({', '.join(details)})" if details else "")


def planned_faults(scenario: Mapping[str, Any]) -> Iterator[str]:
    """Each fault that the scenario asked for, in words."""
    for entry in map(mapping, sequence(scenario.get("faults"))):
        yield _planned(entry)


_WHEN = ("at", "every", "when", "random", "for", "interval", "swarm")


def _planned(entry: Mapping[str, Any]) -> str:
    if "when" in entry:
        return _triggered(entry)
    lasting = f", for {_time(entry['for'])}" if "for" in entry else ""
    return f"{_start(entry)}: {_what(entry)}{lasting}"


def _what(entry: Mapping[str, Any]) -> str:
    if "random" in entry:
        return _drawn(entry)
    return " and ".join(_family(name, entry[name]) for name in entry if name not in _WHEN)


def _drawn(entry: Mapping[str, Any]) -> str:
    """``one of kill the leader (weight 2), pause, of which the run draws some``."""
    given = entry.get("random")
    draws = dict.fromkeys(texts(given), 1) or mapping(given)
    names = [_draw(name, said) for name, said in draws.items()]
    if given == "all":
        words = "a fault of any family"
    elif len(names) == 1:
        words = f"{names[0]}, the rest drawn"
    else:
        words = f"one of {', '.join(names) or text(given)}"
    return words + (", of which the run draws some" if entry.get("swarm") else "")


def _draw(name: str, said: Any) -> str:
    """A family as it is drawn: what is not left to chance, and its weight."""
    fixed = mapping(said)
    weight = fixed.get("weight", 1) if fixed else said
    words = _family(name, {key: value for key, value in fixed.items() if key != "weight"})
    if weight == 1:
        return words
    return f"{words[:-1]}, weight {text(weight)})" if words.endswith(")") else f"{words} (weight {text(weight)})"


def _start(entry: Mapping[str, Any]) -> str:
    if "at" in entry:
        return f"at {_time(entry['at'])}"
    return f"every {_time(entry['every'] if 'every' in entry else entry.get('interval', '6s'))}"


_EVENTS: Mapping[str, str] = {
    "voted": "a node votes",
    "vote": "a node votes",
    "became_leader": "a node becomes leader",
    "became_candidate": "a node becomes a candidate",
    "truncate": "a node cuts its log",
    "snapshot": "a node takes or gets a snapshot",
}


def _triggered(entry: Mapping[str, Any]) -> str:
    """``from 1 s on, each time a node votes (6 times at most): kill that node, restart after 300 ms``."""
    trigger = mapping(entry.get("when")) or {"event": entry.get("when")}
    times, occasion = integer(trigger.get("times")), _occasion(trigger)
    each = f"each time {occasion} ({times} times at most)" if times and times > 1 else f"the first time {occasion}"
    begin = f"from {_time(trigger['after'])} on, " if trigger.get("after") is not None else ""
    rest = [
        f"{name.replace('_', ' ')} {text(value)}"
        for name, value in trigger.items()
        if name not in ("event", "log", "times", "after") and value is not None
    ]
    also = f" ({', '.join(rest)})" if rest else ""
    over = f", {_end(entry)} after {_time(entry['for'])}" if "for" in entry else ""
    return f"{begin}{each}{also}: {_what(entry)}{over}"


def trigger_words(trigger: Any) -> str:
    """What made a fault fire: ``fired when a node votes (n1, at 2.600 s)``."""
    given = mapping(trigger)
    if not text(given.get("event")) and not text(given.get("log")):
        return f"fired by {text(trigger)}"
    node, delay = text(given.get("node")), given.get("delay_ms")
    times = (integer(given.get(name)) for name in ("event_ns", "seen_ns", "fired_ns"))
    seen = next((time for time in times if time is not None), None)
    where = ", ".join([*([node] if node else []), *([f"at {moment(seen)}"] if seen is not None else [])])
    later = f"; injection began {delay:.1f} ms later" if isinstance(delay, int | float) else ""
    force = given.get("in_force_ms")
    later += f", in force after {force:.1f} ms" if later and isinstance(force, int | float) else ""
    return f"fired when {_occasion(given)}" + (f" ({where})" if where else "") + later


def _occasion(trigger: Mapping[str, Any]) -> str:
    """``a node votes``; ``a line of a log fits “became leader”``."""
    if text(trigger.get("log")):
        return f"a line of a log fits “{text(trigger.get('log'))}”"
    event = text(trigger.get("event"), "?")
    return _EVENTS.get(event, f"“{event.replace('_', ' ')}” is seen")


def _end(entry: Mapping[str, Any]) -> str:
    return "restart" if "kill" in entry else "continue" if "pause" in entry else "heal"


_ONE_WAY: Mapping[str, str] = {
    "both": "in both directions",
    "in": "so that it can send but receives nothing",
    "out": "so that it receives but cannot send",
}


def _family(name: str, parameters: Any) -> str:
    given = {key: value for key, value in mapping(parameters).items() if value is not None}
    target = given.get("target")
    if name in ("kill", "pause") and set(given) == {"target"} and isinstance(target, str):
        return f"{name} {_TARGETS.get(target, target)}"
    if name == "partition" and given.get("shape") == "isolate" and isinstance(target, str):
        way = _ONE_WAY.get(text(given.get("direction"), "both"), text(given.get("direction")))
        clients = ", from its clients too" if given.get("clients") else ""
        return f"cut {_TARGETS.get(target, target)} off {way}{clients}"
    details = [f"{key.replace('_', ' ')} {', '.join(texts(value)) or text(value)}" for key, value in given.items()]
    return f"{name} ({', '.join(details)})" if details else name


_TARGETS: Mapping[str, str] = {
    "subject": "that node",
    "leader": "the leader",
    "one": "one node",
    "minority": "a minority",
    "majority": "a majority",
    "all": "all nodes",
    "followers": "the followers",
    "follower": "a follower",
}


def _time(value: Any) -> str:
    """Scenario files hold durations as people write them, resolved ones may hold nanoseconds."""
    ns = integer(value)
    return text(value) if ns is None else duration(ns)
