"""A trace that is read while its node still writes it, and what of it may be judged meanwhile.

The node's lines are taken up to a moment T of CLOCK_MONOTONIC that lies before the reading of *any* trace began, and T
is the same for all. Why what that leaves is a state in which all nodes could have been killed at once, which is what
the invariants are made for (docs/invariants.md, "Judged while traces grow"):

- Let line e be in its cut, and let it rest on line d of another node, through messages. d was in its file before the
  first of these was sent (promise 1), so before e was stamped, so before T: it was there to be read, and its stamp is
  below T, too. So nothing is missing that a line rests on, whatever the order in which files are read.
- A line that was stamped before T and was not in its file yet, because its turn goes on or its node stands still, is
  missing; but nothing rests on it that is stamped before T, for nobody had heard of it when the reading began.
- Stamps never fall within a file, so what is left is the beginning of the file. A file in which they do fall, or that
  begins anew, is not judged while it grows.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from checkers.raft.traces import AnyEvent, Trace, TraceError, parse_trace


class UnsteadyTraceError(TraceError):
    """A trace whose stamps fall: its clock can't be relied on."""


@dataclass(slots=True)
class GrowingTrace:
    """One node's trace, as far as it was read."""

    node: str
    """What it is called if no event tells."""
    events: list[AnyEvent] = field(default_factory=list)
    _lines: list[int] = field(default_factory=list)
    _line: int = 0
    """Whole lines so far."""
    _rest: bytes = b""

    def feed(self, data: bytes) -> None:
        """What was added to the file. A line that is not whole yet is kept for the next time.

        Raises:
            TraceError: a line is none of a trace; it was not torn by a kill.
            UnsteadyTraceError: a stamp is lower than the one before it.
        """
        end = data.rfind(b"\n") + 1
        if not end:
            self._rest += data
            return
        whole, self._rest = self._rest + data[:end], data[end:]
        part = parse_trace(whole, name=f"the trace of {self.node}", node=self.node)
        before = self.events[-1].time if self.events else 0
        for event in part.events:
            if event.time < before:
                raise UnsteadyTraceError(f"the trace of {self.node}: its time fell from {before} to {event.time} ns")
            before = event.time
        self.events.extend(part.events)
        self._lines.extend(self._line + line for line in part.lines)
        self._line += whole.count(b"\n")

    def cut(self, at_ns: int) -> Trace | None:
        """The lines that were stamped up to then; None if there are none, which accuses nobody."""
        count = bisect.bisect_right(self.events, at_ns, key=lambda event: event.time)
        if not count:
            return None
        return Trace(node=self.events[0].node, events=self.events[:count], lines=self._lines[:count])
