"""Evidence of faults in one line each, such that a person believes it at a glance: what was seen, of whom, how much.

Every family has a line for the bite and one for the healing, made of what ``schedule.jsonl`` holds and of nothing else.
Evidence that looks otherwise than the line needs it (that of a fault which did not bite, mostly) is shown as it stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

WORDS_MAX = 150

Row = Mapping[str, Any]
"""A fault's line of ``schedule.jsonl``."""
Evidence = Mapping[str, Any]
Line = Callable[[Row, Evidence], str]


def told(row: Row, deed: str) -> str:
    """``bit`` or ``healed`` in words; empty if that was not tried."""
    proof = row[deed]
    if proof is None:
        return ""
    evidence = proof["evidence"]
    line = LINES.get(row["family"], {}).get(deed)
    if line is None or not proof["holds"]:
        return words(evidence)
    try:
        return shortened(line(row, evidence))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):  # of a fault with other parameters
        return words(evidence)


def shortened(text: str, longest: int = WORDS_MAX) -> str:
    """At most so many characters."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def words(evidence: Evidence, longest: int = WORDS_MAX) -> str:
    """Any evidence in a line: names and values, what is empty left out."""
    parts = [f"{name.replace('_', ' ')} {_value(value)}" for name, value in evidence.items() if value not in ({}, [])]
    return shortened("; ".join(parts), longest)


def _value(value: Any) -> str:
    """A value in few characters: numbers rounded, nodes that say the same put together."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        same: dict[str, list[str]] = {}
        for name, item in value.items():
            same.setdefault(_value(item), []).append(str(name).rsplit("/", 1)[-1])
        return ", ".join(f"{'+'.join(names)}: {item}" for item, names in same.items())
    if isinstance(value, str | int | None):
        return str(value)
    if isinstance(value, Sequence):
        return " ".join(_value(item) for item in value[:4]) + (f" +{len(value) - 4}" if len(value) > 4 else "")
    return json.dumps(value)


def _each(values: Mapping[str, Any], line: Callable[[Any], str]) -> str:
    return "; ".join(f"{node}: {line(value)}" for node, value in values.items())


def _killed(_: Row, seen: Evidence) -> str:
    return _each(
        seen["pids_left"], lambda left: f"no process of it is left ({len(left)})" if left else "dead, no process left"
    )


def _started(_: Row, seen: Evidence) -> str:
    pids = seen.get("pid", {})
    return _each(seen["state"], str) + "".join(f", process {pid} is new" for each in pids.values() for pid in each[:1])


def _paused(_: Row, seen: Evidence) -> str:
    return _each(seen["state"], lambda state: f"all its processes are {state}") + f" (by {_value(seen['by'])})"


def _cut(_: Row, seen: Evidence) -> str:
    pairs = ", ".join(f"{source}>{target}" for source, target in seen["blocked"][:6])
    means = f"{seen['means'][0]}, in force in {seen['in_force_ms']:.1f} ms"
    return f"probes no longer arrive on {pairs}, all others do; {means}"


def _open(_: Row, seen: Evidence) -> str:
    stopped = seen.get("packets_stopped")  # not everywhere is somebody who counts them
    counted = f"; {sum(stopped.values())} packets had been dropped" if stopped else ""
    return f"probes arrive on all {len(seen['open'])} of them again{counted}"


def _shaped(_: Row, seen: Evidence) -> str:
    links = "; ".join(
        f"{name.replace(' to ', '>')} {each['before_ms']:.1f} -> {each['median_ms']:.0f} ms"
        for name, each in list(seen["links"].items())[:4]
    )
    return f"{links} (medians of {next(iter(seen['links'].values()))['sent']} datagrams; {', '.join(seen['means'])})"


def _unshaped(_: Row, seen: Evidence) -> str:
    held = sum(each.get("delayed", 0) for each in seen["counts"].values())
    return f"datagrams are as fast as before on all links; {held} packets of the cluster had been delayed"


def _power_lost(_: Row, seen: Evidence) -> str:
    return _each(
        seen["marks"],
        lambda marks: (
            f"dead; of two marks on its disk the synced one {'is there' if marks['synced_kept'] else 'IS GONE'}, "
            f"the unsynced one {'is gone' if marks['unsynced_lost'] else 'IS THERE'}"
        ),
    )


def _rotten(_: Row, seen: Evidence) -> str:
    return _each(
        {node: edits[0] for node, edits in seen["edits"].items()},
        lambda edit: (
            f"{edit['kind']} at byte {edit['offset']} of {edit['file'].rsplit('/', 1)[-1]}; "
            f"checksum {edit['before'][:8]} -> {edit['found'][:8]}"
        ),
    )


def _after_rot(_: Row, seen: Evidence) -> str:
    refused = {node: f"it refused: {_last_words(said)}" for node, said in seen["last_words"].items()}
    return "; ".join([*([_each(refused, str)] if refused else []), _each(seen["state"], _now)])


def _last_words(said: str) -> str:
    """The cause among them: what an error or a panic says, without the program's own places (etcd logs JSON)."""
    for key in ('"error":"', '"msg":"', "panic: "):
        if key in said:
            return said.rpartition(key)[2].partition('"')[0].partition("\n")[0]
    return said[max(said.find("bad "), 0) :].partition(". ")[0]


def _now(state: str) -> str:
    return f"now {state}"


def _disk_troubled(_: Row, seen: Evidence) -> str:
    def tried(attempts: Mapping[str, Any]) -> str:
        return ", ".join(
            f"{name} {'fails: ' + each['error'] if each.get('error') else f'''takes {each['took_ms']:.0f} ms'''}"
            for name, each in attempts.items()
        )

    return _each(seen["probes"], lambda attempts: f"our {tried(attempts)}")


def _disk_works(row: Row, seen: Evidence) -> str:
    which = "/".join(row["resolved"]["rule"]["operations"])
    back = f"; started again: {', '.join(seen['started'])}" if seen["started"] else ""
    return (
        _each(
            seen["disks"],
            lambda disk: (
                f"it hit {disk['node_operations_hit']} {which} of the node itself; ours work again "
                f"({', '.join(f'''{name} {each['took_ms']:.1f} ms''' for name, each in disk['probes'].items())})"
            ),
        )
        + back
    )


def _clock_jumped(_: Row, seen: Evidence) -> str:
    memory = {
        node: sorted({each["shift_ns"] / 1e9 for each in processes.values()})
        for node, processes in seen["processes"].items()
    }
    return (
        f"{_dates(seen)}; its memory adds {_value(memory)} s" if seen["own_date"] else f"memory adds {_value(memory)} s"
    )


def _clock_right(_: Row, seen: Evidence) -> str:
    left = sorted({each["realtime_ns"] for processes in seen["left"].values() for each in processes.values()})
    return f"{_dates(seen)}; its memory adds {', '.join(f'{each / 1e9:g}' for each in left)} s"


def _dates(seen: Evidence) -> str:
    return _each(seen["own_date"], _date)


def _date(said: Mapping[str, Any]) -> str:
    before, after, jumped_s = said["before"], said["after"], said["jumped_s"]
    if before.endswith(".000") and after.endswith(".000"):  # whole seconds are all that it tells
        return f"its own date went from {before[:-4]} to {after[:-4]}, {jumped_s:+.0f} s"
    return f"its own date went from {before} to {after}, {jumped_s:+.1f} s"


def _restrained(row: Row, seen: Evidence) -> str:
    return _each(
        {node: seen[node]["cpu"] for node in row["targets"]},
        lambda cpu: (
            f"a loop in its group got {cpu['a_burner_got']:.0%} of a processor, held back {cpu['periods_throttled']} "
            f"times; quota {' of '.join(cpu['set'].values())} us"
        ),
    )


def _unrestrained(row: Row, seen: Evidence) -> str:
    return _each(
        {node: seen[node]["cpu"] for node in row["targets"]},
        lambda cpu: f"quota {' of '.join(cpu['set'].values())} us as before; {_value(seen['state'])}",
    )


def _member_left(_: Row, seen: Evidence) -> str:
    gone = ", ".join(f"{node} ({identity})" for node, identity in seen["before"].items())
    return f"{gone} is no member: {', '.join(seen['left']['seen_by'])} list {', '.join(seen['left']['members'])}"


def _member_back(_: Row, seen: Evidence) -> str:
    back = ", ".join(f"{node} as {seen['after']['members'][node]}" for node in seen["before"])
    return f"{back}, caught up: {', '.join(seen['after']['seen_by'])} list {', '.join(seen['after']['members'])}"


def _led(_: Row, seen: Evidence) -> str:
    return f"{seen['before']} led, {seen['asked_for']} was asked for, {seen['after']} leads"


def _leads(_: Row, seen: Evidence) -> str:
    return f"{seen['leader']} leads, a majority says; transfers: {seen['transfers']}"


def _rule_in_force(_: Row, seen: Evidence) -> str:
    return f"its own hook lists the rule: {_value(seen['in_force'])}"


def _rule_ended(_: Row, seen: Evidence) -> str:
    return _each(
        seen["counted"],
        lambda each: f"{each['hits']} of {each['matched']} messages were hit; rule {_value(seen['ended'])}",
    )


LINES: Mapping[str, Mapping[str, Line]] = {
    "kill": {"bit": _killed, "healed": _started},
    "pause": {"bit": _paused, "healed": lambda _, seen: _each(seen["state"], str)},
    "partition": {"bit": _cut, "healed": _open},
    "network": {"bit": _shaped, "healed": _unshaped},
    "power": {"bit": _power_lost, "healed": _started},
    "rot": {"bit": _rotten, "healed": _after_rot},
    "disk": {"bit": _disk_troubled, "healed": _disk_works},
    "clock": {"bit": _clock_jumped, "healed": _clock_right},
    "resource": {"bit": _restrained, "healed": _unrestrained},
    "membership": {"bit": _member_left, "healed": _member_back},
    "leadership": {"bit": _led, "healed": _leads},
    "message": {"bit": _rule_in_force, "healed": _rule_ended},
}
"""By family and deed."""
