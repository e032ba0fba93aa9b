"""The key-value state machine: registers, and the client sessions that make writes happen exactly once.

Deterministic: the same commands in the same order give the same results and the same state, byte for byte, on every
node. Nothing here reads a clock or a setting that could differ between nodes. Sessions follow Ongaro's thesis, 6.3:
opening one goes through the log and its id is the log index of that entry; each write carries (session, sequence); a
write that was already applied gets the remembered result instead of being applied again. A session has one write under
way at a time, so one result is remembered. The number of sessions is bounded; when it is exceeded, the one whose last
use lies furthest back in the log is forgotten, at the same place of the log everywhere. A forgotten session's write is
refused and changes nothing.

The state is encoded in the order of its dictionaries. That order is a function of the log too (and survives a
snapshot), so nothing is sorted.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from google.protobuf.message import DecodeError

from node import kv_pb2

SESSIONS_MAX = 10_000
"""Part of the state machine's definition: it must be the same on all nodes, so it is no option."""

VALUE_BYTES_MAX = 1 << 20
"""No register grows beyond it; part of the definition as well."""


class ResultKind(enum.IntEnum):
    """What came of a command. The numbers are those of ``kv.proto`` Outcome."""

    OK = 1
    MISMATCH = 2
    SESSION_EXPIRED = 3
    FORGOTTEN = 4
    INVALID = 7


@dataclass(frozen=True, slots=True)
class Result:
    """``value`` is what a compare-and-set observed on a mismatch; ``session`` the id of a session just opened."""

    kind: ResultKind
    value: bytes | None = None
    session: int = 0

    def digest(self) -> str:
        """Sixteen hex digits that tell results apart, for traces."""
        value = b"-" if self.value is None else b"+" + self.value
        return digest(b"%d %d " % (self.kind, self.session) + value)


def digest(data: bytes) -> str:
    """Sixteen hex digits, as ``trace.jsonl`` wants them."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Session:
    """The last write of a session."""

    sequence: int
    result: Result


_OK = Result(ResultKind.OK)
_EXPIRED = Result(ResultKind.SESSION_EXPIRED)
_FORGOTTEN = Result(ResultKind.FORGOTTEN)
_INVALID = Result(ResultKind.INVALID)
_FRESH = Session(0, _INVALID)  # sequence numbers begin at 1


class _SavedSession(msgspec.Struct, array_like=True):
    id: int
    sequence: int
    kind: int
    value: bytes | None


class _Saved(msgspec.Struct, array_like=True):
    """The state as snapshots hold it (msgpack)."""

    version: int
    registers: dict[str, bytes]
    sessions: list[_SavedSession]


class StateCopy:
    """A frozen copy of the state that another thread may encode while the machine goes on."""

    def __init__(self, registers: dict[str, bytes], sessions: dict[int, Session]) -> None:
        self._registers = registers
        self._sessions = sessions

    def encode(self) -> bytes:
        """Deterministic bytes of the whole state."""
        sessions = [
            _SavedSession(number, session.sequence, session.result.kind, session.result.value)
            for number, session in self._sessions.items()
        ]
        return msgspec.msgpack.encode(_Saved(1, self._registers, sessions))


class BadStateError(ValueError):
    """Bytes that no :meth:`StateCopy.encode` of this version produced."""


class Machine:
    """The replicated state. Commands are ``kv.proto`` Command messages."""

    def __init__(self, *, sessions_max: int = SESSIONS_MAX) -> None:
        self._registers: dict[str, bytes] = {}
        self._sessions: dict[int, Session] = {}
        """By id; in the order of last use, longest ago first."""
        self._sessions_max = sessions_max

    def get(self, key: str) -> bytes | None:
        """The value of a register; None if it does not exist."""
        return self._registers.get(key)

    @property
    def session_count(self) -> int:
        """Sessions that are remembered."""
        return len(self._sessions)

    def apply(self, index: int, data: bytes) -> Result:
        """Applies the committed command at this log index. Never raises: bytes that are no command give INVALID, on
        every node alike.
        """
        try:
            command = kv_pb2.Command.FromString(data)
        except DecodeError:
            return _INVALID
        which = command.WhichOneof("command")
        if which == "open_session":
            return self._open_session(index)
        return self._write_once(command.write) if which == "write" else _INVALID

    def copy(self) -> StateCopy:
        """A copy that costs two dictionary copies; values are shared, being immutable."""
        return StateCopy(self._registers.copy(), self._sessions.copy())

    def state_hash(self) -> str:
        """Sixteen hex digits of the state. Costs time in proportion to it."""
        return digest(self.copy().encode())

    def restore(self, state: bytes) -> None:
        """Replaces the state by one that :meth:`StateCopy.encode` produced. Raises :class:`BadStateError` and then
        changes nothing.
        """
        try:
            saved = msgspec.msgpack.decode(state, type=_Saved)
        except msgspec.DecodeError as error:
            raise BadStateError(f"the snapshot's state can't be decoded: {error}") from None
        if saved.version != 1:
            raise BadStateError(f"the snapshot's state has version {saved.version}; this program knows version 1")
        self._registers = saved.registers
        self._sessions = {s.id: Session(s.sequence, Result(ResultKind(s.kind), s.value)) for s in saved.sessions}

    def _open_session(self, index: int) -> Result:
        self._sessions[index] = _FRESH
        if len(self._sessions) > self._sessions_max:
            del self._sessions[next(iter(self._sessions))]
        return Result(ResultKind.OK, session=index)

    def _write_once(self, write: kv_pb2.ExecuteRequest) -> Result:
        session = self._sessions.pop(write.session, None)
        if session is None:
            return _EXPIRED
        self._sessions[write.session] = session  # used last, so forgotten last
        remembered = self._remembered(session, write.sequence)
        if remembered is not None:
            return remembered
        result = self._execute(write)
        self._sessions[write.session] = Session(write.sequence, result)
        return result

    def _remembered(self, session: Session, sequence: int) -> Result | None:
        """The answer to a write that must not be applied (again); None for a new one."""
        if sequence > session.sequence:
            return None
        return session.result if sequence == session.sequence else _FORGOTTEN

    def _execute(self, write: kv_pb2.ExecuteRequest) -> Result:
        handler = _HANDLERS.get(write.WhichOneof("operation") or "")
        return handler(self._registers, write) if handler else _INVALID


_Registers = dict[str, bytes]


def _put(registers: _Registers, write: kv_pb2.ExecuteRequest) -> Result:
    registers[write.key] = write.put.value
    return _OK


def _cas(registers: _Registers, write: kv_pb2.ExecuteRequest) -> Result:
    expected = write.cas.expected if write.cas.HasField("expected") else None
    observed = registers.get(write.key)
    if observed != expected:
        return Result(ResultKind.MISMATCH, observed)
    registers[write.key] = write.cas.value
    return _OK


def _append(registers: _Registers, write: kv_pb2.ExecuteRequest) -> Result:
    value = registers.get(write.key, b"") + write.append.value
    if len(value) > VALUE_BYTES_MAX:
        return _INVALID
    registers[write.key] = value
    return _OK


def _delete(registers: _Registers, write: kv_pb2.ExecuteRequest) -> Result:
    registers.pop(write.key, None)
    return _OK


_HANDLERS: dict[str, Callable[[_Registers, kv_pb2.ExecuteRequest], Result]] = {
    "put": _put,
    "cas": _cas,
    "append": _append,
    "delete": _delete,
}
