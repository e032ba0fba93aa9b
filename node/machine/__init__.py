"""The replicated state machine: one module for each type of value, one for sessions, one for the state's bytes."""

from node.machine.limits import KEY_BYTES_MAX, SESSIONS_MAX, VALUE_BYTES_MAX
from node.machine.machine import Machine
from node.machine.result import OK, Result, ResultKind, digest
from node.machine.sessions import Session
from node.machine.state_format import BadStateError, Saved
from node.machine.state_format import decode as decode_state

__all__ = [
    "KEY_BYTES_MAX",
    "OK",
    "SESSIONS_MAX",
    "VALUE_BYTES_MAX",
    "BadStateError",
    "Machine",
    "Result",
    "ResultKind",
    "Saved",
    "Session",
    "decode_state",
    "digest",
]
