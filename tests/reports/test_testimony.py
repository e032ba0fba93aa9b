"""The picture of trace lines: their order is the order in time, and faults on their nodes stand between them."""

from __future__ import annotations

from reports.quotes import Quote
from reports.record import read_record
from reports.testimony import picture, said
from tests.reports import samples


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
    scene = picture(votes, faults)
    assert scene is not None
    first, second = scene.marks
    (kill,) = scene.strikes
    assert first.x < kill.x < kill.x + kill.width < second.x
    assert first.label == "votes for n2 in term 7"
    assert "kill" in kill.label


def test_no_picture_without_times() -> None:
    """An order can only be shown of lines that have times."""
    assert picture([quote("n1", None, "{}"), quote("n1", 1, "{}")], ()) is None


def test_any_line_can_be_said() -> None:
    """Hostile, torn and unknown lines become words, never an error."""
    for line in ("", "{", "[1]", '{"event": 3}', '{"event": "vote"}', '{"event": "role", "role": {"a": 1}}', "nul\x00"):
        assert isinstance(said(line), str)
