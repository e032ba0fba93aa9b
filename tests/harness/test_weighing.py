"""Findings held against promises: what came with a fault beyond them blames nobody."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.runs.liveness import DEAD, LEFT_BEHIND
from checkers.verdict import Blame, Finding, Result, Validity, Verdict
from faults import FAMILIES
from harness.systems import SYSTEMS
from harness.systems.promises import Hit, MayStop, Promise, Promises, minority_damaged
from harness.weighing import weigh

SECOND = 1_000_000_000
NODES = ("n1", "n2", "n3", "n4", "n5")
PROMISES = Promises(
    table={
        "kill": Promise(words="any number"),
        "power": Promise(words="a minority", covers=lambda hit: len(hit.targets) * 2 < len(hit.nodes)),
        "pause": Promise(words="it may stop", may_stop=MayStop(why="it is allowed to", statuses=frozenset({74}))),
    }
)


def row(family: str, targets: tuple[str, ...], at_s: int | None = 5, number: int = 1) -> dict[str, Any]:
    """A line of the schedule."""
    injected = None if at_s is None else [at_s * SECOND, at_s * SECOND + 1]
    return {"id": number, "family": family, "targets": targets, "injected_ns": injected, "summary": f"{family}!"}


def weighed(rows: list[dict[str, Any]], **finding: Any) -> Finding:
    """A finding against the system, as it comes out."""
    facts = {"checker": "linearizability", "kind": "stale read", "message": "it was stale", **finding}
    verdict = Verdict(results=(Result(checker="c", findings=(Finding(**facts),)),))
    (found,) = weigh(verdict, rows, PROMISES, NODES, "sys").findings
    return found


@pytest.mark.parametrize(
    ("rows", "time_s", "blame"),
    [
        ([], 9, Blame.SYSTEM),
        ([row("kill", NODES)], 9, Blame.SYSTEM),
        ([row("power", ("n1", "n2"))], 9, Blame.SYSTEM),
        ([row("power", ("n1", "n2", "n3"))], 9, Blame.BEYOND_PROMISE),
        ([row("power", ("n1", "n2", "n3"))], None, Blame.BEYOND_PROMISE),
        ([row("power", ("n1", "n2", "n3"))], 4, Blame.SYSTEM),
        ([row("power", ("n1", "n2", "n3"), at_s=None)], 9, Blame.SYSTEM),
        ([row("clock", ("n1",))], 9, Blame.BEYOND_PROMISE),
    ],
    ids=["no fault", "promised", "within", "beyond", "no time", "before it", "never injected", "no promise at all"],
)
def test_who_is_blamed(rows: list[dict[str, Any]], time_s: int | None, blame: Blame) -> None:
    """Only a finding that was provable before the first fault beyond the promises stays the system's."""
    found = weighed(rows, time_ns=None if time_s is None else time_s * SECOND)
    assert found.blame is blame
    assert ("[beyond promise since fault 1" in found.message) is (blame is Blame.BEYOND_PROMISE)


def test_beyond_promise_is_not_invalid() -> None:
    """The verdict is that of what is left; the findings are still told."""
    finding = Finding(checker="c", kind="k", message="m")
    other = Finding(checker="c", kind="k", message="m", blame=Blame.HARNESS)
    for findings, validity in (((finding,), Validity.VALID), ((finding, other), Validity.UNKNOWN)):
        verdict = Verdict(results=(Result(checker="c", findings=findings),))
        assert weigh(verdict, [row("clock", ("n1",))], PROMISES, NODES, "sys").validity is validity
    assert weigh(verdict, [], PROMISES, NODES, "sys").validity is Validity.INVALID


@pytest.mark.parametrize(
    ("node", "status", "blame"), [("n1", 74, Blame.BEYOND_PROMISE), ("n1", 1, Blame.SYSTEM), ("n2", 74, Blame.SYSTEM)]
)
def test_a_node_may_stop_where_that_is_right(node: str, status: int, blame: Blame) -> None:
    """The node that was hit, and with the status that says so; anything else is a crash like any other."""
    crash = {"checker": "logs", "kind": "CRASH", "nodes": (node,), "evidence": {"status": status}}
    found = weighed([row("pause", ("n1",))], **crash)
    assert found.blame is blame
    assert ("within its rights after fault 1" in found.message) is (blame is Blame.BEYOND_PROMISE)


def test_other_findings_about_that_node_stand() -> None:
    """It may stop; it may not lie."""
    assert weighed([row("pause", ("n1",))], nodes=("n1",)).blame is Blame.SYSTEM


def test_damage_is_counted_over_the_whole_run() -> None:
    """Two nodes of five, and later a third: the third is one too many."""
    hits = [Hit(resolved={}, targets=("n3",), nodes=NODES, damaged=frozenset(each)) for each in ((), ("n1", "n2"))]
    assert [minority_damaged(hit) for hit in hits] == [True, False]


@pytest.mark.parametrize("name", SYSTEMS)
def test_promises_are_about_families_and_say_their_bound(name: str) -> None:
    """Each system's table knows only families that exist, in words."""
    promises = SYSTEMS[name].promises
    assert set(promises) <= set(FAMILIES) | {"disk", "rot", "resource", "message"}
    assert all(promise.words for promise in promises.values())
    assert {"kill", "pause", "partition"} <= set(promises)


@pytest.mark.parametrize("family", ["kill", "power", "disk", "rot"])
def test_a_refusal_to_start_after_a_crash_is_a_finding(family: str) -> None:
    """``raftkv`` may refuse its data (status 65) after rot; after a kill, a failure of the power or a torn write it has
    no right to.
    """
    finding = Finding(checker="logs", kind="CRASH", message="n1 ended", nodes=("n1",), evidence={"status": 65})
    verdict = Verdict(results=(Result(checker="logs", findings=(finding,)),))
    system = SYSTEMS["raftkv"]
    found = weigh(verdict, [row(family, ("n1",))], system.promises, NODES, system.name)
    assert (found.validity is Validity.INVALID) is (family != "rot")


def blamed(system: str, rows: list[dict[str, Any]], finding: Finding) -> Blame:
    """Whose failure it is by a real system's promises."""
    verdict = Verdict(results=(Result(checker="logs", findings=(finding,)),))
    (found,) = weigh(verdict, rows, SYSTEMS[system].promises, NODES, system).findings
    return found.blame


@pytest.mark.parametrize(
    ("reads", "resolved", "blame"),
    [
        ("leader", {"clock": "monotonic", "jump_ns": 10**10}, Blame.SYSTEM),
        ("lease", {"clock": "realtime", "jump_ns": -(10**10)}, Blame.SYSTEM),
        ("lease", {"clock": "monotonic", "drift": -0.02}, Blame.SYSTEM),
        ("lease", {"clock": "monotonic", "drift": 0.03}, Blame.BEYOND_PROMISE),
        ("lease", {"clock": "monotonic", "jump_ns": 10**8}, Blame.BEYOND_PROMISE),
    ],
)
def test_reads_by_lease_need_clocks_that_run_evenly(reads: str, resolved: dict[str, Any], blame: Blame) -> None:
    """``raftkv`` promises everything under any clock to who does not ask for leases; and leases under any date."""
    stale = Finding(checker="workload", kind="stale read", message="old", time_ns=10**12)
    verdict = Verdict(results=(Result(checker="workload", findings=(stale,)),))
    system, rows = SYSTEMS["raftkv"], [{**row("clock", ("n1",)), "resolved": resolved}]
    (found,) = weigh(verdict, rows, system.promises, NODES, system.name, reads=reads).findings
    assert found.blame is blame


CRASH = Finding(checker="logs", kind="CRASH", message="n1 ended", nodes=("n1",), evidence={"status": 74})


@pytest.mark.parametrize("system", ["raftkv", "etcd"])
@pytest.mark.parametrize(
    ("family", "resolved", "blame"),
    [
        ("resource", {"targets": ["n1"], "cpu": 0.1}, Blame.SYSTEM),
        ("resource", {"targets": ["n1"], "cpu": 0.1, "files": {"spare": 0}}, Blame.BEYOND_PROMISE),
        ("resource", {"targets": ["n1"], "disk": "full"}, Blame.BEYOND_PROMISE),
        ("disk", {"targets": ["n1"], "kind": "slow"}, Blame.SYSTEM),
        ("disk", {"targets": ["n1"], "kind": "crash"}, Blame.SYSTEM),
        ("disk", {"targets": ["n1"], "kind": "torn-write"}, Blame.SYSTEM),
        ("disk", {"targets": ["n1"], "kind": "error"}, Blame.BEYOND_PROMISE),
        ("disk", {}, Blame.BEYOND_PROMISE),
    ],
    ids=[
        "slow processor",
        "no files",
        "full disk",
        "slow disk",
        "fail point",
        "torn write",
        "errors",
        "all that is known",
    ],
)
def test_being_slow_is_no_reason_to_stop(system: str, family: str, resolved: dict[str, Any], blame: Blame) -> None:
    """A node may stop when what it needs fails; a slow one has to go on, and its end is a finding."""
    assert blamed(system, [{**row(family, ("n1",)), "resolved": resolved}], CRASH) is blame


@pytest.mark.parametrize(
    ("resolved", "blame"),
    [({"files": {"spare": 0}}, Blame.BEYOND_PROMISE), ({"cpu": 0.1}, Blame.SYSTEM)],
    ids=["no files", "slow processor"],
)
@pytest.mark.parametrize("kind", ["CRASH", "traceback"])
def test_a_node_with_too_few_files_may_fail_before_it_can_say_why(
    kind: str, resolved: dict[str, Any], blame: Blame
) -> None:
    """Python itself ends, with status 1 and a traceback, when it cannot open the program's files. (A false alarm of a
    blind hunt: a node was killed and started again while files were short.)
    """
    ended = Finding(checker="logs", kind=kind, message="n1 ended", nodes=("n1",), evidence={"status": 1})
    assert blamed("raftkv", [{**row("resource", ("n1",)), "resolved": resolved}], ended) is blame


@pytest.mark.parametrize(
    ("kinds", "healed_s", "blame"),
    [
        (("error", "error"), None, Blame.BEYOND_PROMISE),
        (("error", "dead"), 7, Blame.BEYOND_PROMISE),
        (("error", "error"), 6, Blame.SYSTEM),
        (("slow", "error"), None, Blame.SYSTEM),
        (("error", "slow"), None, Blame.SYSTEM),
    ],
)
def test_disks_that_fail_at_a_time_are_counted_together(
    kinds: tuple[str, str], healed_s: int | None, blame: Blame
) -> None:
    """etcd survives errors of a minority's disks at a time: two faults that overlap are more than each of them; how
    slow disks are is no matter.
    """
    first = {**row("disk", ("n1", "n2")), "resolved": {"kind": kinds[0]}}
    first["healed_ns"] = None if healed_s is None else [0, healed_s * SECOND]
    second = {**row("disk", ("n3",), at_s=6, number=2), "resolved": {"kind": kinds[1]}}
    lost = Finding(checker="c", kind="lost write", message="m", time_ns=9 * SECOND)
    assert blamed("etcd", [first, second], lost) is blame


def test_slow_disks_of_all_excuse_nothing() -> None:
    """They report no error."""
    slow = {**row("disk", NODES), "resolved": {"kind": "slow"}}
    assert blamed("etcd", [slow], Finding(checker="c", kind="lost write", message="m")) is Blame.SYSTEM


@pytest.mark.parametrize(("spare", "blame"), [(4096, Blame.SYSTEM), (0, Blame.BEYOND_PROMISE)])
def test_damage_of_the_newest_records_is_beyond_what_can_be_promised(spare: int, blame: Blame) -> None:
    """What was acknowledged last may be lost with it, and that is said in the table."""
    rotten = {**row("rot", ("n1",)), "resolved": {"spare_tail": spare}}
    assert blamed("raftkv", [rotten], Finding(checker="c", kind="lost write", message="m")) is blame


@pytest.mark.parametrize(("last", "blame"), [(DEAD, Blame.BEYOND_PROMISE), (None, Blame.SYSTEM)])
def test_who_may_stop_may_be_dead_but_not_deaf(last: dict[str, str] | None, blame: Blame) -> None:
    """A node whose end was excused is told by nobody, and is found dead after healing: its right. One that lives and
    does not answer hangs, and has no right to that.
    """
    behind = {"checker": "liveness", "kind": LEFT_BEHIND, "nodes": ("n1",), "evidence": {"last": last}}
    assert weighed([row("pause", ("n1",))], **behind).blame is blame
    assert weighed([row("pause", ("n2",))], **behind).blame is Blame.SYSTEM
