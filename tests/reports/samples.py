"""Run folders as a run would leave them, made without one: deterministic, for tests of pages and for pictures of them.

A little world is simulated: five nodes, a leader that changes under faults, registers that obey (or, where the sample
says so, do not).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from checkers import check
from checkers.history import History
from checkers.operation import Operation
from checkers.runs.availability import measure as measure_availability
from checkers.runs.ledger import keep_ledger
from checkers.runs.statistics import measure as measure_statistics
from reports.folder import RunFolder

NODES = ("n1", "n2", "n3", "n4", "n5")
SECOND = 1_000_000_000
ZERO = 5_000 * SECOND
"""The monotonic clock's value when a sample's run began."""

NASTY = (
    "</script><script>document.title='pwned'</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }} {% raw %} ${7*7} $\\alpha$ & &amp; ' `",
    "a\u2028b\u2029c\x00d\x1b[31me\ufffef\U0001f4a3",
    "<!-- --> ]]> <svg onload=alert(1)>",
)


@dataclass(kw_only=True)
class World:
    """What happens in a sample: who leads when, and which faults there are."""

    seed: int = 1
    seconds: int = 30
    operations: int = 20_000
    workers: int = 10
    keys: int = 20
    leaders: Sequence[tuple[float, float, str, int]] = (
        (0, 5.0, "n1", 3),
        (6.4, 14.0, "n2", 4),
        (15.1, 22.0, "n4", 5),
        (23.2, 30.0, "n5", 6),
    )
    faults: Sequence[Mapping[str, Any]] = field(default_factory=lambda: THREE_FAULTS)
    reigns: Sequence[tuple[float, float, str, int]] = ()
    """Who believes to lead, if that differs from who does."""
    stale: tuple[float, float, str] | None = None
    """From, until, node: this node answers reads from what it knew at the beginning."""


def fault(
    number: int, family: str, summary: str, targets: Sequence[str], begin_s: float, end_s: float, **more: Any
) -> dict[str, Any]:
    """A line of schedule.jsonl."""
    begin, end = int(begin_s * SECOND), int(end_s * SECOND)
    line = {
        "id": number,
        "family": family,
        "parameters": {"target": "leader"},
        "targets": list(targets),
        "resolved": {"targets": list(targets)},
        "planned_ns": begin - 2_000_000,
        "for_ns": end - begin,
        "trigger": None,
        "injected_ns": [begin, begin + 9_000_000],
        "healed_ns": [end, end + 14_000_000],
        "bit": {
            "holds": True,
            "evidence": {"blocked": [["n1", "n2"], ["n2", "n1"]]} if family == "partition" else {"state": "stopped"},
        },
        "healed": {"holds": True, "evidence": {"probes": 20}},
        "summary": summary,
    }
    return {**line, **more}


THREE_FAULTS = (
    fault(1, "partition", "n1 cut from n2, n3, n4, n5", ["n1"], 5, 11),
    fault(2, "kill", "n2 killed", ["n2"], 14, 18),
    fault(3, "pause", "n4 paused", ["n4"], 22, 26),
)


def history_lines(world: World) -> list[dict[str, Any]]:
    """The events of the world's history."""
    stream = random.Random(world.seed)
    calls = _calls(world, stream)
    _settle(world, calls, stream)
    events = [event for call in calls for event in _events(call)] + [
        event for one in world.faults for event in _fault_events(one)
    ]
    events.sort(key=lambda event: (event["time"], event["type"] != "invoke"))
    return [{"index": index, **event} for index, event in enumerate(events)]


def _calls(world: World, stream: random.Random) -> list[dict[str, Any]]:
    """Each worker's operations with the times of call, effect and return; a long wait for a leader ends ``info``."""
    spacing = world.seconds * SECOND * world.workers / world.operations
    calls: list[dict[str, Any]] = []
    for worker in range(world.workers):
        process, now, node = worker, stream.random() * spacing, NODES[worker % len(NODES)]
        while now < world.seconds * SECOND and len(calls) < world.operations * 2:
            f = "read" if worker % 2 or stream.random() < 0.2 else stream.choice(["write", "write", "cas"])
            took = stream.lognormvariate(0.75, 0.45) * 1e6
            ready = _ready(world, now, node)
            call = {
                "process": process,
                "f": f,
                "key": f"k{int(stream.paretovariate(1.1)) % world.keys}",
                "call": int(now),
                "node": node,
                "type": "ok",
            }
            call["end"] = int(max(now, ready) + took)
            deaf = _is_stale(world, now, node) and f != "read"
            if call["end"] - now > 1.2e9 or deaf:
                call |= {
                    "end": int(now + 1e9 + took),
                    "type": "info" if f != "read" else "fail",
                    "error": "timed out after 1 s",
                }
                process += world.workers if call["type"] == "info" else 0
            calls.append(call)
            now = max(now + spacing * stream.uniform(0.6, 1.4), call["end"] + 20_000)
    return sorted(calls, key=lambda call: call["call"])


def _is_stale(world: World, now: float, node: str) -> bool:
    return (
        world.stale is not None and node == world.stale[2] and world.stale[0] * SECOND <= now < world.stale[1] * SECOND
    )


def _ready(world: World, now: float, node: str) -> float:
    """When somebody leads again (a node that answers stale reads never waits)."""
    if _is_stale(world, now, node):
        return now
    later = [begin * SECOND for begin, end, _, _ in world.leaders if end * SECOND > now]
    return max(now, later[0]) if later else now


def _settle(world: World, calls: list[dict[str, Any]], stream: random.Random) -> None:
    """Gives each operation its value, in the order of effects."""
    state: dict[str, Any] = {}
    frozen: dict[str, Any] | None = None
    for number, call in enumerate(sorted(calls, key=lambda call: (call["call"] + call["end"]) / 2), start=1):
        middle = (call["call"] + call["end"]) / 2 / SECOND
        if world.stale and frozen is None and middle >= world.stale[0]:
            frozen = dict(state)
        old = frozen is not None and _is_stale(world, call["call"], call["node"])
        current = (frozen if old and frozen is not None else state).get(call["key"])
        if call["f"] == "read":
            call["value"] = current if call["type"] == "ok" else None
        elif old:
            call["value"] = number if call["f"] == "write" else [current, number]
        elif call["f"] == "write":
            call["value"] = state[call["key"]] = number
        else:
            right = stream.random() < 0.8 and current is not None
            call["value"] = [current if right else number - 1, number]
            if right:
                state[call["key"]] = number
            elif call["type"] == "ok":
                call |= {"type": "fail", "error": "expected another value"}


def _events(call: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    base = {"process": call["process"], "f": call["f"], "key": call["key"]}
    value = call.get("value")
    yield {"time": call["call"], "type": "invoke", **base, "value": None if call["f"] == "read" else value}
    end = {"time": call["end"], "type": call["type"], **base, "value": value, "node": call["node"]}
    yield {**end, "error": call["error"]} if call["type"] != "ok" else end


def _fault_events(one: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    value = {"id": one["id"], "family": one["family"]}
    for name, times in (("inject", one["injected_ns"]), ("heal", one["healed_ns"])):
        for kind, time in zip(("invoke", "info"), times or (), strict=False):
            yield {"time": time, "process": "nemesis", "type": kind, "f": name, "value": value}


def trace_lines(world: World, node: str) -> list[dict[str, Any]]:
    """The trace of a node, with the roles that the world gives it."""
    base = {"node": node}
    rows: list[tuple[float, dict[str, Any]]] = [
        (-0.9, _start(0, None)),
        (-0.4, {"event": "role", "role": "follower", "term": 2, "leader": None}),
    ]
    for begin, end, leader, term in world.reigns or world.leaders:
        if leader == node:
            rows.append((begin - 0.5, {"event": "role", "role": "pre-candidate", "term": term - 1, "leader": None}))
            rows.append((begin - 0.25, {"event": "role", "role": "candidate", "term": term, "leader": None}))
            rows.append((begin - 0.25, {"event": "vote", "term": term, "for": node}))
            rows.append((begin, {"event": "role", "role": "leader", "term": term, "leader": node}))
            rows.append(
                (
                    end + (1.1 if end < world.seconds else 0),
                    {"event": "role", "role": "follower", "term": term, "leader": None},
                )
            )
        else:
            if _hears(world, node, begin) > begin:
                continue
            rows.append((begin - 0.2, {"event": "vote", "term": term, "for": leader}))
            rows.append(
                (begin - 0.19, {"event": "durable", "term": term, "vote": leader, "index": int(max(begin, 0) * 300)})
            )
            rows.append(
                (
                    _hears(world, node, begin) + 0.01,
                    {"event": "role", "role": "follower", "term": term, "leader": leader},
                )
            )
    for one in world.faults:
        if one["family"] == "kill" and node in one["targets"]:
            begin, end = one["injected_ns"][0] / SECOND, one["healed_ns"][0] / SECOND
            rows = [(at, row) for at, row in rows if not begin <= at < end + 0.3]
            rows.append((begin - 0.001, {"event": "commit", "index": int(begin * 300), "term": 4}))
            rows.append((end + 0.3, _start(max(term for start, _, _, term in world.leaders if start < end), None)))
    rows += [(second + 0.5, {"event": "lag", "max_ms": 3.25}) for second in range(world.seconds)]
    rows.sort(key=lambda row: row[0])
    return [
        {"time": int(ZERO + at * SECOND), "wall": int(at * SECOND) + 1_790_000_000 * SECOND, **base, **row}
        for at, row in rows
    ]


def _hears(world: World, node: str, at: float) -> float:
    """When a node hears what happened at a time: one that is cut off hears nothing."""
    cuts = [
        one
        for one in world.faults
        if one["family"] == "partition" and node in one["targets"] and one["injected_ns"][0] <= at * SECOND
    ]
    return max([at, *((one["healed_ns"] or [0])[0] / SECOND for one in cuts)])


def _start(term: int, vote: str | None) -> dict[str, Any]:
    return {
        "event": "start",
        "term": term,
        "vote": vote,
        "last_index": 0,
        "last_term": 0,
        "snapshot_index": 0,
        "snapshot_term": 0,
        "voters": list(NODES),
    }


def run_facts(**more: Any) -> dict[str, Any]:
    """A run.json."""
    facts: dict[str, Any] = {
        "format": 1,
        "run_id": "cz-7f3a",
        "scenario": "default",
        "seed": 42,
        "system": "raftkv",
        "substrate": "process",
        "nodes": [{"name": node, "address": f"10.0.0.{number}"} for number, node in enumerate(NODES, 1)],
        "started": "2026-11-20T23:14:05.120+00:00",
        "start_wall_ns": 1_790_000_000 * SECOND,
        "start_monotonic_ns": ZERO,
        "command": ["capsize", "run", "default", "--seed", "42"],
        "bug": None,
        "versions": {"capsize": "0.1.0", "python": "3.11.2"},
        "git": {"revision": "43d09f94b1c7a7d2", "dirty": False},
        "machine": {"cores": 2, "memory_bytes": 8_254_000_000, "kernel": "6.1.0-18-cloud-amd64", "python": "3.11.2"},
        "abilities": ["kill", "partition", "pause"],
        "phases": phases(),
        "lag": {"controller_max_ms": 18.4, "controller_p99_ms": 2.1},
        "notes": [],
        "validity": "valid",
        "exit_code": 0,
    }
    return {**facts, **more}


def phases(seconds: float = 30, last: str | None = None) -> list[dict[str, Any]]:
    """The phases of a run whose load took so long; with ``last``, the run ended inside that phase."""
    lengths = [
        ("start", -1.4, 0),
        ("load", 0, seconds),
        ("heal", seconds, seconds + 0.02),
        ("recover", seconds + 0.02, seconds + 0.6),
    ]
    lengths += [
        ("final-reads", seconds + 0.6, seconds + 0.7),
        ("collect", seconds + 0.7, seconds + 0.9),
        ("stop", seconds + 0.9, seconds + 1.1),
        ("check", seconds + 1.1, seconds + 1.5),
    ]
    rows = []
    for name, begin, end in lengths:
        rows.append(
            {"name": name, "begin_ns": int(begin * SECOND), "end_ns": None if name == last else int(end * SECOND)}
        )
        if name == last:
            break
    return rows


def scenario(name: str = "default", **more: Any) -> dict[str, Any]:
    """A resolved scenario."""
    faults: list[Any] = [
        {"at": "5s", "for": "6s", "partition": {"shape": "isolate", "target": "leader", "direction": "both"}},
        {"at": "14s", "for": "4s", "kill": {"target": "leader"}},
        {"at": "22s", "for": "4s", "pause": {"target": "leader"}},
    ]
    about = "Five nodes, thirty seconds; the leader is cut off, a node is killed, another is paused."
    workload = {"name": "register", "rate": 700, "concurrency": "2n", "keys": 20}
    return {
        "name": name,
        "about": about,
        "system": "raftkv",
        "nodes": 5,
        "substrate": "process",
        "time": "30s",
        "workload": workload,
        "faults": faults,
        **more,
    }


def statistics(history: History) -> list[dict[str, Any]]:
    """What the checkers of figures leave in verdict.json: the real ones."""
    results = [check(history), measure_statistics(history), measure_availability(history), keep_ledger(history)]
    return [
        {"checker": result.checker, "validity": "valid", "findings": [], "statistics": result.statistics}
        for result in results
    ]


def row(operation: Operation) -> dict[str, Any]:
    """An operation as verdict.json has it."""
    names = (
        "index",
        "process",
        "f",
        "key",
        "value",
        "result",
        "outcome",
        "call_index",
        "return_index",
        "call_ns",
        "return_ns",
        "node",
        "error",
    )
    return {name: getattr(operation, name) for name in names}


def write(
    path: Path,
    world: World,
    run: Mapping[str, Any],
    plan: Mapping[str, Any],
    judge: Callable[[History], Mapping[str, Any]] | None,
) -> RunFolder:
    """Writes a whole folder; ``judge`` makes verdict.json from the history (None: there is none)."""
    folder = RunFolder(path)
    path.mkdir(parents=True)
    folder.run.write_text(json.dumps(run, indent=1))
    folder.scenario.write_text(yaml.safe_dump(dict(plan), sort_keys=False))
    folder.history.write_text("".join(json.dumps(line) + "\n" for line in history_lines(world)))
    folder.schedule.write_text("".join(json.dumps(one) + "\n" for one in world.faults))
    folder.log.write_text("harness: started\n")
    for node in NODES:
        folder.node(node).mkdir(parents=True)
        folder.trace(node).write_text("".join(json.dumps(line) + "\n" for line in trace_lines(world, node)))
        (folder.node(node) / "node.log").write_text(f"{node} listens\n")
    if judge is not None:
        folder.verdict.write_text(json.dumps(judge(History.read(folder.history))))
    return folder


def valid(root: Path, operations: int = 20_000, seed: int = 42, workers: int = 10) -> RunFolder:
    """A run in which everything held: three faults, each proved."""

    def judge(history: History) -> dict[str, Any]:
        sentence = (
            f"All {len(history):,} operations fit one linear order, through 3 proved faults and 3 leader changes."
        )
        return {"validity": "valid", "sentence": sentence, "results": statistics(history)}

    run = run_facts(seed=seed, command=["capsize", "run", "default", "--seed", str(seed)])
    return write(
        root / "default" / f"20261120T231405Z-{seed}",
        World(operations=operations, workers=workers),
        run,
        scenario(),
        judge,
    )


def invalid(root: Path, operations: int = 6000, seed: int = 7) -> RunFolder:
    """A cut-off leader answers reads with what it knew when it was cut off."""
    cut = fault(1, "partition", "n1 cut from n2, n3, n4, n5", ["n1"], 5, 11)
    leaders = ((0, 5.0, "n1", 3), (6.4, 14.0, "n2", 4))
    reigns = ((0, 10.2, "n1", 3), (6.4, 14.0, "n2", 4))
    world = World(
        seed=seed,
        seconds=14,
        operations=operations,
        keys=5,
        faults=(cut,),
        leaders=leaders,
        reigns=reigns,
        stale=(5.2, 11.0, "n1"),
    )

    def judge(history: History) -> dict[str, Any]:
        finding = stale_read(history)
        results = [
            {"checker": "linearizability", "validity": "invalid", "findings": [finding], "statistics": {}},
            *statistics(history)[1:],
        ]
        return {
            "validity": "invalid",
            "sentence": f"A read returned an old value: {finding['message']}",
            "results": results,
        }

    run = run_facts(
        scenario="local-read",
        seed=seed,
        bug="local-read",
        validity="invalid",
        exit_code=1,
        phases=phases(14),
        command=["capsize", "run", "local-read", "--bug", "local-read", "--seed", str(seed)],
    )
    about = "The leader is cut off from its peers but not from its clients, and goes on answering reads."
    planned = [{"at": "5s", "for": "6s", "partition": {"shape": "isolate", "target": "leader", "direction": "both"}}]
    plan = scenario("local-read", about=about, time="14s", faults=planned, bug="local-read")
    return write(root / "local-read" / f"20261120T231502Z-{seed}", world, run, plan, judge)


def stale_read(history: History) -> dict[str, Any]:
    """The finding for the first read that returned what a later write had replaced."""
    rows = [one for one in history.operations if one.outcome == "ok"]
    for read in rows:
        if read.f != "read" or read.node != "n1" or read.call_ns <= 6.8e9 or read.result is None:
            continue
        before = [
            one
            for one in rows
            if one.key == read.key and one.return_index is not None and one.return_index < read.call_index
        ]
        write = next((one for one in before if one.f == "write" and one.value == read.result), None)
        newer = [
            one
            for one in before
            if write is not None and one.f == "write" and one.call_index > (write.return_index or 0)
        ]
        if write is not None and newer:
            return _stale(read, write, newer[-1])
    raise AssertionError("the sample has no stale read")


def _stale(read: Operation, write: Operation, newer: Operation) -> dict[str, Any]:
    def at(ns: int | None) -> str:
        return f"{(ns or 0) / 1e9:.3f} s"

    message = (
        f"The read of {read.key} by process {read.process} at {at(read.call_ns)} returned {read.result}; "
        f"but the write of {write.value} returned at {at(write.return_ns)}, before the write of {newer.value} began at "
        f"{at(newer.call_ns)}, and {newer.value} was acknowledged at {at(newer.return_ns)}, before this read began. "
        f"{write.value} was written only once."
    )
    return {
        "checker": "linearizability",
        "kind": "stale read",
        "message": message,
        "blame": "system under test",
        "key": read.key,
        "operations": [row(one) for one in (write, newer, read)],
        "nodes": ["n1", "n2"],
        "time_ns": read.return_ns,
        "evidence": {
            "before": [[write.index, newer.index], [newer.index, read.index]],
            "roles": {"read": read.index, "write": write.index, "newer": newer.index},
            "path": [],
            "initial": None,
        },
    }


def trace_finding(root: Path, seed: int = 3) -> RunFolder:
    """A voter forgets its vote over a restart: two votes, and so two leaders, in one term."""
    faults = (
        fault(1, "pause", "n1 paused", ["n1"], 4, 6),
        fault(2, "kill", "n3 killed", ["n3"], 5.3, 5.6, trigger={"event": "vote"}, planned_ns=None),
    )
    leaders = ((0, 4.0, "n1", 6), (5.4, 7.4, "n2", 7), (6.2, 7.4, "n4", 7), (8.0, 16.0, "n2", 8))
    world = World(seed=seed, seconds=16, operations=3000, faults=faults, leaders=leaders)
    run = run_facts(
        scenario="vote-not-durable",
        seed=seed,
        bug="vote-not-durable",
        validity="invalid",
        exit_code=1,
        phases=phases(16),
        command=["capsize", "run", "vote-not-durable", "--bug", "vote-not-durable", "--seed", str(seed)],
    )
    folder = write(
        root / "vote-not-durable" / f"20261120T231610Z-{seed}",
        world,
        run,
        scenario("vote-not-durable", time="16s"),
        None,
    )
    lines = {node: folder.trace(node).read_text().splitlines() for node in NODES}

    def sight(node: str, **wanted: Any) -> dict[str, Any]:
        for number, line in enumerate(lines[node], 1):
            event = json.loads(line)
            if all(event.get(name) == value for name, value in wanted.items()):
                return {"node": node, "line": number, "event": event["event"], "monotonic_ns": event["time"]}
        raise AssertionError(f"no {wanted} in the trace of {node}")

    def accuse(kind: str, message: str, nodes: Sequence[str], sights: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        common = {"checker": "raft", "blame": "system under test", "key": None, "operations": [], "time_ns": None}
        return {
            **common,
            "kind": kind,
            "message": message,
            "nodes": list(nodes),
            "evidence": {"lines": list(sights), "term": 7},
        }

    votes = [sight("n3", event="vote", **{"for": name}, term=7) for name in ("n2", "n4")]
    wins = [sight(name, event="role", role="leader", term=7) for name in ("n2", "n4")]
    findings = [
        accuse(
            "one vote a term",
            "n3 voted twice in term 7: for n2 and, with a restart between, for n4; two candidates can win that term",
            ["n3"],
            votes,
        ),
        accuse(
            "election safety",
            "term 7 had two leaders: n2 and n4; two nodes can accept different commands under the same index and term",
            ["n2", "n4"],
            wins,
        ),
    ]
    history = History.read(folder.history)
    results = [{"checker": "raft", "validity": "invalid", "findings": findings, "statistics": {}}, *statistics(history)]
    sentence = "Node n3 voted twice in term 7, and term 7 had two leaders: the vote did not survive a restart."
    folder.verdict.write_text(json.dumps({"validity": "invalid", "sentence": sentence, "results": results}))
    return folder


def unknown(root: Path, seed: int = 11) -> RunFolder:
    """Nothing was proved: the fault did not bite, and hardly an operation succeeded."""
    idle = fault(
        1,
        "partition",
        "n1 cut from n2, n3, n4, n5",
        ["n1"],
        5,
        11,
        bit={"holds": False, "evidence": {"still open": [["n1", "n3"]]}},
    )
    world = World(seed=seed, operations=90, faults=(idle,), leaders=((0, 30.0, "n1", 3),))

    def judge(history: History) -> dict[str, Any]:
        doubts = [
            (
                "fault did not bite",
                "Fault 1 (partition) did not bite: datagrams still passed from n1 to n3.",
                "harness",
            ),
            ("too few operations", "Only 87 operations succeeded; the scenario asks for at least 5,000.", "machine"),
        ]
        findings = [
            {
                "checker": "run",
                "kind": kind,
                "message": message,
                "blame": blame,
                "operations": [],
                "nodes": [],
                "evidence": {},
            }
            for kind, message, blame in doubts
        ]
        results = [
            {"checker": "run", "validity": "unknown", "findings": findings, "statistics": {}},
            *statistics(history),
        ]
        return {
            "validity": "unknown",
            "sentence": "Nothing was proved: a fault did not bite and too few operations succeeded.",
            "results": results,
        }

    run = run_facts(seed=seed, validity="unknown", exit_code=2, notes=["The machine has 2 cores for 5 nodes."])
    return write(root / "default" / f"20261120T231730Z-{seed}", world, run, scenario(), judge)


def killed(root: Path, seed: int = 5) -> RunFolder:
    """The controller was killed in the middle of the load: a torn history, no verdict, a fault that never healed."""
    cut = fault(1, "partition", "n1 cut from n2, n3, n4, n5", ["n1"], 5, 11, healed_ns=None, healed=None)
    run = run_facts(seed=seed, validity=None, exit_code=None, phases=phases(12, last="load"))
    folder = write(
        root / "default" / f"20261120T231840Z-{seed}",
        World(seed=seed, seconds=12, operations=4000, faults=(cut,)),
        run,
        scenario(),
        None,
    )
    folder.history.write_bytes(folder.history.read_bytes()[:-23])
    return folder


def nasty(root: Path) -> RunFolder:
    """A valid shape whose every text is hostile."""
    folder = invalid(root, operations=1500, seed=99)
    verdict = json.loads(folder.verdict.read_text())
    poison = " ".join(NASTY)
    verdict["sentence"] = poison
    finding = verdict["results"][0]["findings"][0]
    finding |= {
        "kind": poison,
        "message": poison,
        "key": poison,
        "nodes": list(NASTY),
        "evidence": {poison: poison, "lines": [{"node": "../../etc", "line": 1, "text": poison}]},
    }
    for number, operation in enumerate(finding["operations"]):
        operation |= {
            "f": poison,
            "value": poison if number else {poison: [poison]},
            "node": poison,
            "error": poison,
            "key": poison,
        }
    verdict["results"].append(
        {
            "checker": poison,
            "validity": "valid",
            "findings": [],
            "statistics": {poison: poison, "deep": {poison: {poison: poison}}},
        }
    )
    verdict["results"].append({"checker": "ledger", "validity": "valid", "findings": [], "statistics": {poison: 1}})
    folder.verdict.write_text(json.dumps(verdict))
    facts = json.loads(folder.run.read_text())
    folder.run.write_text(
        json.dumps(
            {
                **facts,
                "scenario": poison,
                "system": poison,
                "substrate": "process",
                "bug": poison,
                "notes": [poison],
                "command": ["capsize", poison],
                "versions": {poison: poison},
                "run_id": poison,
            }
        )
    )
    lines = [json.loads(line) for line in folder.history.read_text().splitlines()]
    for line in lines:
        if line["process"] != "nemesis":
            line |= {"f": NASTY[0], "key": f"{line['key']}{poison}"}
            if line["type"] != "invoke":
                line |= {"node": NASTY[1], "error": poison if line["type"] != "ok" else None}
    folder.history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    schedule = [json.loads(line) for line in folder.schedule.read_text().splitlines()]
    folder.schedule.write_text(
        "".join(
            json.dumps({**line, "family": NASTY[0], "summary": poison, "targets": [poison]}) + "\n" for line in schedule
        )
    )
    return folder


SAMPLES: Mapping[str, Callable[[Path], RunFolder]] = {
    "valid": valid,
    "invalid": invalid,
    "trace": trace_finding,
    "unknown": unknown,
    "killed": killed,
    "nasty": nasty,
}


def campaign(root: Path) -> Path:
    """A campaign over the samples: one of everything, and two runs that the budget left no time for."""
    folder = root / "campaigns" / "nightly" / "20261120T231400Z"
    folder.mkdir(parents=True)
    planned = [(name, seed) for name in ("default", "local-read", "vote-not-durable") for seed in (3, 5, 7, 11, 42)]
    plan = {"suite": "nightly", "started": "2026-11-20T23:14:00+00:00", "budget_s": 7200}
    runs = [{"scenario": name, "seed": seed} for name, seed in planned]
    (folder / "plan.json").write_text(json.dumps({**plan, "runs": runs}))
    lines = [_campaign_line(root, name, seed) for name, seed in planned[:-2]]
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def _campaign_line(root: Path, name: str, seed: int) -> dict[str, Any]:
    found = sorted((root / name).glob(f"*-{seed}"))
    line: dict[str, Any] = {
        "scenario": name,
        "seed": seed,
        "folder": found[0].relative_to(root).as_posix() if found else None,
    }
    line |= {
        "validity": "valid",
        "exit_code": 0,
        "seconds": 33.4,
        "sentence": "Everything held.",
        "error": None,
        "kinds": [],
    }
    line["ledger"] = {"leader changed under a fault": 3, "snapshot installed": 0}
    if (name, seed) == ("default", 5):
        return {
            **line,
            "validity": None,
            "exit_code": 70,
            "sentence": "",
            "error": "the cluster never served",
            "ledger": {},
        }
    if (name, seed) == ("default", 11):
        return {
            **line,
            "validity": "unknown",
            "exit_code": 2,
            "sentence": "Nothing was proved: too few operations succeeded.",
        }
    if (name, seed) in (("local-read", 7), ("vote-not-durable", 3)):
        sentence = "A read returned an old value." if name == "local-read" else "Node n3 voted twice in term 7."
        return {**line, "validity": "invalid", "exit_code": 1, "sentence": sentence, "kinds": ["stale read"]}
    return line
