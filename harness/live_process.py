"""The process that judges a run while it goes on: it follows ``history.jsonl`` and says what it finds.

A process of its own, because judging holds the interpreter: in a thread of the controller it would make the clients'
event loop late, and with it every time that is measured (docs/benchmarks.md has both figures). It reads what the
recorder has written, so the controller hands over nothing but a byte a flush, which says that there is more.

Talk, on its standard input and output: in comes ``.`` (there is more in the file) and ``?`` (judge all of it now, and
say so); out go JSON lines: ``{"verdict": ..., "events": ...}`` now and then, ``{"violation": ...}`` at most once,
``{"settled": events}`` for each ``?``. It ends when its input does (the controller is gone) or after a violation.

The pace: registers are judged as events come. What has to be looked at whole (:mod:`checkers.streaming.stream`) is
looked at in rounds, shard by shard, and what is new is taken in between. A round is followed by a rest that is at least
as long, so that at most half of a core goes into looking; but the rest shrinks when rounds take long, for a violation
must be reported within a second: one that comes just after its shard's look began waits for a round, a rest and a look.
"""

from __future__ import annotations

import gc
import os
import select
import sys
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from checkers.event import Event
from checkers.streaming import Stream, Violation

REST_S = 0.2
"""The rest after a round that took nearly no time."""
REST_S_MIN = 0.01
WITHIN_S = 0.85
"""How late a violation may be found: a round, a rest and a look. What is left of the second is the recorder's."""
TELL_S = 0.5
"""How often the verdict so far is said."""
CHUNK_BYTES = 1 << 22
"""Read and judged at once, at most: between two chunks somebody may ask."""


class Follower:
    """Whole lines of a file that grows, or is not there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._rest = b""
        self._decode = msgspec.json.Decoder(Event).decode

    def read(self) -> Iterator[list[Event]]:
        """What has come since the last time, in chunks. A line that is not whole yet is kept for the next time."""
        if self._file is None:
            if not self._path.exists():
                return
            self._file = FileIO(self._path)
        while chunk := self._file.read(CHUNK_BYTES):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            yield [self._decode(line) for line in lines]

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()


class Judging:
    """What the process does, but for waiting."""

    def __init__(self, stream: Stream, follower: Follower) -> None:
        self.stream = stream
        self.round_at_s = 0.0
        """When the next round is due, if there is something to look at."""
        self._follower = follower
        self._told_s = 0.0

    def follow(self) -> None:
        """Takes what is new in the file."""
        for events in self._follower.read():
            self.stream.feed(events)

    def round(self) -> bool:
        """Judges everything; says what it found. Whether a violation was found."""
        began, longest_s = time.perf_counter(), 0.0
        for _ in range(max(1, self.stream.shards_due)):
            look_began = time.perf_counter()
            violation = self.stream.look()
            if violation is not None:
                say({"violation": described(violation), "events": self.stream.events})
                return True
            longest_s = max(longest_s, time.perf_counter() - look_began)
            self.follow()
        now = time.perf_counter()
        self.round_at_s = now + rest_s(now - began, longest_s)
        return False

    def tell(self) -> None:
        """The verdict so far, now and then."""
        now = time.perf_counter()
        if now - self._told_s > TELL_S:
            self._told_s = now
            say({"verdict": self._verdict(), "events": self.stream.events})

    def _verdict(self) -> str:
        hard = self.stream.too_hard
        return "valid" if not hard else f"valid, but for {hard} keys that take a longer search"


def rest_s(round_s: float, look_s: float) -> float:
    """How long to rest after a round that took so long, and its longest look so long."""
    return max(REST_S_MIN, min(max(round_s, REST_S), WITHIN_S - round_s - look_s))


def described(violation: Violation) -> dict[str, Any]:
    """What the controller is told."""
    finding = violation.finding
    return {
        "kind": finding.kind,
        "message": finding.message,
        "key": finding.key,
        "nodes": finding.nodes,
        "time_ns": finding.time_ns,
        "events": violation.events,
        "exact": violation.exact,
    }


def say(message: dict[str, Any]) -> None:
    """A line to the controller. One that is gone is noticed at the next look at the input."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(message, enc_hook=str) + b"\n")
        sys.stdout.buffer.flush()
    except OSError:
        sys.exit(0)


def judge_on(judging: Judging) -> None:
    """Until the input ends or a violation is found."""
    while True:
        wait_s = max(0.0, judging.round_at_s - time.perf_counter()) if judging.stream.due else None
        asked = b""
        if select.select([0], [], [], wait_s)[0]:
            asked = os.read(0, 1 << 16)
            if not asked:
                return
        judging.follow()
        now = time.perf_counter()
        if (b"?" in asked or judging.stream.suspicious or now >= judging.round_at_s) and judging.round():
            return
        judging.tell()
        for _ in range(asked.count(b"?")):
            say({"settled": judging.stream.events})


def main() -> None:
    """``python -m harness.live_process CONFIG`` (JSON: history, model, initial, null_read)."""
    config = msgspec.json.decode(sys.argv[1])
    gc.disable()  # it makes no circles, and each collection would visit every value of the history
    stream = Stream(
        model=config["model"], initial=config["initial"], null_read=config["null_read"], clock=time.monotonic
    )
    judge_on(Judging(stream, Follower(Path(config["history"]))))


if __name__ == "__main__":
    main()
