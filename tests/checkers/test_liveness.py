"""Claims about progress after healing."""

from __future__ import annotations

from typing import Any

import pytest

from checkers import History
from checkers.runs.liveness import check_liveness, check_majority
from checkers.verdict import Blame, Result, Validity
from tests.checkers.stories import MS, history

SERVED = ((0, 0, 10, "ok", "read"), (1, 1200, 1300, "ok", "read"))
DEAF = (
    (0, 0, 10, "ok", "read"),
    *((number, 1000 * number, 1000 * number + 900, "fail", "read") for number in range(1, 9)),
)


def judge(operations: tuple[tuple[Any, ...], ...], **more: Any) -> Result:
    facts: dict[str, Any] = {"healed_ns": 1000 * MS, "bound_ns": 5000 * MS, **more}
    return check_liveness(history(*operations), **facts)


def both_caught_up(**changes: Any) -> dict[str, Any]:
    facts = {"running": ("n1", "n2"), "target_commit": 40, "caught_up_ns": {"n1": 1500 * MS, "n2": 2000 * MS}}
    return {**facts, **changes}


def test_a_system_that_serves_again_is_valid() -> None:
    """Served in time, every node caught up: the times are told."""
    result = judge(SERVED, **both_caught_up())
    assert result.findings == ()
    assert result.statistics["first_ok_ms"] == 300.0
    assert result.statistics["caught_up_ms"] == {"n1": 500.0, "n2": 1000.0}


def test_no_success_within_the_bound_is_invalid() -> None:
    """Healing verified, asked for longer than the bound, nobody served: invalid."""
    result = judge(DEAF)
    assert [finding.kind for finding in result.findings] == ["no progress"]
    assert result.validity is Validity.INVALID


def test_late_success_is_invalid() -> None:
    """A success that comes after the bound does not save it."""
    result = judge((*DEAF, (100, 8000, 8100, "ok", "read")))
    assert [finding.kind for finding in result.findings] == ["no progress"]
    assert "after 7.1 s" in result.findings[0].message


def test_the_bound_runs_from_the_first_question() -> None:
    """A success counts from the first invocation after healing: before, nobody asked."""
    assert judge(((0, 0, 10, "ok", "read"), (1, 9000, 9100, "ok", "read"))).findings == ()


def changing(operations: tuple[tuple[Any, ...], ...]) -> Any:
    """The mask of the writes."""
    told = history(*operations)
    return told.f == told.function("write")


@pytest.mark.parametrize("late", [False, True])
def test_reads_show_no_progress_where_changes_were_asked(late: bool) -> None:
    """Who serves reads and commits nothing any more has not recovered; one change that is acknowledged in time is
    enough.
    """
    reads = tuple((number, 1000 * number, 1000 * number + 100, "ok", "read") for number in range(1, 9))
    failed = tuple((20 + number, 1000 * number, 1000 * number + 900, "fail", "write") for number in range(1, 9))
    done = () if late else ((40, 3000, 3100, "ok", "write"),)
    operations = (*reads, *failed, *done)
    result = judge(operations, changes=changing(operations))
    assert [finding.kind for finding in result.findings] == (["no progress"] if late else [])
    assert judge(reads, changes=changing(reads)).findings == (), "nothing but reads was asked"


def test_an_answer_to_an_old_question_does_not_count() -> None:
    """An operation invoked before healing may have been done before."""
    result = judge(((0, 900, 1100, "ok", "read"), *DEAF[1:]))
    assert [finding.kind for finding in result.findings] == ["no progress"]


@pytest.mark.parametrize(
    ("operations", "kind"), [(SERVED[:1], "nobody asked"), (DEAF[:4], "asked too briefly"), ((), "nobody asked")]
)
def test_what_was_not_asked_is_unknown(operations: tuple[tuple[Any, ...], ...], kind: str) -> None:
    """No question, or too few seconds of questions, is the harness's fault."""
    result = judge(operations)
    assert [(finding.kind, finding.blame) for finding in result.findings] == [(kind, Blame.HARNESS)]


def test_a_node_that_never_catches_up_is_invalid() -> None:
    """It is named, with its last words."""
    facts = both_caught_up(caught_up_ns={"n1": 1500 * MS}, last={"n2": {"term": 3, "applied": 12}})
    (finding,) = judge(SERVED, **facts).findings
    assert (finding.kind, finding.nodes, finding.blame) == ("node left behind", ("n2",), Blame.SYSTEM)
    assert "term 3, applied 12" in finding.message


def test_a_node_that_catches_up_late_is_invalid() -> None:
    """The bound is the bound."""
    facts = both_caught_up(caught_up_ns={"n1": 1500 * MS, "n2": 6001 * MS})
    assert [finding.kind for finding in judge(SERVED, **facts).findings] == ["node left behind"]


def test_no_leader_is_one_finding() -> None:
    """Nobody led: said once, not once a node."""
    facts = both_caught_up(target_commit=None, caught_up_ns={})
    assert [finding.kind for finding in judge(SERVED, **facts).findings] == ["no leader"]


def test_a_starved_machine_proves_nothing() -> None:
    """The same facts on a starved machine are unknown, and the sentence says why."""
    result = judge(DEAF, starved="the machine was 3 s late", **both_caught_up(caught_up_ns={}))
    assert result.validity is Validity.UNKNOWN
    assert all("3 s late" in finding.message for finding in result.findings)


def test_without_verified_healing_nothing_is_judged() -> None:
    """Coverage says that healing was not verified; liveness keeps silent."""
    result = judge(DEAF, healed_ns=None)
    assert (result.findings, result.statistics) == ((), {"judged": False})


def majority(*operations: tuple[Any, ...], **more: Any) -> Result:
    """Judges n1 and n2, healed at 1 s and watched until 8 s, while n3 stayed behind."""
    facts: dict[str, Any] = {
        "left": ("n3",),
        "words": "left behind killed",
        "healed_ns": 1000 * MS,
        "until_ns": 8000 * MS,
        "bound_ns": 5000 * MS,
        **both_caught_up(),
        **more,
    }
    return check_majority(history_on_nodes(*operations), **facts)


def history_on_nodes(*operations: tuple[Any, ...]) -> History:
    """Reads (process, call in ms, return in ms, outcome, node that answered)."""
    events = []
    for process, call, back, outcome, node in operations:
        common = {"process": process, "f": "read", "key": "k", "value": None}
        events.append({**common, "time": call * MS, "type": "invoke"})
        events.append({**common, "time": back * MS, "type": outcome, "node": node})
    ordered = sorted(events, key=lambda event: event["time"])
    return History.of([{"index": index, **event} for index, event in enumerate(ordered)])


def test_a_majority_that_serves_alone_is_valid() -> None:
    """Through one of its nodes, in time; and the page can say so."""
    result = majority((0, 1200, 1300, "ok", "n2"))
    assert result.findings == ()
    assert result.statistics["first_ok_ms"] == 300.0
    assert result.statistics["left"] == ["n3"]


@pytest.mark.parametrize(
    "operation",
    [
        (0, 1200, 1300, "ok", "n3"),
        (0, 1200, 1300, "fail", "n1"),
        (0, 900, 1300, "ok", "n1"),
        (0, 8100, 8200, "ok", "n1"),
        (0, 6900, 7000, "ok", "n1"),
    ],
    ids=["by who was left behind", "refused", "asked before", "asked after", "too late"],
)
def test_a_majority_that_does_not_serve_alone_is_invalid(operation: tuple[Any, ...]) -> None:
    """Nothing but a success through a healed node, asked while the others were away, in time, is progress."""
    result = majority(operation)
    assert [finding.kind for finding in result.findings] == ["no progress"]
    assert "while n3 was left behind killed" in result.findings[0].message
    assert result.validity is Validity.INVALID


def test_a_majority_watched_too_briefly_is_unknown() -> None:
    """Interrupted before its time was over: nobody is to blame."""
    result = majority(until_ns=3000 * MS)
    assert [finding.kind for finding in result.findings] == ["asked too briefly"]
    assert result.validity is Validity.UNKNOWN


def test_a_healed_node_that_stays_behind_is_invalid() -> None:
    """It can reach a majority, and the commit index is out of its reach all the same."""
    result = majority((0, 1200, 1300, "ok", "n2"), caught_up_ns={"n1": 1500 * MS})
    assert [(finding.kind, finding.nodes) for finding in result.findings] == [("node left behind", ("n2",))]
    result = majority((0, 1200, 1300, "ok", "n2"), caught_up_ns={}, target_commit=None)
    assert [finding.kind for finding in result.findings] == ["no leader"]


def test_a_majority_is_not_judged_where_healing_was_not_verified() -> None:
    """Then the system is not blamed, and the run is unknown. A machine that was too slow is to blame itself."""
    assert majority(healed_ns=None).statistics["judged"] is False
    assert majority(healed_ns=None).validity is Validity.UNKNOWN
    result = majority(starved="the event loop lagged")
    assert result.findings[0].blame is Blame.MACHINE
