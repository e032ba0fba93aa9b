"""The picture of trace lines: their order is the order in time, and faults on their nodes stand between them."""

from __future__ import annotations

from dataclasses import replace

from checkers.verdict import Finding
from reports.quotes import Quote
from reports.record import read_record
from reports.testimony import picture, said
from tests.reports import samples

TWICE = Finding(checker="raft", kind="one vote a term", message="m")
FORGOTTEN = Finding(checker="raft", kind="nothing durable is forgotten", message="m", evidence={"term": 7})


def quote(node: str, seconds: float | None, words: str) -> Quote:
    """A quoted line."""
    ns = None if seconds is None else int(seconds * samples.SECOND)
    return Quote(node=node, file="", line=1, words=words, time_ns=ns)


def test_marks_and_strikes_follow_time(folders: dict[str, object]) -> None:
    """Two votes with a kill between: left, middle, right."""
    faults = read_record(folders["trace"]).faults  # type: ignore[arg-type]
    votes = [
        quote("n3", 5.2, '{"event":"vote","for":"n2","term":7}'),
        quote("n3", 6.0, '{"event":"vote","for":"n4","term":7}'),
    ]
    scene = picture(votes, faults, TWICE)
    assert scene is not None
    first, second = scene.marks
    (kill,) = scene.strikes
    assert first.x < kill.x < kill.x + kill.width < second.x
    assert first.label == "votes for n2 in term 7"
    assert kill.label.startswith("killed, fault ")
    assert [mark.wrong for mark in scene.marks] == [False, True]


def test_no_picture_without_times() -> None:
    """An order can only be shown of lines that have times."""
    assert picture([quote("n1", None, "{}"), quote("n1", 1, "{}")], (), TWICE) is None


def test_any_line_can_be_said() -> None:
    """Hostile, torn and unknown lines become words, never an error."""
    for line in ("", "{", "[1]", '{"event": 3}', '{"event": "vote"}', '{"event": "role", "role": {"a": 1}}', "nul\x00"):
        assert isinstance(said(line), str)


def test_a_forgotten_vote_is_seen_in_the_labels() -> None:
    """What was stored and what was found: the vote, not the log; and why the first of them is to be believed."""
    stored = quote("n3", 5.2, '{"event":"durable","term":7,"vote":"n2","index":4}')
    found = quote("n3", 6.0, '{"event":"start","term":7,"vote":null,"last_index":4}')
    scene = picture([stored, found], (), FORGOTTEN)
    assert scene is not None
    assert [mark.label for mark in scene.marks] == ["stored: term 7, vote n2", "restarts: term 7, vote none"]
    assert [mark.wrong for mark in scene.marks] == [False, True]
    assert "disk had confirmed" in scene.trust


def test_a_line_written_while_a_fault_was_injected_comes_first(folders: dict[str, object]) -> None:
    """A kill begins, for the picture, when the death was proved: what was written until then stands before it."""
    fault = next(one for one in read_record(folders["trace"]).faults if one.family == "kill")  # type: ignore[arg-type]
    assert fault.begin_ns is not None
    node = fault.targets[0]
    late = replace(fault, begin_ns=5 * samples.SECOND, in_force_ns=int(5.5 * samples.SECOND))
    stored = quote(node, 5.3, '{"event":"durable","term":7,"vote":"n2","index":4}')
    found = quote(node, 60, '{"event":"start","term":7,"vote":null,"last_index":4}')
    scene = picture([stored, found], [late], FORGOTTEN)
    assert scene is not None
    assert scene.marks[0].x < scene.strikes[0].x
    assert scene.strikes[0].time.startswith("5.500")


def test_a_configuration_is_told_by_its_voters_and_a_cut_line_by_its_event() -> None:
    """What a leader stores can be longer than a quote."""
    joint = '{"node":"n1","event":"config","index":7,"voters":["n2","n3"],"outgoing":["n1","n2"]}'
    assert said(joint) == "voters n2, n3 (before: n1, n2)"
    assert said('{"node":"n1","event":"append","entries":[[217,2,"12…') == "append"
    assert said("[torn") == "says"
