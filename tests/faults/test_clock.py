"""Clocks of a cluster in memory: the real clockwork, on processes whose vDSO is a value."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from pydantic import ValidationError

from faults.clock import ClockFamily, ClockFault, ClockParameters
from faults.clocks import witness
from faults.clocks.vdso_image import Offset
from faults.fakes.clocks import FakeMachine, FakeProcess
from faults.fakes.cluster import FakeCluster
from faults.needs import NotNowError

SECOND = 1_000_000_000
TOKEN = 77


class Lab:
    """A cluster whose processes' clocks are those of a machine in memory."""

    def __init__(self, *names: str) -> None:
        self.cluster = FakeCluster(names)
        self.machine = FakeMachine()
        for node in self.cluster.fake_nodes.values():
            node.helper = self.machine.helper
            self.machine.processes[node.pids()[0]] = FakeProcess()

    def fault(self, *targets: str, **parameters: Any) -> ClockFault:
        family = ClockFamily()
        asked = ClockParameters.model_validate({"target": list(targets), **parameters})
        nodes = tuple(self.cluster.nodes)
        resolved = family.resolve(asked, targets=targets, nodes=nodes, random=None)  # type: ignore[arg-type]
        fault = family.build(resolved, self.cluster)
        fault.token, fault.sleep = TOKEN, self.machine.sleep
        return fault

    def process(self, name: str) -> FakeProcess:
        return self.machine.processes[self.cluster.nodes[name].pids()[0]]

    def realtime(self, name: str) -> int:
        """How far a node's time of day is from the right one."""
        shift = self.process(name).shift
        return 0 if shift is None or not shift.jumps else shift.offsets.realtime.at(self.machine.time.now_ns)

    def monotonic(self, name: str) -> int:
        shift = self.process(name).shift
        return 0 if shift is None or not shift.jumps else shift.offsets.monotonic.at(self.machine.time.now_ns)


@pytest.fixture
def lab() -> Lab:
    return Lab("n1", "n2", "n3")


async def test_a_jump_hits_the_targets_and_nobody_else_until_it_is_healed(lab: Lab) -> None:
    """The evidence tells the shift of every process; the way back is registered first and discharged last."""
    fault = lab.fault("n2", jump="-45s")
    proof = await fault.inject()
    (pid,) = lab.cluster.nodes["n2"].pids()
    assert proof.holds
    assert proof.evidence["processes"]["n2"][str(pid)]["shift_ns"] == -45 * SECOND
    assert [lab.realtime(name) for name in ("n1", "n2", "n3")] == [0, -45 * SECOND, 0]
    (undo,) = lab.cluster.undo.entries.values()
    assert undo.arguments["argv"][:2] == ["in", "n2"]
    assert undo.arguments["argv"][-2:] == ["restore", str(TOKEN)]
    assert (await fault.heal()).holds
    assert lab.realtime("n2") == 0
    assert not lab.cluster.undo.entries
    assert (await fault.heal()).holds, "healing twice is safe"


async def test_a_drift_is_rate_times_time(lab: Lab) -> None:
    """After t seconds the clock is rate x t away, and the last look before healing says so."""
    fault = lab.fault("n1", drift=0.05)
    assert (await fault.inject()).holds
    began_ns = lab.machine.time.now_ns
    before = lab.realtime("n1")
    await lab.machine.sleep(10)
    assert lab.realtime("n1") - before == pytest.approx(0.05 * (lab.machine.time.now_ns - began_ns), abs=10)
    healed = await fault.heal()
    (last,) = healed.evidence["last_seen"]["processes"]["n1"].values()
    assert last["shift_ns"] == pytest.approx(0.05 * last["after_ns"], abs=10)
    assert last["after_ns"] >= lab.machine.time.now_ns - began_ns
    assert healed.holds


async def test_a_strobe_was_at_both_ends_before_it_is_believed(lab: Lab) -> None:
    """It is watched for two swings; one that stays where it is has not bitten."""
    fault = lab.fault("n1", strobe={"by": "200ms", "every": "50ms"})
    proof = await fault.inject()
    (told,) = proof.evidence["processes"]["n1"].values()
    assert (told["low_ns"], told["high_ns"]) == (0, 200_000_000)
    assert proof.holds
    lab.process("n1").stubborn = True
    assert not (await fault.heal()).holds, "what cannot be given back is no healing"
    assert lab.cluster.undo.entries, "and stays with the watchdog"


async def test_a_strobe_on_a_busy_machine_is_watched_for_longer(lab: Lab) -> None:
    """A helper that had no turn in the first moments has one later; a clock that never moves is given up."""
    lab.machine.busy = 2
    assert (await lab.fault("n1", strobe={"by": "200ms", "every": "50ms"}).inject()).holds
    lab.machine.busy = 1000
    assert not (await lab.fault("n2", strobe={"by": "200ms", "every": "50ms"}).inject()).holds


async def test_what_has_no_effect_has_not_bitten(lab: Lab) -> None:
    """Processes that show another time than was asked, that refuse, or that never ask the vDSO."""
    for spoil, wanted in (("stubborn", True), ("refuses", "process 9 traces it"), ("asks", False)):
        lab = Lab("n1", "n2")
        setattr(lab.process("n2"), spoil, wanted)
        fault = lab.fault("n1", "n2", jump="30s")
        proof = await fault.inject()
        assert not proof.holds, spoil
        if spoil == "refuses":
            assert "process 9 traces it" in str(proof.evidence["refused"])
        await fault.heal()


async def test_a_node_without_a_process_cannot_be_injected(lab: Lab) -> None:
    """Nothing was done then: there is nothing to undo."""
    await lab.cluster.nodes["n1"].signal(9)
    with pytest.raises(NotNowError, match="n1"):
        await lab.fault("n1").inject()
    assert not lab.cluster.undo.entries


async def test_among_several_the_dead_get_their_time_when_they_start(lab: Lab) -> None:
    """The living prove the bite."""
    await lab.cluster.nodes["n1"].signal(9)
    fault = lab.fault("n1", "n2", jump="30s")
    assert (await fault.inject()).holds
    await lab.cluster.nodes["n1"].start()
    for _ in range(10):
        await asyncio.sleep(0)
    assert (lab.realtime("n1"), lab.realtime("n2")) == (30 * SECOND, 30 * SECOND)
    assert (await fault.heal()).holds
    assert (lab.realtime("n1"), lab.realtime("n2")) == (0, 0)


async def test_a_server_that_starts_again_has_the_nodes_time(lab: Lab) -> None:
    """The controller notices that the processes are others, and the motion goes on where it was."""
    fault = lab.fault("n1", drift=0.1)
    await fault.inject()
    await lab.cluster.nodes["n1"].signal(9)
    lab.machine.processes[next(iter(lab.machine.processes))].gone = True
    await lab.cluster.nodes["n1"].start()
    for _ in range(10):
        await asyncio.sleep(0)
    assert lab.realtime("n1") > 0
    assert (await fault.heal()).holds
    assert lab.realtime("n1") == 0


async def test_a_dead_helper_is_replaced_to_heal(lab: Lab) -> None:
    """Healing needs nothing that was there before: another helper finds the processes by the token."""
    fault = lab.fault("n1", jump="30s")
    await fault.inject()
    for keeper in fault._keepers:
        await keeper.helper.close()
    healed = await fault.heal()
    assert healed.holds
    assert lab.realtime("n1") == 0


async def test_broken_tools_are_no_bite_and_leave_nothing(lab: Lab) -> None:
    """A helper that cannot be started fails the injection; healing is still safe."""
    lab.cluster.fake_nodes["n1"].broken_tools = True
    fault = lab.fault("n1", jump="30s")
    with pytest.raises(Exception, match="no such tool"):
        await fault.inject()
    lab.cluster.fake_nodes["n1"].broken_tools = False
    assert (await fault.heal()).holds
    assert not lab.cluster.undo.entries


async def test_who_was_told_to_stop_stops(lab: Lab) -> None:
    """The watchdog restores at the dead man's limit while the controller lives: the clocks stay right."""
    fault = lab.fault("n1", strobe={"by": "1s", "every": "50ms"})
    await fault.inject()
    assert lab.machine.sweep(TOKEN)
    await lab.machine.sleep(1)
    shown = await fault._shown()
    assert shown["ended_by_the_watchdog"] == ["n1"]
    assert lab.realtime("n1") == 0
    assert (await fault.heal()).holds


async def test_a_monotonic_clock_keeps_what_it_gained(lab: Lab) -> None:
    """It never goes back: not when healed, and not by the next fault, which adds to it."""
    first = lab.fault("n1", clock="monotonic", jump="5s")
    assert (await first.inject()).holds
    assert lab.monotonic("n1") == 5 * SECOND
    healed = await first.heal()
    assert healed.holds
    assert lab.monotonic("n1") == 5 * SECOND
    second = lab.fault("n1", jump="30s")
    assert (await second.inject()).holds
    assert (lab.realtime("n1"), lab.monotonic("n1")) == (30 * SECOND, 5 * SECOND)
    assert (await second.heal()).holds
    third = lab.fault("n1", clock="monotonic", jump="2s")
    assert (await third.inject()).holds
    assert (lab.realtime("n1"), lab.monotonic("n1")) == (0, 7 * SECOND)
    assert (await third.heal()).holds
    assert lab.process("n1").shift is not None
    assert lab.process("n1").shift.offsets.monotonic == Offset(ns=7 * SECOND)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"jump": "3s", "drift": 0.1}, "one of"),
        ({"jump": "0s"}, "leaves the clock right"),
        ({"drift": 0.0}, "leaves the clock right"),
        ({"drift": -1.0}, "greater than -1"),
        ({"strobe": {"by": "0ms"}}, "swings by nothing"),
        ({"strobe": {"every": "1us"}}, "greater than or equal"),
        ({"clock": "monotonic", "jump": "-1s"}, "never goes back"),
        ({"clock": "monotonic", "strobe": {}}, "never goes back"),
        ({"jump": 30}, "no unit"),
    ],
)
def test_what_no_clock_can_do_is_refused(parameters: dict[str, Any], words: str) -> None:
    """With the reason."""
    with pytest.raises(ValidationError, match=words):
        ClockParameters.model_validate(parameters)


def test_a_fault_that_says_nothing_jumps_by_half_a_minute() -> None:
    """Its words say so."""
    family = ClockFamily()
    parameters = ClockParameters.model_validate({"target": "n1"})
    facts = family.resolve(parameters, targets=("n1",), nodes=("n1",), random=None)  # type: ignore[arg-type]
    assert family.summary(facts) == "realtime clock of n1 jumps forward by 30s"


class Servers:
    """What the servers of a lab say the time is: what the machine's clock and their own shift make of it, or a lie."""

    date_precision_s = 0.0

    def __init__(self, lab: Lab, *, deaf: bool = False, silent: bool = False) -> None:
        self.lab, self.deaf, self.silent = lab, deaf, silent

    async def date(self, node: str) -> float | None:
        """``deaf``: always the right time; ``silent``: none."""
        shift_ns = 0 if self.deaf else self.lab.realtime(node)
        return None if self.silent else time.time() + shift_ns / SECOND


async def test_the_servers_own_date_is_a_witness(lab: Lab) -> None:
    """It jumped there and back, in seconds that a person can read."""
    lab.cluster.dates = Servers(lab)
    fault = lab.fault("n2", jump="30s")
    proof = await fault.inject()
    assert proof.holds
    assert proof.evidence["own_date"]["n2"]["jumped_s"] == pytest.approx(30, abs=0.1)
    healed = await fault.heal()
    assert healed.evidence["own_date"]["n2"]["jumped_s"] == pytest.approx(-30, abs=0.1)


async def test_a_server_that_goes_on_with_the_right_date_was_not_bitten(lab: Lab) -> None:
    """Whatever its memory shows."""
    lab.cluster.dates = Servers(lab, deaf=True)
    fault = lab.fault("n2", jump="30s")
    assert not (await fault.inject()).holds
    assert (await fault.heal()).holds


async def test_a_server_that_says_nothing_is_no_witness(lab: Lab) -> None:
    """It may be paused or cut off; the memory is proof enough."""
    lab.cluster.dates = Servers(lab, silent=True)
    fault = lab.fault("n2", jump="30s")
    proof = await fault.inject()
    assert proof.holds
    assert proof.evidence["own_date"] == {}
    assert (await fault.heal()).holds


@pytest.mark.parametrize(("precision_s", "contradicted"), [(1.0, False), (0.0, True)])
def test_whole_seconds_are_no_contradiction(precision_s: float, contradicted: bool) -> None:
    """A clock that jumped by 30 s may say 29 or 31 if it tells whole seconds."""
    before = witness.Told(date_s=100.0, asked_s=0.0, answered_s=0.01)
    after = witness.Told(date_s=129.0, asked_s=0.2, answered_s=0.21)
    assert witness.jump_s(before, after) == pytest.approx(28.8)
    after = witness.Told(date_s=130.0, asked_s=0.9, answered_s=0.91)
    assert witness.contradicts(before, after, 30.0, precision_s) is contradicted
