"""Scenario files are validated whole: what is wrong is named with its line, its value and the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.planning.scenario import load_scenario, parse_scenario, shipped_scenarios, zoo_scenarios
from harness.planning.schedule import plan_schedule
from harness.planning.suite import shipped_suites

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text(encoding="utf-8")

GOOD = """\
name: mine
nodes: 5
time: 20s
workload: {name: register, rate: 100, keys: 3}
faults:
  - {at: 5s, for: 2s, kill: {target: leader}}
  - {every: 6s, for: 1s, pause: {target: one}}
  - {random: [kill, partition], interval: 4s}
  - {when: {event: became_leader}, for: 2s, pause: {target: subject}}
"""


def refused(text: str) -> str:
    """The message with which a scenario is refused."""
    with pytest.raises(UsageError) as caught:
        parse_scenario(text, "mine.yaml")
    return str(caught.value)


@pytest.mark.parametrize("name", shipped_scenarios() + shipped_suites())
def test_what_ships_is_on_the_page(name: str) -> None:
    """docs/scenarios.md names every scenario and suite."""
    assert f"`{name}`" in PAGE


def test_a_good_scenario_loads() -> None:
    """Names, numbers, durations and faults arrive as written."""
    scenario = parse_scenario(GOOD, "mine.yaml")
    assert scenario.nodes == ("n1", "n2", "n3", "n4", "n5")
    assert scenario.head.time == 20_000_000_000
    assert [entry.family for entry in scenario.faults] == ["kill", "pause", None, "pause"]


def test_the_resolved_file_loads_to_the_same_scenario() -> None:
    """``scenario.yaml`` of a run folder is a scenario, and means the same."""
    first = parse_scenario(GOOD, "mine.yaml", {"seed": 4, "rate": 50.0})
    again = parse_scenario(first.to_yaml(), "scenario.yaml")
    assert again.to_yaml() == first.to_yaml()
    assert (again.parameters, again.options, again.faults) == (first.parameters, first.options, first.faults)


@pytest.mark.parametrize("name", shipped_scenarios() + zoo_scenarios())
def test_every_shipped_scenario_loads_and_plans(name: str) -> None:
    """What ships is valid, and its schedule is the same for the same seed."""
    scenario = load_scenario(name)
    assert plan_schedule(scenario, 7) == plan_schedule(scenario, 7)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("kill: {target: leader}", "kil: {target: leader}", 6, "did you mean 'kill'"),
        ("time: 20s", "time: 20", 3, "no unit"),
        ("time: 20s", "time: 20 parsecs", 3, "unknown unit 'parsecs'"),
        ("for: 2s, kill", "for: 2, kill", 6, "no unit"),
        ("kill: {target: leader}", "kill: {target: n9}", 6, "'n9' cannot exist"),
        ("kill: {target: leader}", "kill: {target: leadr}", 6, "did you mean 'leader'"),
        ("kill: {target: leader}", "kill: {target: subject}", 6, "needs a trigger"),
        ("pause: {target: one}", "pause: {victim: one}", 7, "unknown name 'victim'"),
        ("nodes: 5", "nodes: five", 2, "'five'"),
        ("nodes: 5", "nodes: 0", 2, "0"),
        ("nodes: 5", "node: 5", 2, "did you mean 'nodes'"),
        ("name: register", "name: registre", 4, "did you mean 'register'"),
        ("nodes: 5", "system: etcdd\nnodes: 5", 2, "unknown system"),
        ("nodes: 5", "substrate: cloud\nnodes: 5", 2, "unknown substrate"),
        ("nodes: 5", "bug: no-such\nnodes: 5", 2, "unknown bug"),
        ("random: [kill, partition]", "random: [kill, splits]", 8, "unknown fault 'splits'"),
        ("at: 5s, for", "at: 25s, for", 6, "not before the end"),
        ("at: 5s, for: 2s, kill", "at: 5s, every: 3s, for: 2s, kill", 6, "exactly one of"),
        ("at: 5s, for: 2s, kill", "at: 5s, kill", 6, "add `for"),
        ("nodes: 5", "nodes: 5\nnodes: 4", 3, "said twice"),
        ("rate: 100", "rate: fast", 4, "'fast'"),
    ],
)
def test_mistakes_are_named_with_their_line(old: str, new: str, line: int, message: str) -> None:
    """File, line, value and what would be right."""
    text = refused(GOOD.replace(old, new, 1))
    assert text.startswith(f"mine.yaml:{line}:"), text
    assert message in text


def entry(text: str, system: str = "raftkv") -> str:
    """A scenario of one fault, on line 4."""
    return f"name: mine\nsystem: {system}\nfaults:\n  - {{at: 5s, for: 3s, {text}}}\n"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("kill: {target: []}", "kill.target", "[] is an empty list"),
        ("kill: {target: 3}", "kill.target", "3: write text or a list"),
        ("kill: {how: stagered}", "kill.how", "unknown value 'stagered': did you mean 'staggered'? known: rolling,"),
        ("kill: {how: rolling, target: all, down: 5s}", "kill", "5 nodes rolling may take 22s"),
        ("pause: {by: freezr}", "pause.by", "did you mean 'freezer'"),
        ("partition: {shape: halfs}", "partition.shape", "did you mean 'halves'"),
        ("partition: {shape: isolate, target: all}", "partition", "nobody is left to be cut from"),
        ("partition: {clients: maybe}", "partition.clients", "'maybe': write true or false"),
        ("network: {delay: 5 sec}", "network.delay", "'5 sec' has the unknown unit 'sec'"),
        ("network: {loss: 0.2}", "network.loss", "0.2 has no unit; write 0.2%"),
        ("network: {delay: 5ms, jitter: 9ms}", "network", "jitter is larger than delay"),
        ("network: {target: n1, peers: n1}", "network", "n1 has no link to shape"),
        ("power: {how: rotate}", "power.how", "did you mean 'rotating'"),
        ("rot: {amount: many}", "rot.amount", "'many': write a whole number"),
        ('rot: {files: ""}', "rot.files", "'' is empty"),
        ("disk: {kind: error, operations: [wirte]}", "disk.operations.0", "did you mean 'write'"),
        ("disk: {kind: error, operations: write}", "disk.operations", "'write': write a list"),
        ("disk: {crash: {at: fsnyc}}", "disk.crash.at", "did you mean 'fsync'"),
        ("disk: {crash: fsync}", "disk.crash", "'fsync': write a mapping"),
        ("disk: {kind: error, probability: 10%}", "disk.probability", "'10%': write a number: 0.1"),
        ("disk: {kind: error, probability: 2}", "disk.probability", "2 must be at most 1"),
        ("clock: {jump: 30s, drift: 0.1}", "clock", "jump and drift given"),
        ("clock: {strobe: {evry: 10ms}}", "clock.strobe.evry", "did you mean 'every'? known: by, every"),
        ("clock: {strobe: {every: 0s}}", "clock.strobe.every", "'0s' must be at least 1ms"),
        ("resource: {cpu: 10}", "resource.cpu", "write a percentage from 1% to 100%"),
        ("resource: {memory: 64}", "resource.memory", "write 64MiB"),
        ("message: {type: AppendReplies}", "message.type", "did you mean 'AppendReply'"),
        ("message: {type: [PreVote, Votereply]}", "message.type.1", "did you mean 'VoteReply'"),
        ("message: {action: dup}", "message.action", "did you mean 'duplicate'"),
        ("message: {action: delay, delay: 2m}", "message.delay", "'2m' must be at most 1m"),
        ("membership: {how: remov}", "membership.how", "did you mean 'remove'"),
        ("membership: {how: remove, target: [n1, n2, n3]}", "membership", "3 of 5 nodes are a majority"),
        ("leadership: {how: transfr}", "leadership.how", "did you mean 'transfer'"),
    ],
)
def test_mistakes_in_parameters_are_told_in_words_of_the_file(text: str, place: str, message: str) -> None:
    """The value as it was written, the nearest valid one or what to write, and where; nothing of how it is modelled."""
    said = refused(entry(text, "etcd" if "ship:" in text else "raftkv"))
    assert said.startswith(f"mine.yaml:4: faults.0.{place}: "), said
    assert message in said
    assert "Input should" not in said


@pytest.mark.parametrize(
    "text",
    ["network: {target: leader, peers: n1}", "network: {target: one, peers: [n1]}", "kill: {target: [n1, leader]}"],
)
def test_what_can_be_for_some_leader_is_not_refused(text: str) -> None:
    """Only what could never be injected, whoever leads and whatever is drawn, is refused when it is read."""
    parse_scenario(entry(text), "mine.yaml")


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "name: [unclosed", "name: !!python/object:os.system x", "just words"]
)
def test_what_is_no_scenario_is_refused(text: str) -> None:
    """No traceback for an empty file, a list, broken YAML or a tag that would run code."""
    assert refused(text).startswith("mine.yaml:")


def test_a_missing_scenario_names_the_nearest(tmp_path: Path) -> None:
    """A misspelt name is answered with the right one; a binary file with what it should be."""
    with pytest.raises(UsageError, match="did you mean 'default'"):
        load_scenario("defualt")
    binary = tmp_path / "x.yaml"
    binary.write_bytes(b"\x80\x81\xff")
    with pytest.raises(UsageError, match="text file"):
        load_scenario(str(binary))
