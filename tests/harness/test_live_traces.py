"""Traces judged beside a run: what the judging process does, and what the controller makes of its words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.live import LiveCheck
from harness.live_traces import EVERY_S, SHARE_MAX, GaveUpError, TraceFollower, TraceJudging, rest_s
from tests.checkers.test_growing import written
from tests.checkers.test_raft import durable, start, vote

GOOD = written("n1", [(1005, start()), (1010, vote(1, "n1"))])
BAD = written("n1", [(1020, vote(1, "n2"))])
"""The second vote of a term."""


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[TraceFollower]:
    """Of the one node."""
    follower = TraceFollower(tmp_path / "nodes" / "n1" / "trace.jsonl")
    yield follower
    follower.close()


def trace_file(tmp_path: Path) -> Path:
    """Where a node's trace is."""
    path = tmp_path / "nodes" / "n1" / "trace.jsonl"
    path.parent.mkdir(parents=True)
    return path


def test_only_what_happened_before_the_reading_is_judged(follower: TraceFollower, tmp_path: Path) -> None:
    """What is in the file already but was stamped while files were read waits for the next look."""
    path, now_ns = trace_file(tmp_path), [1015]
    path.write_bytes(GOOD + BAD)
    judging = TraceJudging([follower], origin_ns=1000, clock_ns=lambda: now_ns[0])
    assert judging.look() is None
    now_ns[0] = 1025
    finding = judging.look()
    assert finding is not None
    assert (finding.kind, finding.time_ns, finding.nodes) == ("one vote a term", 20, ("n1",))


def test_a_file_is_waited_for_and_half_a_line_too(follower: TraceFollower, tmp_path: Path) -> None:
    """A node without a trace accuses nobody."""
    path = trace_file(tmp_path)
    judging = TraceJudging([follower], origin_ns=0)
    assert judging.look() is None
    path.write_bytes(GOOD + BAD[:20])
    assert judging.look() is None
    with path.open("ab") as file:
        file.write(BAD[20:])
    finding = judging.look()
    assert finding is not None
    assert finding.kind == "one vote a term"


@pytest.mark.parametrize("how", ["shorter", "another", "gone"])
def test_a_file_that_begins_anew_is_given_up(how: str, follower: TraceFollower, tmp_path: Path) -> None:
    """What it said before may be what others rest on."""
    path = trace_file(tmp_path)
    path.write_bytes(GOOD)
    judging = TraceJudging([follower], origin_ns=0)
    assert judging.look() is None
    if how == "shorter":
        path.write_bytes(GOOD[:10])
    else:
        path.rename(tmp_path / "elsewhere")
    if how == "another":
        path.write_bytes(GOOD + BAD)
    with pytest.raises(GaveUpError, match="began anew"):
        judging.look()


def test_what_is_no_trace_is_given_up(follower: TraceFollower, tmp_path: Path) -> None:
    """With the reason."""
    path = trace_file(tmp_path)
    path.write_bytes(b'{"event": "unheard of"}\n' + GOOD)
    with pytest.raises(GaveUpError, match="not an event of a trace"):
        TraceJudging([follower], origin_ns=0).look()


def test_looks_take_a_small_share_of_a_core(follower: TraceFollower, tmp_path: Path) -> None:
    """The rest grows with what a look costs; a cheap one has the usual rest."""
    assert rest_s(0.0) == EVERY_S
    for cost_s in (0.05, 0.2, 1.0, 10.0):
        assert cost_s / (cost_s + rest_s(cost_s)) <= SHARE_MAX + 1e-9
    path, costs = trace_file(tmp_path), iter((0, 500_000_000))
    path.write_bytes(GOOD)
    judging = TraceJudging([follower], origin_ns=0, cost_ns=lambda: next(costs))
    judging.look()
    assert judging.rest_s == rest_s(0.5)


async def test_the_process_finds_what_the_history_cannot_tell(tmp_path: Path) -> None:
    """By the real process, beside a workload that is judged at the end only: valid so far, then the violation."""
    path = trace_file(tmp_path)
    path.write_bytes(GOOD)
    history = tmp_path / "history.jsonl"
    check = LiveCheck(history=history, model="bank", log=tmp_path / "log", run_id="r", traced=("n1",), patient=True)
    check.start()
    check.start_traces(1000)
    try:
        await check.settle(30)
        assert (check.verdict, check.violation) == ("traces valid, operations are judged at the end", None)
        with path.open("ab") as file:
            file.write(BAD)
        await check.settle(30)
        seen = await check.wait_violation()
        assert (seen.kind, seen.time_ns, seen.events) == ("one vote a term", 20, 0)
        assert check.verdict == "invalid (one vote a term)"
    finally:
        await check.close()
        await check.close()


async def test_traces_that_are_given_up_end_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said why, nobody waits, and the history is judged as before."""
    path = trace_file(tmp_path)
    path.write_bytes(written("n1", [(9, start()), (8, durable(1, 0))]))
    history = tmp_path / "history.jsonl"
    history.touch()
    check = LiveCheck(history=history, model="register", log=tmp_path / "log", run_id="r", traced=("n1",), patient=True)
    check.start()
    check.start_traces(0)
    try:
        await check.settle(30)
        await check.settle(30)
        assert (check.verdict, check.violation) == ("valid", None)
    finally:
        await check.close()
    assert "its time fell from 9 to 8 ns" in caplog.text
