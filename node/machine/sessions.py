"""Client sessions, which make writes happen exactly once (Ongaro's thesis, 6.3).

Opening one goes through the log, and its id is the log index of that entry. Each write carries (session, sequence); a
write that was applied already gets the remembered result instead of being applied again. A session has one write under
way at a time, so one result is remembered. Sessions and what they remember are bounded: beyond that, the one whose last
use lies furthest back in the log is forgotten, at the same place of the log on every node. A forgotten session's write
is refused and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from node.machine.result import INVALID, Result


class Session(msgspec.Struct, frozen=True):
    """The last write of a session."""

    sequence: int
    result: Result


FRESH = Session(0, INVALID)
"""Has written nothing; sequence numbers begin at 1."""


class Sessions:
    """All that are remembered."""

    def __init__(self, *, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._weight = 0
        self._sessions: dict[int, Session] = {}
        """By id; in the order of last use, longest ago first."""

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, number: int) -> None:
        """A new one; the one used longest ago may have to go."""
        self._sessions[number] = FRESH
        self._forget()

    def use(self, number: int) -> Session | None:
        """The session, used last from now on; None if it is not known (any more)."""
        session = self._sessions.pop(number, None)
        if session is not None:
            self._sessions[number] = session
        return session

    def remember(self, number: int, before: Session, after: Session) -> None:
        """The last write of a session that was just used."""
        self._sessions[number] = after
        if after.result is not before.result:  # as good as always both are the same OK
            self._weight += after.result.weight - before.result.weight
            self._forget()

    def copy(self) -> Mapping[int, Session]:
        """As they are now, in their order."""
        return self._sessions.copy()

    def adopt(self, sessions: Mapping[int, Session]) -> None:
        """Takes the place of what there was."""
        self._sessions = dict(sessions)
        self._weight = sum(session.result.weight for session in sessions.values())

    def _forget(self) -> None:
        """Down to the limits, but never the one used last."""
        while len(self._sessions) > 1 and (len(self._sessions) > self._count_max or self._weight > self._bytes_max):
            forgotten = self._sessions.pop(next(iter(self._sessions)))
            self._weight -= forgotten.result.weight
