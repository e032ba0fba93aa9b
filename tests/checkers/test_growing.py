"""Traces that are read while they grow: whatever is cut off at one moment raises no alarm."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.raft.growing import GrowingTrace, UnsteadyTraceError
from checkers.raft.invariants import check_traces
from checkers.raft.traces import Trace, TraceError, parse_trace
from tests.checkers.test_raft import Row, append, commit, durable, role, start, vote
from tests.checkers.tiny_raft import Cluster


def written(node: str, rows: list[tuple[int, Row]]) -> bytes:
    """A trace with these stamps."""
    events = [{"time": at, "wall": 0, "node": node, "event": name, **fields} for at, (name, fields) in rows]
    return "".join(json.dumps(event) + "\n" for event in events).encode()


def grown(node: str, data: bytes) -> GrowingTrace:
    """All of it read at once."""
    trace = GrowingTrace(node)
    trace.feed(data)
    return trace


def refused(cuts: list[Trace | None]) -> set[str]:
    """By which invariants."""
    traces = {cut.node: cut for cut in cuts if cut is not None}
    return {finding.kind for finding in check_traces(traces, one_clock=True).findings}


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_read_piece_by_piece_it_is_the_same_trace(seed: int) -> None:
    """Wherever a reading ends: events, and the lines that they stand in, with torn lines between."""
    random = Random(seed)
    for name, node in Cluster(seed).run(100).nodes.items():
        data = "".join(node.lines).encode()
        trace, place = GrowingTrace(name), 0
        while place < len(data):
            step = random.choice((1, 7, 100, 5000))
            trace.feed(data[place : place + step])
            place += step
        whole = parse_trace(data[: data.rfind(b"\n") + 1], name=name, node=name)
        cut = trace.cut(2**62) or Trace(node=name, events=[], lines=[])
        assert (list(cut.events), list(cut.lines)) == (list(whole.events), list(whole.lines))


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([2, 3, 5]))
def test_no_cut_of_a_correct_run_is_refused(seed: int, size: int) -> None:
    """Files are read while the cluster goes on; lines that are not in their files yet are missing; nodes are killed and
    lines torn. Cut at the moment of the reading, or at an earlier one.
    """
    random, cluster = Random(seed), Cluster(seed, size)
    traces, read = {name: GrowingTrace(name) for name in cluster.names}, dict.fromkeys(cluster.names, 0)
    begin_ns = cluster.clock
    for _ in range(8):
        cluster.run(25)
        for name, node in cluster.nodes.items():
            data = "".join(node.lines[: node.flushed]).encode()
            traces[name].feed(data[read[name] :])
            read[name] = len(data)
        for at_ns in (cluster.clock, random.randint(begin_ns, cluster.clock)):
            assert refused([trace.cut(at_ns) for trace in traces.values()]) == set()


MAJORITY = {
    "n1": [
        (1, start()), (2, vote(1, "n1")), (3, durable(1, 0, "n1")), (10, role("leader", 1)), (11, append((1, 1, "a"))),
        (12, durable(1, 1, "n1")), (30, commit(1, 1)),
    ],
    "n2": [(1, start()), (5, vote(1, "n1")), (6, durable(1, 0, "n1")), (15, append((1, 1, "a"))), (20, durable(1, 1))],
    "n3": [(1, start()), (5, vote(1, "n1")), (6, durable(1, 0, "n1")), (15, append((1, 1, "a"))), (20, durable(1, 1))],
}  # fmt: skip


def test_what_is_cut_at_different_moments_would_be_refused() -> None:
    """That all files are cut at one moment is what makes it sound: at each moment nothing is found, but with the
    leader's file of later than the others' an entry seems to be committed that nobody has.
    """
    rows = {
        name: [(at, ("durable", {**row[1], "vote": "n1"}) if row[0] == "durable" else row) for at, row in every]
        for name, every in MAJORITY.items()
    }
    traces = [grown(name, written(name, every)) for name, every in rows.items()]
    for at_ns in range(32):
        assert refused([trace.cut(at_ns) for trace in traces]) == set()
    assert refused([traces[0].cut(30), traces[1].cut(16), traces[2].cut(16)]) == {"committed on a majority"}


def test_what_is_broken_is_refused_from_that_moment_on() -> None:
    """Neither before, nor ever again not."""
    data = written("n1", [(1, start()), (5, vote(1, "n1")), (9, vote(1, "n2")), (12, durable(1, 0, "n2"))])
    trace = grown("n1", data)
    found = [refused([trace.cut(at_ns)]) for at_ns in range(14)]
    assert found == [set()] * 9 + [{"one vote a term"}] * 5


def test_a_time_that_falls_is_no_clock_to_cut_by() -> None:
    """Neither within what is read at once nor between two readings."""
    with pytest.raises(UnsteadyTraceError, match="fell from 5 to 4"):
        grown("n1", written("n1", [(5, start()), (4, vote(1, "n1"))]))
    trace = grown("n1", written("n1", [(5, start())]))
    with pytest.raises(UnsteadyTraceError, match="fell from 5 to 4"):
        trace.feed(written("n1", [(4, vote(1, "n1"))]))


def test_what_is_no_trace_is_said() -> None:
    """A line that a kill did not tear."""
    with pytest.raises(TraceError, match="n1"):
        grown("n1", b'{"event": "unheard of"}\n' + written("n1", [(5, vote(1, "n1"))]))
