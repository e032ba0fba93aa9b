"""How an attempt fails, as a client of a node is told: either nothing happened and nothing will, or it may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from node import kv_pb2


class KvError(Exception):
    """An attempt that did not succeed."""


class DefiniteError(KvError):
    """Nothing happened, and nothing will."""


class UnreachableError(DefiniteError):
    """There was no connection, so nothing was sent."""


class NotLeaderError(DefiniteError):
    """Another node leads; ``leader`` names it, if the node knows."""

    def __init__(self, leader: str | None) -> None:
        super().__init__(f"not the leader; {leader} is" if leader else "not the leader, and it knows none")
        self.leader = leader


class BusyError(DefiniteError):
    """Not now: too many operations are under way, at the node or here; or what was asked for is not possible yet."""


class SessionExpiredError(DefiniteError):
    """The node knows no such session (any more). An *earlier* attempt of the same write may have happened before it
    expired.
    """


class InvalidRequestError(DefiniteError):
    """The request is malformed."""


class WrongTypeError(DefiniteError):
    """A key holds a value of another type."""


class FullError(DefiniteError):
    """The store has no room for it."""


class CompactedError(DefiniteError):
    """A watch asks for changes that the node no longer knows; ``first`` is the first revision that can be had."""

    def __init__(self, first: int) -> None:
        super().__init__(f"changes before revision {first} are no longer known")
        self.first = first


class StoppingError(DefiniteError):
    """The node is going down."""


class IndefiniteError(KvError):
    """It may have happened, or may yet happen, or never."""


class TimedOutError(IndefiniteError):
    """It was sent, and no reply came in time."""


class ConnectionLostError(IndefiniteError):
    """It was sent, and the connection broke."""


class InDoubtError(IndefiniteError):
    """The node lost its leadership while the operation was under way, or no longer remembers the outcome of an older
    write.
    """


def outcome_error(reply: kv_pb2.Reply) -> KvError | None:
    """The one place that decides what a reply means; an outcome that this version does not know is indefinite."""
    outcome = reply.outcome
    if outcome in (kv_pb2.OK, kv_pb2.MISMATCH):
        return None
    if outcome == kv_pb2.NOT_LEADER:
        return NotLeaderError(reply.leader or None)
    if outcome == kv_pb2.COMPACTED:
        return CompactedError(reply.index)
    make, message = _ERRORS.get(outcome, (InDoubtError, f"the node answered {outcome}"))
    return make(f"{message}: {reply.detail}" if reply.detail else message)


_ERRORS: Mapping[int, tuple[Callable[[str], KvError], str]] = {
    kv_pb2.SESSION_EXPIRED: (SessionExpiredError, "the node knows no such session"),
    kv_pb2.FORGOTTEN: (InDoubtError, "the session has gone on to later writes"),
    kv_pb2.BUSY: (BusyError, "the node is busy"),
    kv_pb2.INVALID: (InvalidRequestError, "the node refused the request"),
    kv_pb2.WRONG_TYPE: (WrongTypeError, "a key holds a value of another type"),
    kv_pb2.FULL: (FullError, "the store is full"),
    kv_pb2.STOPPING: (StoppingError, "the node is going down"),
    kv_pb2.UNKNOWN: (InDoubtError, "leadership was lost while the operation was under way"),
}
