"""What stands around a finding is true of the impossible operation: faults during it, faults just over, its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from checkers.history import History
from checkers.verdict import Finding
from reports import words
from reports.outcomes import error_table, normalized, outcome_words, renamed
from reports.record import Fault, Record, read_record
from reports.roles import read_roles
from reports.telling import arranged, attempts, meanwhile, span
from tests.reports import samples
from tests.reports.test_drawing import MS, STALE, finding


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """The record of an invalid run."""
    return read_record(samples.invalid(tmp_path, operations=300))


def fault(record: Record, begin_ms: int, end_ms: int | None, **more: object) -> Fault:
    """A fault in force between two times."""
    end = None if end_ms is None else end_ms * MS
    times = {"begin_ns": begin_ms * MS, "in_force_ns": (begin_ms + 1) * MS, "healing_ns": end, "end_ns": end}
    return replace(record.faults[0], summary="n1 cut off", **{**times, **more})  # type: ignore[arg-type]


def test_meanwhile_is_told_of_the_impossible_operation(record: Record) -> None:
    """The read takes from 40 to 50 ms: a fault that ended at 35 was over, one that lasts to 45 was not, one that begins
    at 60 is not told.
    """
    over, during, later = fault(record, 5, 35), fault(record, 5, 45), fault(record, 60, 70)
    assert meanwhile(finding(*STALE), [over]) == ["n1 cut off; this ended 5 ms before the read at 0.040 s began"]
    (said,) = meanwhile(finding(*STALE), [during, later])
    assert said.startswith("During the read at 0.040 s: n1 cut off")
    assert "never healed" in meanwhile(finding(*STALE), [fault(record, 5, None)])[0]


def test_clear_findings_come_first(record: Record) -> None:
    """A finding under a fault is read before an earlier one without; the verdict's other order stays."""
    calm = replace(finding(*STALE), key="calm", time_ns=50 * MS)
    late = tuple(replace(item, call_ns=item.call_ns + 10**9, return_ns=(item.return_ns or 0) + 10**9) for item in STALE)
    troubled = replace(finding(*late), key="troubled", time_ns=10**9 + 50 * MS)
    told = replace(record, findings=(calm, troubled), faults=(fault(record, 900, 1100),))
    assert [item.key for item in arranged(told)] == ["troubled", "calm"]


def test_the_first_of_each_kind_is_read_before_the_rest(record: Record) -> None:
    """Not all of one kind before any of another; the kinds keep their order, and each is told by its earliest."""
    gaps = [Finding(checker="raft", kind="gap", message=str(at), time_ns=at * MS) for at in (7, 5, 6)]
    cut = Finding(checker="raft", kind="cut", message="8", time_ns=8 * MS)
    told = replace(record, findings=(*gaps, cut))
    assert [item.message for item in arranged(told)] == ["5", "8", "6", "7"]


def test_the_place_of_a_trace_finding_spans_its_lines_and_faults(record: Record) -> None:
    """From the first quoted line to the last, and the whole of the faults on its nodes between them."""
    zero = record.start_monotonic_ns
    lines = [{"node": "n1", "monotonic_ns": zero + at * MS} for at in (2600, 3400)]
    lost = Finding(checker="raft", kind="k", message="m", nodes=("n1",), evidence={"lines": lines})
    kill = fault(record, 2590, 3100, targets=("n1",))
    elsewhere = fault(record, 1000, 9000, targets=("n2",))
    assert span(lost, record, [kill, elsewhere]) == (2590 * MS, 3400 * MS)


def test_attempts_are_read_from_the_lines_of_the_history(record: Record) -> None:
    """Only those of the wanted returns; lines that do not fit, or are no JSON, say nothing."""
    rows = [b'{"index":%d,"attempts":%d}' % (number, number) for number in range(60)]
    rows[10] = b"torn"
    rows[30] = b'{"index":31,"attempts":4}'
    record.folder.history.write_bytes(b"\n".join(rows) + b"\n")
    assert attempts(record, [finding(*STALE)]) == {50: 50}


def test_not_equal_is_no_failure() -> None:
    """A compare-and-set that found another value is counted by itself, and its message only once."""
    lines = []
    for number, error in enumerate(("mismatch: the value was 5", "mismatch: the value was 7", "no leader")):
        base = {"process": number, "f": "cas", "key": "k", "value": [1, 2]}
        lines += [
            {"index": 2 * number, "time": 10 * number, "type": "invoke", **base},
            {"index": 2 * number + 1, "time": 10 * number + 5, "type": "fail", "error": error, **base},
        ]
    history = History.of(lines)
    assert outcome_words(history) == [("not equal", 2), ("failed", 1)]
    table = error_table(history)
    assert table is not None
    assert table.rows == (("mismatch: the value was N", "2"), ("no leader", "1"))
    assert renamed({"fail": {"count": 3}}, history) == {"not equal or failed": {"count": 3}}
    assert normalized("no reply from 127.0.0.1:4001") == "no reply from (address)"


def test_faults_are_told_in_words(record: Record) -> None:
    """Triggers, one-way cuts, repeated firings, the nodes and the command."""
    entry = {"when": {"event": "voted", "times": 6, "after": "1s"}, "for": "300ms", "kill": {"target": "subject"}}
    cut = {"at": "2s", "for": "3s", "partition": {"shape": "isolate", "target": "leader", "direction": "in"}}
    assert list(words.planned_faults({"faults": [entry, cut]})) == [
        "from 1s on, each time a node votes (6 times at most): kill that node, restart after 300ms",
        "at 2s: cut the leader off so that it can send but receives nothing, for 3s",
    ]
    assert replace(record.faults[0], number=100_004).label == "4 (2nd time)"
    assert words.nodes_words(5, "docker") == f"in 5{words.THIN}containers"
    assert words.nodes_words(5, "process") == f"on 5{words.THIN}local processes"
    assert words.command_words({"command": ["capsize", "run", "x"]}) == "./capsize run x"
    assert words.sentence("it ended") == "it ended."


def test_drawn_faults_are_told_in_words() -> None:
    """What is left to chance, what is not, and how likely each is."""
    message = {"target": "leader", "type": "all", "action": "drop", "weight": 2}
    faults = [
        {"interval": "3s", "for": "1s", "random": {"kill": 2, "pause": {"target": "leader"}, "message": message}},
        {"interval": "2s", "random": ["partition"]},
        {"when": {"event": "truncate"}, "random": ["kill", "power"]},
        {"interval": "1s", "random": "all", "swarm": True},
    ]
    assert list(words.planned_faults({"faults": faults})) == [
        "every 3s: one of kill (weight 2), pause the leader, "
        "message (target leader, type all, action drop, weight 2), for 1s",
        "every 2s: partition, the rest drawn",
        "the first time a node cuts its log: one of kill, power",
        "every 1s: a fault of any family, of which the run draws some",
    ]


def test_a_trace_is_missed_only_where_others_left_one(record: Record) -> None:
    """One of several that is not there is told by its node; of a system that writes none, it is said once."""
    names = record.folder.node_names()
    record.folder.trace(names[0]).unlink()
    assert read_roles(record).notes == (f"{names[0]} left no trace.",)
    for name in names[1:]:
        record.folder.trace(name).unlink()
    assert read_roles(record).notes == ("No node left a trace, so nobody knows who led when.",)
