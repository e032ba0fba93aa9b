"""Judging a run's folder: valid only if something was proved, invalid only if the system is to blame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from checkers.verdict import Validity
from harness.errors import UsageError
from harness.judge import judge, write_verdict
from harness.planning.scenario import parse_scenario
from reports.folder import RunFolder

SECOND = 1_000_000_000
NODES = ("n1", "n2", "n3")
SCENARIO = """\
name: tiny
nodes: 3
time: 10s
ok_min: 10
workload: {name: register, keys: 2}
faults:
  - {at: 2s, for: 2s, kill: {target: n1}}
"""

Facts = dict[str, Any]


def facts() -> Facts:
    """``run.json`` of a run in which all went well."""
    status = {"term": 1, "commit": 20, "applied": 20, "leader": "n2"}
    return {
        "scenario": "tiny",
        "seed": 1,
        "start_monotonic_ns": 0,
        "one_clock": True,
        "exits": {},
        "links_after_healing": {f"{a}->{b}": True for a in NODES for b in NODES if a != b},
        "recovery": {
            "healed_ns": 5 * SECOND,
            "bound_ns": 5 * SECOND,
            "target_commit": 20,
            "caught_up_ns": dict.fromkeys(NODES, 5 * SECOND + 1),
            "last": dict.fromkeys(NODES, status),
        },
        "lag": {"controller_max_ms": 5.0},
        "live_verdict": "valid",
        "interpreter": {"load": {"raised": 0}},
    }


def history() -> list[dict[str, Any]]:
    """Writes and reads of two keys, before, under and after the fault; and final reads."""
    events: list[dict[str, Any]] = []

    def operation(at_s: float, f: str, key: str, value: int | None, **more: Any) -> None:
        common = {"process": 0, "f": f, "key": key, **more}
        argument = value if f == "write" else None
        events.append({**common, "time": int(at_s * SECOND), "type": "invoke", "value": argument})
        events.append({**common, "time": int(at_s * SECOND) + 1000, "type": "ok", "value": value})

    for number in range(1, 9):
        operation(number - 0.5, "write", f"k{number % 2}", number)
        operation(number - 0.25, "read", f"k{number % 2}", number)
    operation(9, "read", "k0", 8, final=True)
    operation(9.1, "read", "k1", 7, final=True)
    return [{"index": index, **event} for index, event in enumerate(events)]


def fault() -> dict[str, Any]:
    """The line of the kill."""
    proof = {"holds": True, "evidence": {}}
    return {
        "id": 1,
        "family": "kill",
        "targets": ["n1"],
        "planned_ns": 2 * SECOND,
        "for_ns": 2 * SECOND,
        "injected_ns": [2 * SECOND, 2 * SECOND + 5],
        "healed_ns": [4 * SECOND, 4 * SECOND + 5],
        "bit": proof,
        "healed": proof,
        "summary": "n1 killed",
    }


class Folder:
    """A run's folder that can be spoilt before it is judged."""

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder(path)
        self.facts = facts()
        self.history = history()
        self.schedule = [fault()]
        self.scenario = SCENARIO
        for node in NODES:
            self.folder.node(node).mkdir(parents=True)
            start = {
                **{"time": -SECOND, "wall": 1, "node": node, "event": "start", "term": 0, "vote": None},
                **{"last_index": 0, "last_term": 0, "snapshot_index": 0, "snapshot_term": 0, "voters": NODES},
            }
            self.folder.trace(node).write_bytes(orjson.dumps(start) + b"\n")
            (self.folder.node(node) / "node.log").write_text("all is well\n")

    def judge(self) -> tuple[Validity, set[str]]:
        """The verdict, and the kinds of the findings."""
        self.folder.run.write_bytes(orjson.dumps(self.facts))
        self.folder.scenario.write_text(parse_scenario(self.scenario, "tiny.yaml").to_yaml())
        self.folder.history.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in self.history))
        self.folder.schedule.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in self.schedule))
        verdict = judge(self.folder)
        write_verdict(self.folder, verdict)
        assert orjson.loads(self.folder.verdict.read_bytes())["validity"] == str(verdict.validity)
        return verdict.validity, {finding.kind for finding in verdict.findings}


@pytest.fixture(name="run")
def make_run(tmp_path: Path) -> Folder:
    """A run in which all went well."""
    return Folder(tmp_path / "run")


def test_a_good_run_is_valid(run: Folder) -> None:
    """The control: nothing is found in a run in which all went well."""
    assert run.judge() == (Validity.VALID, set())


def no_trace(run: Folder) -> None:
    run.folder.trace("n2").unlink()


def no_final_read(run: Folder) -> None:
    run.history = run.history[:-2]


def trigger(run: Folder) -> None:
    run.scenario += "  - {when: {event: became_leader}, for: 1s, pause: {target: subject}}\n"


def another_fault(run: Folder) -> None:
    run.scenario += "  - {at: 6s, for: 1s, pause: {target: n2}}\n"


def not_bitten(run: Folder) -> None:
    run.schedule[0]["bit"] = {"holds": False, "evidence": {}}


def not_healed(run: Folder) -> None:
    run.schedule[0]["healed"] = {"holds": False, "evidence": {}}
    run.facts["recovery"]["caught_up_ns"].pop("n1")


def still_cut(run: Folder) -> None:
    run.facts["links_after_healing"]["n1->n2"] = False
    run.facts["recovery"]["caught_up_ns"].pop("n2")


def client_raised(run: Folder) -> None:
    run.facts["interpreter"]["load"]["raised"] = 3


def starved(run: Folder) -> None:
    run.facts["lag"]["controller_max_ms"] = 9000.0
    run.facts["recovery"]["caught_up_ns"].pop("n1")


def cut_short(run: Folder) -> None:
    del run.facts["recovery"]


def trouble(run: Folder) -> None:
    run.facts["trouble"] = "OSError: no"


def too_few(run: Folder) -> None:
    run.scenario = run.scenario.replace("ok_min: 10", "ok_min: 1000")


def nothing_written(run: Folder) -> None:
    for event in run.history:
        if event["f"] == "write" and event["type"] == "ok":
            event["type"] = "info"
        elif event["f"] == "read" and event["type"] == "ok":
            event["value"] = None


def final_reads_alone(run: Folder) -> None:
    run.scenario = run.scenario.replace("ok_min: 10", "ok_min: 2")
    for event in run.history:
        if event["type"] == "ok" and "final" not in event:
            event["type"], event["value"] = "fail", event["value"] if event["f"] == "write" else None
        elif event["type"] == "ok":
            event["value"] = None


def streaming_disagrees(run: Folder) -> None:
    run.facts["live_verdict"] = "invalid (stale read)"


def streaming_disagrees_beside_an_excused_end(run: Folder) -> None:
    streaming_disagrees(run)
    run.schedule[0] |= {"family": "resource", "targets": ["n3"], "resolved": {"targets": ["n3"], "files": {"spare": 0}}}
    run.facts["exits"] = {"n3": 74}


def one_state(run: Folder) -> None:
    run.facts["states"] = {"n2": {"applied": 20, "hash": "a"}}


def all_left_out(run: Folder) -> None:
    """The drawn fault found nobody; the partition that leaves somebody behind was not asked for."""
    run.scenario = run.scenario.replace("{at: 2s, for: 2s, kill: {target: n1}}", "{random: [kill], interval: 6s}")
    nothing = {"injected_ns": None, "healed_ns": None, "bit": None, "healed": None, "drawn": True}
    unplanned = {**fault(), "id": 2, "family": "partition", "targets": ["n3"], "summary": "n3 cut off"}
    run.schedule = [{**fault(), **nothing, "left_out": "nobody"}, unplanned]


def killed_by_the_kernel(run: Folder) -> None:
    run.facts["exits"] = {"n3": -9}


def out_of_disk(run: Folder) -> None:
    run.facts["exits"] = {"n3": 74}
    log = "Traceback (most recent call last):\n  File x\nOSError: [Errno 28] No space left on device\n"
    (run.folder.node("n3") / "node.log").write_text(log)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (no_trace, "no trace"),
        (no_final_read, "final reads incomplete"),
        (trigger, "trigger never fired"),
        (another_fault, "faults left out"),
        (not_bitten, "fault did not bite"),
        (not_healed, "healing not verified"),
        (still_cut, "healing not verified"),
        (client_raised, "client raised"),
        (starved, "machine starved"),
        (cut_short, "run cut short"),
        (trouble, "run failed"),
        (too_few, "too few operations"),
        (nothing_written, "nothing changed"),
        (final_reads_alone, "too few operations"),
        (streaming_disagrees, "checkers disagree"),
        (streaming_disagrees_beside_an_excused_end, "checkers disagree"),
        (one_state, "replicas not compared"),
        (all_left_out, "no fault executed"),
        (killed_by_the_kernel, "CRASH"),
        (out_of_disk, "traceback"),
    ],
)
def test_what_proved_nothing_is_unknown(run: Folder, spoil: Callable[[Folder], None], kind: str) -> None:
    """Neither valid (nothing was proved) nor invalid (the system is not to blame)."""
    spoil(run)
    validity, kinds = run.judge()
    assert validity is Validity.UNKNOWN
    assert any(kind in found for found in kinds), kinds


def stale_read(run: Folder) -> None:
    run.history[-1]["value"] = 5


def crash(run: Folder) -> None:
    run.facts["exits"] = {"n3": 1}


def left_behind(run: Folder) -> None:
    run.facts["recovery"]["caught_up_ns"].pop("n1")


def commits_no_more(run: Folder) -> None:
    """Reads are served to the end; what was asked to change after healing never was."""
    healed_ns = 17 * SECOND // 2
    run.facts["recovery"] |= {"healed_ns": healed_ns, "caught_up_ns": dict.fromkeys(NODES, healed_ns + 1)}
    events = []
    for number in range(6):
        at = 10 * SECOND + number * SECOND
        common = {"process": 50 + number, "f": "write", "key": "k-final0", "value": at, "final": True}
        events += [{**common, "time": at, "type": "invoke"}, {**common, "time": at + SECOND // 2, "type": "fail"}]
    run.history += [{"index": len(run.history) + index, **event} for index, event in enumerate(events)]


def parted(run: Folder) -> None:
    run.facts["states"] = {node: {"applied": 20, "hash": "a" if node == "n1" else "b"} for node in NODES}


@pytest.mark.parametrize("spoil", [stale_read, crash, left_behind, commits_no_more, parted])
@pytest.mark.parametrize("trouble_too", [False, True])
def test_a_finding_against_the_system_stands(run: Folder, spoil: Callable[[Folder], None], trouble_too: bool) -> None:
    """Invalid, whatever else failed."""
    spoil(run)
    if trouble_too:
        client_raised(run)
    assert run.judge()[0] is Validity.INVALID


def test_a_checker_that_fails_loses_no_others_findings(run: Folder) -> None:
    """A trace that no reader understands is a finding; the stale read beside it still counts."""
    run.folder.trace("n1").write_bytes(b'{"event":"nonsense"}\n{"event":"start"}\n')
    stale_read(run)
    assert run.judge()[0] is Validity.INVALID


def test_a_fault_that_was_left_out_does_no_harm(run: Folder) -> None:
    """It was drawn at random and found nobody to hit: it neither failed to bite nor never came."""
    another_fault(run)
    nothing = {"injected_ns": None, "healed_ns": None, "bit": None, "healed": None}
    run.schedule.append({**fault(), **nothing, "id": 2, "family": "pause", "drawn": True, "left_out": "nobody"})
    assert run.judge() == (Validity.VALID, set())


def test_a_drawn_fault_whose_trigger_never_fires_does_no_harm(run: Folder) -> None:
    """Nobody asked for this very thing at that moment; what was asked for by name makes the run unknown."""
    before = run.scenario
    trigger(run)
    assert run.judge()[0] is Validity.UNKNOWN
    run.scenario = before + "  - {when: {event: became_leader}, for: 1s, random: [pause]}\n"
    assert run.judge() == (Validity.VALID, set())


def test_a_healed_majority_is_judged(run: Folder) -> None:
    """As run.json tells of it: served, and then not."""
    recovery = {**run.facts["recovery"], "healed_ns": 5 * SECOND, "caught_up_ns": {"n1": 5 * SECOND, "n2": 5 * SECOND}}
    recovery["last"] = {name: recovery["last"][name] for name in ("n1", "n2")}
    links = {"n1->n2": True, "n2->n1": True}
    words = {"left": ["n3"], "way": "cut", "words": "left behind cut off in both directions", "links": links}
    run.facts["majority"] = {**recovery, **words, "until_ns": 7 * SECOND}
    assert run.judge() == (Validity.VALID, set())
    run.facts["majority"]["caught_up_ns"].pop("n2")
    assert run.judge() == (Validity.INVALID, {"node left behind"})
    links["n1->n2"] = False
    assert run.judge() == (Validity.UNKNOWN, {"healing not verified"})


def test_what_is_beyond_promise_is_told_and_not_invalid(run: Folder) -> None:
    """Rot of a majority, and then a stale read."""
    run.scenario = run.scenario.replace("kill: {target: n1}", "rot: {target: [n1, n2]}")
    run.schedule[0] |= {"family": "rot", "targets": ["n1", "n2"], "resolved": {}}
    stale_read(run)
    validity, kinds = run.judge()
    assert validity is Validity.VALID
    assert kinds
    verdict = orjson.loads(run.folder.verdict.read_bytes())
    assert "beyond what was promised" in verdict["sentence"]
    blames = {finding["blame"] for result in verdict["results"] for finding in result["findings"]}
    assert blames == {"beyond promise"}


@pytest.mark.parametrize(
    ("family", "targets", "validity"), [("rot", ["n1", "n2"], Validity.UNKNOWN), ("kill", ["n1"], Validity.INVALID)]
)
@pytest.mark.parametrize("type_", ["invoke", "info"])
def test_faults_in_force_when_the_controller_was_killed_are_weighed(
    run: Folder, family: str, targets: list[str], validity: Validity, type_: str
) -> None:
    """They have no line in the schedule; what the history says of them, be it that they were about to begin, is enough
    to know that they were beyond promise.
    """
    cut_short(run)
    stale_read(run)
    run.schedule.clear()
    value = {"id": 1, "family": family, "summary": "words", "targets": targets}
    event = {"time": SECOND, "process": "nemesis", "type": type_, "f": "inject", "value": value}
    events = sorted([event, *run.history], key=lambda each: each["time"])
    run.history = [{**each, "index": place} for place, each in enumerate(events)]
    assert run.judge()[0] is validity


@pytest.mark.parametrize("content", [b"{}", b"[]", b"not json", b'{"seed": 1}'])
def test_a_folder_that_is_no_run_is_refused(run: Folder, content: bytes) -> None:
    """One clear line, no traceback."""
    run.judge()
    run.folder.run.write_bytes(content)
    with pytest.raises(UsageError, match=r"run\.json"):
        judge(run.folder)


def test_a_run_without_a_history_is_refused(run: Folder) -> None:
    """A run that failed at its start left nothing to judge, and that is said."""
    run.judge()
    run.folder.history.unlink()
    with pytest.raises(UsageError, match="nothing to judge"):
        judge(run.folder)
