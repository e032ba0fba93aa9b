"""Scenario files are validated whole: what is wrong is named with its line, its value and the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.planning.scenario import load_scenario, parse_scenario, shipped_scenarios
from harness.planning.schedule import plan_schedule

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


@pytest.mark.parametrize("name", shipped_scenarios())
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
