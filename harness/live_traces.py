"""The process that judges the nodes' traces while a run goes on: by all Raft invariants, now and then, from their
beginning (:func:`checkers.raft.invariants.check_traces`); reading and decoding go on where they ended.

What may be judged of a trace that grows, and why, is said in :mod:`checkers.raft.growing`. It is a process of its own,
not a part of the one that follows the history: a look at traces takes half a second when they are long, and a
violation in the history must be known within one.

Talk: in comes ``?`` (judge all of it now, and say so); out go JSON lines: ``{"verdict": ..., "events": ...}`` after
each look, ``{"violation": ...}`` at most once, ``{"gave up": why}`` at most once, ``{"settled": events}`` for each
``?``. It ends when its input does (the controller is gone), after a violation, and when it gives up.
"""

from __future__ import annotations

import gc
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from checkers.raft.growing import GrowingTrace
from checkers.raft.invariants import check_traces
from checkers.raft.traces import TraceError
from checkers.verdict import Finding
from harness.live_process import say
from reports.folder import RunFolder

EVERY_S = 1.0
"""From one look to the next, if they are cheap."""
SHARE_MAX = 0.1
"""Of one core, at most: the rest after a look grows with what it cost."""
EVENTS_MAX = 1_000_000
"""A look from the beginning costs too much beyond that (about ten seconds), and so does the memory."""
NICE = 5
"""Behind the nodes and the controller: to be late costs nothing but time."""


class GaveUpError(Exception):
    """The traces can't be judged while they grow; says why."""


class TraceFollower:
    """One node's file, read as it grows."""

    def __init__(self, path: Path) -> None:
        self.trace = GrowingTrace(path.parent.name)
        self._path = path
        self._file: FileIO | None = None
        self._read = 0

    def follow(self) -> None:
        """Takes what is new. Raises GaveUpError if the file is another one than it was, or is not a trace."""
        if self._file is None:
            if not self._path.exists():
                return
            self._file = FileIO(self._path)
        if not self._same():
            raise GaveUpError(f"{self._path} began anew")
        try:
            data = self._file.readall()
            self._read += len(data)
            self.trace.feed(data)
        except (OSError, TraceError) as error:
            raise GaveUpError(str(error)) from error

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()

    def _same(self) -> bool:
        assert self._file is not None
        ours = os.fstat(self._file.fileno())
        try:
            there = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(ours, there) and ours.st_size >= self._read


class TraceJudging:
    """What the process does, but for waiting."""

    def __init__(
        self,
        followers: Sequence[TraceFollower],
        *,
        origin_ns: int,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        cost_ns: Callable[[], int] = time.process_time_ns,
    ) -> None:
        """``clock_ns`` is the clock that the nodes stamp by, ``cost_ns`` how much of a core was used."""
        self.rest_s = EVERY_S
        """How long to rest after the last look."""
        self._followers = followers
        self._origin_ns = origin_ns
        self._clock_ns = clock_ns
        self._cost_ns = cost_ns
        self._judged = 0

    @property
    def events(self) -> int:
        """How many were read."""
        return sum(len(follower.trace.events) for follower in self._followers)

    def look(self) -> Finding | None:
        """Judges what happened up to now; what was broken first. Raises GaveUpError."""
        began_ns = self._cost_ns()
        at_ns = self._clock_ns()  # before any file is read: that is what makes the cut whole
        for follower in self._followers:
            follower.follow()
        if self.events > EVENTS_MAX:
            raise GaveUpError(f"there are more than {EVENTS_MAX} events")
        cuts = [cut for follower in self._followers if (cut := follower.trace.cut(at_ns)) is not None]
        events, before = sum(len(cut.events) for cut in cuts), self._judged
        self._judged = events
        found: Sequence[Finding] = ()
        if events > before:
            traces = {cut.node: cut for cut in cuts}
            found = check_traces(traces, one_clock=True, start_monotonic_ns=self._origin_ns).findings
        self.rest_s = rest_s((self._cost_ns() - began_ns) / 1e9)
        return min(found, key=lambda finding: finding.time_ns or 0, default=None)


def rest_s(cost_s: float) -> float:
    """How long to rest after a look that cost so much of a core."""
    return max(EVERY_S, cost_s / SHARE_MAX - cost_s)


def described(finding: Finding) -> dict[str, Any]:
    """What the controller is told."""
    return {
        "kind": finding.kind,
        "message": finding.message,
        "key": None,
        "nodes": finding.nodes,
        "time_ns": finding.time_ns,
        "events": 0,
        "exact": False,
    }


def judge_on(judging: TraceJudging) -> None:
    """Until the input ends, a violation is found, or the traces can't be judged any more."""
    while True:
        asked = b""
        if select.select([0], [], [], judging.rest_s)[0]:
            asked = os.read(0, 1 << 16)
            if not asked:
                return
        try:
            finding = judging.look()
        except GaveUpError as error:
            say({"gave up": str(error)})
            return
        if finding is not None:
            say({"violation": described(finding)})
            return
        say({"verdict": "valid", "events": judging.events})
        for _ in range(asked.count(b"?")):
            say({"settled": judging.events})


def main() -> None:
    """``python -m harness.live_traces CONFIG`` (JSON: run, nodes, origin_ns). Paths of nodes are not in it: a process
    with a node's folder in its command line is taken for the node.
    """
    config = msgspec.json.decode(sys.argv[1])
    os.nice(NICE)
    gc.disable()  # it makes no circles, and each collection would visit every event
    folder = RunFolder(Path(config["run"]))
    followers = [TraceFollower(folder.trace(node)) for node in config["nodes"]]
    judge_on(TraceJudging(followers, origin_ns=config["origin_ns"]))


if __name__ == "__main__":
    main()
