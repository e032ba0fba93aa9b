"""Random faults: weights, swarms, and what the cluster needs for what was really drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from faults import FAMILIES
from harness.errors import UsageError
from harness.planning.draws import Draw
from harness.planning.scenario import Scenario, parse_scenario
from harness.planning.schedule import plan_schedule, plan_swarms, setup_of


def scenario_of(entry: str, time: str = "1000s") -> Scenario:
    """A scenario with one entry of faults."""
    return parse_scenario(f"name: t\ntime: {time}\nfaults:\n  - {entry}\n", "t.yaml")


def test_weights_are_kept() -> None:
    """A family with three times the weight comes three times as often."""
    schedule = plan_schedule(scenario_of("{random: {kill: 3, pause: 1}, interval: 1s}"), 1)
    counts = Counter(fault.family for fault in schedule)
    assert 650 < counts["kill"] < 850
    assert counts["kill"] + counts["pause"] == 999


def test_a_swarm_draws_which_families_are_on() -> None:
    """At least one; another seed draws another set; what is off never comes; the run can say it."""
    scenario = scenario_of("{random: all, interval: 1s, swarm: true}", time="50s")
    sets = set()
    for seed in range(40):
        (swarm,) = plan_swarms(scenario, seed)
        assert {fault.family for fault in plan_schedule(scenario, seed)} <= set(swarm.on)
        assert sorted((*swarm.on, *swarm.off)) == sorted(FAMILIES)
        assert swarm.on
        sets.add(swarm.on)
    assert len(sets) > 20
    assert set().union(*sets) == set(FAMILIES)


def test_without_a_swarm_everything_is_on() -> None:
    """And nothing is told of swarms."""
    scenario = scenario_of("{random: [kill, pause], interval: 1s}")
    assert plan_swarms(scenario, 1) == ()
    assert {fault.family for fault in plan_schedule(scenario, 1)} == {"kill", "pause"}


def test_storage_is_made_for_what_was_drawn_only() -> None:
    """A run whose swarm is without power failures has no disks of its own."""
    scenario = scenario_of("{random: [kill, power], interval: 1s, swarm: true}", time="20s")
    wanted = {}
    for seed in range(20):
        schedule = plan_schedule(scenario, seed)
        wanted["power" in {fault.family for fault in schedule}] = setup_of(schedule).storage
    assert wanted == {True: frozenset({"image"}), False: frozenset()}


def test_all_is_resolved_to_names() -> None:
    """In the run's own scenario.yaml: what ``all`` means may be more tomorrow."""
    scenario = scenario_of("{random: all, interval: 1s}")
    assert scenario.source["faults"][0]["random"] == list(FAMILIES)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{random: {kill: 0}}", "0 is no weight"),
        ("{random: {kill: true}}", "True is no weight"),
        ("{random: {kil: 1}}", "did you mean 'kill'"),
        ("{random: {kill: {weight: 0}}}", "0 is no weight"),
        ("{random: {kill: {targt: n1}}}", "did you mean 'target'"),
        ("{random: {partition: {shape: link, clients: 3}}}", "clients"),
        ("{random: {disk: {kind: full, probability: 0.5}}}", "probability"),
        ("{random: {kill: {target: n9}}}", "random.kill.target: target 'n9' cannot exist here"),
        ("{random: {kill: {target: subject}}}", "'subject' needs a trigger"),
        ("{random: {partition: {shape: bridge, target: [n1, n2]}}}", "exactly one node can be the bridge"),
        ("{random: 3}", "neither `all`, a list"),
        ("{random: []}", "neither `all`, a list"),
        ("{random: [kill], swarm: 1}", "neither true nor false"),
        ("{at: 1s, for: 1s, kill: {}, swarm: true}", "belongs to `random`"),
    ],
)
def test_bad_entries_are_refused(entry: str, message: str) -> None:
    """With the value and the next step."""
    with pytest.raises(UsageError, match=message):
        scenario_of(entry)


def test_fewer_families_keep_their_weights() -> None:
    """What a substrate cannot do is taken out of the draw."""
    (entry,) = scenario_of("{random: {kill: 3, pause: 1}, interval: 1s}").faults
    assert entry.without({"pause"}).random == (Draw(family="kill", weight=3.0),)


def test_what_the_scenario_says_of_a_family_stands_and_the_rest_is_drawn() -> None:
    """Shapes that have no sides do not go with a target, so they are drawn again."""
    scenario = scenario_of("{random: {partition: {target: leader, weight: 3}, pause: 1}, interval: 1s}", time="200s")
    drawn = [fault.parameters for fault in plan_schedule(scenario, 1) if fault.family == "partition"]
    assert 130 < len(drawn) < 170
    assert {getattr(each, "target", None) for each in drawn} == {"leader"}
    assert {getattr(each, "shape", None) for each in drawn} >= {"isolate", "link"}
    assert {getattr(each, "direction", None) for each in drawn} == {"both", "in", "out"}
    (entry,) = scenario.faults
    assert entry.to_source() == {"random": {"partition": {"weight": 3.0, "target": "leader"}, "pause": 1.0}}


def test_what_could_never_be_injected_is_drawn_again() -> None:
    """Two nodes are no bridge, and too many for less than a third of five."""
    scenario = scenario_of("{random: {partition: {target: [n1, n2]}}, interval: 1s}", time="100s")
    drawn = plan_schedule(scenario, 1)
    assert len(drawn) == 99
    assert {getattr(fault.parameters, "shape", None) for fault in drawn} == {"isolate", "halves", "link"}


def test_a_run_s_own_scenario_is_the_same_draw() -> None:
    """What is said, and what cannot be had, is in it; loaded again it plans the same faults."""
    scenario = scenario_of("{random: {resource: {weight: 2, target: leader}, kill: 1}, interval: 1s}", time="50s")
    (entry,) = (each.without((), {"image"}) for each in scenario.faults)
    source = {**scenario.source, "faults": [{**scenario.source["faults"][0], **entry.to_source()}]}
    own = replace(scenario, faults=(entry,), source=source)
    assert plan_schedule(parse_scenario(own.to_yaml(5), "scenario.yaml"), 5) == plan_schedule(own, 5)
    assert plan_schedule(own, 5) != plan_schedule(scenario, 5)


def test_a_monotonic_clock_that_is_said_is_known_before_it_is_drawn() -> None:
    """A node whose clock was moved tells no times that could be compared."""
    assert scenario_of("{random: {clock: {target: leader}}, interval: 1s}").even_clocks
    assert not scenario_of("{random: {kill: 1, clock: {clock: monotonic}}, interval: 1s}").even_clocks


def test_durations_that_are_drawn_go_with_what_is_said() -> None:
    """They are written as text in between."""
    scenario = scenario_of("{random: {message: {type: VoteReply, action: delay}}, interval: 1s}", time="20s")
    drawn = [fault.parameters for fault in plan_schedule(scenario, 1)]
    assert {(getattr(each, "type", None), getattr(each, "action", None)) for each in drawn} == {("VoteReply", "delay")}
    assert len({getattr(each, "delay", None) for each in drawn}) > 2


def test_a_trigger_hits_whom_the_scenario_says() -> None:
    """And not the node whose event it was."""
    scenario = scenario_of("{random: {pause: {target: leader}}, when: {event: voted, times: 20}, for: 1s}")
    assert {getattr(each.parameters, "target", None) for each in plan_schedule(scenario, 1)} == {"leader"}


def test_what_would_need_storage_that_cannot_be_had_is_not_drawn() -> None:
    """A full disk needs an image; without loop devices resource draws its other restraints. The file says so."""
    scenario = scenario_of("{random: [resource, kill], interval: 1s}")
    (entry,) = scenario.faults
    assert setup_of(plan_schedule(scenario, 1)).storage == {"image"}
    smaller = scenario_of(
        f"{{random: [resource, kill], interval: 1s, lacking: {sorted(entry.without((), ['image']).lacking)}}}"
    )
    schedule = plan_schedule(smaller, 1)
    assert setup_of(schedule).storage == frozenset()
    assert {fault.family for fault in schedule} == {"resource", "kill"}
    assert entry.without((), ["image"]).to_source() == {"random": {"resource": 1.0, "kill": 1.0}, "lacking": ["image"]}
    assert plan_schedule(scenario_of("{random: [power], interval: 1s, lacking: [image]}"), 1) == ()


TRIGGERED = "{random: all, when: {event: voted, times: 6}, for: 300ms}"


def test_what_is_drawn_can_wait_for_something_to_happen() -> None:
    """One fault for each firing that counts, in order; some hit the node whose event it was; none changes members."""
    schedules = [plan_schedule(scenario_of(TRIGGERED), seed) for seed in range(40)]
    for schedule in schedules:
        assert len(schedule) == 6
        assert [fault.nth for fault in schedule] == sorted({fault.nth for fault in schedule})
        assert all(fault.drawn and fault.at_ns is None and fault.for_ns == 300_000_000 for fault in schedule)
    everything = [fault for schedule in schedules for fault in schedule]
    assert {fault.family for fault in everything} == {
        name for name in FAMILIES if "members" not in FAMILIES[name].claims
    }
    assert 20 < sum(getattr(fault.parameters, "target", None) == "subject" for fault in everything) < 160
    assert schedules[1] == plan_schedule(scenario_of(TRIGGERED), 1)


def test_the_run_s_own_scenario_draws_the_same() -> None:
    """``all`` is written out, and loads to the same schedule."""
    scenario = scenario_of(TRIGGERED)
    again = parse_scenario(scenario.to_yaml(7), "again.yaml")
    assert plan_schedule(again, 7) == plan_schedule(scenario, 7)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{random: all, when: {event: voted}, interval: 1s}", "the trigger says when"),
        ("{random: [membership], when: {event: voted}}", "they change who is a member"),
        ("{random: all, when: {event: votde}}", "did you mean 'vote"),
        ("{random: all, every: 3s}", "exactly one of"),
    ],
)
def test_bad_entries_that_wait_for_something_are_refused(entry: str, message: str) -> None:
    """Each with its line and the next step."""
    with pytest.raises(UsageError, match=message):
        scenario_of(entry)
