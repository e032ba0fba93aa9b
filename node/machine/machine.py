"""The key-value state machine: what keys hold, and the client sessions that make writes happen exactly once.

Deterministic: the same commands in the same order give the same results and the same state, byte for byte, on every
node. Nothing here reads a clock, a setting that could differ between nodes, or Python's salted hashes.

Every key holds one value of one type, made by the first operation that touches it (:mod:`node.operations`); each type
has a module of its own. An operation on a key of another type is refused and changes nothing, and so is one that would
break a limit (:mod:`node.machine.limits`); refusals are results like any other, remembered like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from google.protobuf.message import DecodeError

from node import kv_pb2
from node.durable.compression import unpack
from node.machine import counters, locks, registers, sets, transactions
from node.machine.held import value_of
from node.machine.limits import SESSION_BYTES_MAX, SESSIONS_MAX, STATE_BYTES_MAX
from node.machine.result import EXPIRED, FORGOTTEN, INVALID, Result, ResultKind, digest
from node.machine.sessions import Session, Sessions
from node.machine.state import State
from node.machine.state_format import Saved, decode
from node.operations import Value
from node.serving.events import Event

_HANDLERS: Mapping[str, Callable[[State, kv_pb2.ExecuteRequest], Result]] = {
    "put": registers.put,
    "cas": registers.cas,
    "append": registers.append,
    "delete": registers.delete,
    "set_add": sets.add,
    "set_remove": sets.remove,
    "increment": counters.increment,
    "acquire": locks.acquire,
    "release": locks.release,
    "transaction": transactions.transact,
}
"""What goes through the log, by its name in ``kv.proto``."""


def _command_of(data: bytes) -> tuple[kv_pb2.Command | None, str | None]:
    """The command, and of which kind it is; None: bytes that are no command."""
    try:
        command = kv_pb2.Command.FromString(data)
    except DecodeError:
        return None, None
    which = command.WhichOneof("command")
    if which != "zstd":
        return command, which
    unpacked = unpack(command.zstd)
    return unpacked, unpacked and unpacked.WhichOneof("command")


class Machine:
    """The replicated state. Commands are ``kv.proto`` Command messages."""

    def __init__(
        self,
        *,
        sessions_max: int = SESSIONS_MAX,
        session_bytes_max: int = SESSION_BYTES_MAX,
        state_bytes_max: int = STATE_BYTES_MAX,
    ) -> None:
        self._state = State(self._fence_holds, bytes_max=state_bytes_max)
        self._sessions = Sessions(count_max=sessions_max, bytes_max=session_bytes_max)

    # Reading

    def get(self, key: str) -> Value:
        """What a key holds; None if it does not exist."""
        return value_of(self._state.get(key), self._state.now_ms)

    def answer(self, request: kv_pb2.ExecuteRequest) -> Result:
        """The result of a request that only reads: a get, or a transaction with a read mode."""
        if request.WhichOneof("operation") == "transaction":
            return transactions.read_all(self._state, request.transaction.steps)
        return Result(ResultKind.OK, self.get(request.key))

    @property
    def now_ms(self) -> int:
        """The machine's time (:mod:`node.machine.locks`)."""
        return self._state.now_ms

    @property
    def events(self) -> Sequence[Event]:
        """What the command that was applied last changed."""
        return self._state.events

    @property
    def session_count(self) -> int:
        """Sessions that are remembered."""
        return len(self._sessions)

    # Applying

    def apply(self, index: int, data: bytes) -> Result:
        """Applies the committed command at this log index. Never raises: bytes that are no command give INVALID, on
        every node alike.
        """
        command, which = _command_of(data)
        if command is None:
            self._state.begin(index, 0)
            return INVALID
        self._state.begin(index, command.stamp_ms)
        if which == "write":
            return self._write_once(command.write)
        return self._open_session(index) if which == "open_session" else INVALID

    def _open_session(self, index: int) -> Result:
        self._sessions.open(index)
        return Result(ResultKind.OK, session=index)

    def _write_once(self, write: kv_pb2.ExecuteRequest) -> Result:
        number = write.session
        session = self._sessions.use(number)
        if session is None:
            return EXPIRED
        sequence = write.sequence
        remembered = self._remembered(session, sequence)
        if remembered is not None:
            return remembered
        result = self._execute(write)
        self._sessions.remember(number, session, Session(sequence, result))
        return result

    def _remembered(self, session: Session, sequence: int) -> Result | None:
        """The answer to a write that must not be applied (again); None for a new one."""
        if sequence > session.sequence:
            return None
        return session.result if sequence == session.sequence else FORGOTTEN

    def _execute(self, write: kv_pb2.ExecuteRequest) -> Result:
        handler = _HANDLERS.get(write.WhichOneof("operation") or "")
        return handler(self._state, write) if handler else INVALID

    def _fence_holds(self, fence: int, highest: int) -> bool:
        """Whether a write with this fencing token may happen to a key that was shown ``highest``."""
        return fence >= highest

    # Snapshots

    def copy(self) -> Saved:
        """A copy of this moment, in microseconds; it can be encoded in another thread."""
        return Saved(state=self._state.share(), sessions=self._sessions_to_save())

    def _sessions_to_save(self) -> Mapping[int, Session]:
        """What a snapshot says of sessions."""
        return self._sessions.copy()

    def state_hash(self) -> str:
        """Sixteen hex digits of the state. Costs time in proportion to it."""
        return digest(self.copy().encode())

    def restore(self, state: bytes) -> None:
        """Replaces the state by an encoded one. Raises :class:`~node.machine.state_format.BadStateError` and then
        changes nothing.
        """
        self.adopt(decode(state))

    def adopt(self, saved: Saved) -> None:
        """The same for a state that was decoded before, in no time."""
        self._state.adopt(saved.state)
        self._sessions.adopt(saved.sessions)
