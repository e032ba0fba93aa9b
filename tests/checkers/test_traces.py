"""Claims about reading traces: typed events, torn lines cut and noted, everything else refused by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.raft.traces import EVENT_NAMES, Append, Start, Trace, TraceError, Truncate, Vote, parse_trace, read_trace

START = {"event": "start", "term": 1, "vote": None, "last_index": 0, "last_term": 0}


def line(**fields: Any) -> str:
    return json.dumps({"time": 5, "wall": 6, "node": "n1", **fields}) + "\n"


def parse(text: str) -> Trace:
    return parse_trace(text.encode(), name="nodes/n1/trace.jsonl", node="n1")


EVERY = (
    START,
    {"event": "role", "role": "leader", "term": 1, "leader": "n1"},
    {"event": "term", "term": 2},
    {"event": "vote", "term": 2, "for": "n3"},
    {"event": "append", "entries": [[1, 2, "00ff"], [2, 2, "00fe"]]},
    {"event": "truncate", "from": 2},
    {"event": "durable", "term": 2, "vote": "n3", "index": 1},
    {"event": "commit", "index": 1, "term": 2},
    {"event": "apply", "entries": [[1, 2, "00ff", "aa"]]},
    {"event": "snapshot", "action": "taken", "index": 1, "term": 2, "hash": "bb"},
    {"event": "config", "index": 1, "voters": ["n1"], "outgoing": ["n2"]},
    {"event": "match", "term": 2, "match": {"n2": 1}},
    {"event": "ack", "index": 1, "term": 2},
    {"event": "lag", "max_ms": 1.5},
)


def test_every_event_of_the_format_is_read() -> None:
    """Each event of docs/formats.md becomes its own type, with the line it stands on."""
    trace = parse("".join(line(**event) for event in EVERY))
    assert [event.__struct_config__.tag for event in trace.events] == [event["event"] for event in EVERY]
    assert {event["event"] for event in EVERY} == set(EVENT_NAMES)
    assert list(trace.lines) == list(range(1, len(EVERY) + 1))
    append, vote, truncate = trace.events[4], trace.events[3], trace.events[5]
    assert isinstance(append, Append)
    assert append.entries == ((1, 2, "00ff"), (2, 2, "00fe"))
    assert isinstance(vote, Vote)
    assert isinstance(truncate, Truncate)
    assert (vote.candidate, truncate.from_index) == ("n3", 2)


def test_documented_events_are_all_of_them() -> None:
    """docs/formats.md lists exactly the events that the reader knows."""
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    table = text.split("## nodes/NAME/trace.jsonl")[1].split("## verdict.json")[0]
    rows = [row.split("|")[1].strip().strip("`") for row in table.splitlines() if row.startswith("| `")]
    assert set(rows) == set(EVENT_NAMES)


def test_unknown_fields_are_passed_over() -> None:
    """Other systems may say more; what we don't know does not stop us."""
    assert len(parse(line(**START, colour="red")).events) == 1


@pytest.mark.parametrize("cut", [1, 20, 50])
def test_torn_last_line_is_cut_and_noted(cut: int) -> None:
    """A kill within a line costs that line and nothing else."""
    trace = parse(line(**START) + line(event="term", term=2)[:cut])
    assert len(trace.events) == 1
    assert trace.torn == (2,)
    assert "line 2" in trace.notes[0]


@pytest.mark.parametrize("between", ["", "\n"])
def test_torn_line_before_a_restart(between: str) -> None:
    """The next incarnation's start stands behind a torn line, on a line of its own or glued to it; both are read."""
    text = (
        line(**START) + line(event="append", entries=[[1, 1, "aa"]])[:70] + between + line(**START) + line(**EVERY[2])
    )
    trace = parse(text)
    assert [type(event).__name__ for event in trace.events] == ["Start", "Start", "TermChange"]
    assert trace.torn == (2,)
    assert trace.lines[1] == (3 if between else 2)
    assert list(trace.incarnations()) == [(0, 1), (1, 3)]


def test_two_torn_starts_at_the_end() -> None:
    """A start may be torn in its turn."""
    torn = line(**START)[:30]
    assert parse(line(**START) + torn + "\n" + torn).torn == (2, 3)


def test_a_last_line_without_its_line_end_counts() -> None:
    """A whole event is an event, even if the kill came before the line end."""
    trace = parse(line(**START).rstrip("\n"))
    assert (len(trace.events), trace.torn) == (1, ())


def test_blank_lines_are_counted() -> None:
    """Line numbers are the file's."""
    assert list(parse(line(**START) + "\n\n" + line(**EVERY[2])).lines) == [1, 4]


def test_empty_trace() -> None:
    """A node that was killed before its first line left an empty trace."""
    assert (parse("").events, parse("").node) == ([], "n1")


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (line(event="appendix", entries=[]), "appendix"),
        (line(event="append", entries=[[1, 2]]), "length 3"),
        (line(event="append", entries=[["1", 2, "x"]]), "int"),
        (line(event="commit", index=-1, term=1), ">= 0"),
        (line(event="commit", term=1), "index"),
        (line(time="now", event="term", term=1), "int"),
        ("[1, 2]\n", "object"),
        ("hello\n", "malformed"),
        ('{"time": 1, "wall"\n', "JSON"),
        ("\xff\xfe\n", "JSON"),
    ],
)
def test_malformed_line_is_refused(bad: str, why: str) -> None:
    """A line that is no event is refused with file, line, reason and next step; so is broken JSON amid others."""
    with pytest.raises(TraceError, match=r"nodes/n1/trace\.jsonl, line 2: .*docs/formats\.md") as caught:
        parse(line(**START) + bad + line(**EVERY[2]) + line(**EVERY[2]))
    assert why in str(caught.value) or why == "JSON"


def test_malformed_last_line_is_not_taken_for_torn() -> None:
    """Whole JSON that is no event was not torn by any kill."""
    with pytest.raises(TraceError, match="line 2"):
        parse(line(**START) + line(event="commit", term=1).rstrip("\n"))


def test_other_files_are_refused() -> None:
    """A file of another type is no trace with a torn line."""
    with pytest.raises(TraceError, match="line 1"):
        parse_trace(b"PK\x03\x04 not a trace", name="x", node="n1")


def test_two_nodes_in_one_file_are_refused() -> None:
    """One file, one node: two would be judged as one."""
    with pytest.raises(TraceError, match=r"line 2: an event of node 'n2'"):
        parse(line(**START) + line(**START).replace("n1", "n2"))


def test_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(TraceError, match="can't be read"):
        read_trace(tmp_path / "n1" / "trace.jsonl")


def test_reads_a_named_file(tmp_path: Path) -> None:
    """The node's name is the folder's when no event tells it."""
    folder = tmp_path / "n7"
    folder.mkdir()
    (folder / "trace.jsonl").write_text("")
    assert read_trace(folder / "trace.jsonl").node == "n7"


@given(data=st.binary(max_size=300), cut=st.integers(0, 200))
def test_garbage_never_ends_in_anything_but_a_trace_error(data: bytes, cut: int) -> None:
    """Whatever the bytes, the reader answers with events or a TraceError."""
    whole = line(**START).encode()
    for text in (data, whole + data, whole[:cut] + data + whole):
        try:
            trace = parse_trace(text, name="x", node="n1")
        except TraceError:
            continue
        assert all(isinstance(event, Start) for event in trace.events[:1])
