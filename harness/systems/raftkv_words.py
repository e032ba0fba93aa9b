"""What workloads ask, in the words of ``raftkv``'s client library, and its answers in theirs.

Registers, logs and elements are bytes there: ``17`` is a number, ``4:17`` a number under the fencing token 4, and
``17,`` one entry of a log. What is none of these stays as it is: nobody wrote it, and the checkers say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.clients import Invocation
from node import client as kv
from node import operations as op

ENTRY_END = ","
"""After every entry of a log, so that a log of one entry is no register."""
FENCE_MARK = ":"
DIGITS_MAX = 18
"""What has more of them (leading zeros do not count) is no number of ours."""


def only_reads(invocation: Invocation) -> bool:
    """Whether an operation has no effect, so that it certainly did not happen if it was not answered."""
    return invocation.f == "read" or (invocation.f == "txn" and all(step[0] == "r" for step in invocation.value))


def operation_of(invocation: Invocation, owner: str) -> op.Operation:
    """What the node is asked. ``owner`` is who acquires or releases.

    Raises:
        ValueError: it has no words for this.
    """
    if invocation.f not in _ASKED:
        raise ValueError(f"raftkv's client knows no operation {invocation.f!r}; known: {', '.join(_ASKED)}")
    return _ASKED[invocation.f](str(invocation.key), invocation, owner)


def _write(key: str, invocation: Invocation, _: str) -> op.Operation:
    value = invocation.value
    return op.Put(key, encode(value), value[0] if isinstance(value, tuple | list) else 0)


def _compare_and_set(key: str, invocation: Invocation, _: str) -> op.Operation:
    expected, value = invocation.value
    return op.CompareAndSet(key, None if expected is None else encode(expected), encode(value))


def _transaction(_key: str, invocation: Invocation, _: str) -> op.Operation:
    steps = tuple(
        op.Read(str(name)) if kind == "r" else op.ListAppend(str(name), encode(value))
        for kind, name, value in invocation.value
    )
    return op.Transaction(steps, _mode(invocation) if only_reads(invocation) else None)


def padded(operation: op.Operation, size: int) -> op.Operation:
    """What is written to registers gets leading zeros, up to ``size`` bytes."""
    match operation:
        case op.Put():
            return replace(operation, value=operation.value.zfill(size))
        case op.CompareAndSet():
            expected = operation.expected
            expected = None if expected is None else expected.zfill(size)
            return replace(operation, expected=expected, value=operation.value.zfill(size))
    return operation


def _mode(invocation: Invocation) -> op.ReadMode:
    return op.ReadMode(invocation.reads or op.ReadMode.LEADER)


_ASKED: Mapping[str, Callable[[str, Invocation, str], op.Operation]] = {
    "read": lambda key, invocation, _: op.Get(key, _mode(invocation)),
    "write": _write,
    "cas": _compare_and_set,
    "add": lambda key, invocation, _: op.SetAdd(key, encode(invocation.value)),
    "append": lambda key, invocation, _: op.Append(key, encode(invocation.value) + ENTRY_END.encode()),
    "increment": lambda key, invocation, _: op.Increment(key, invocation.value),
    "acquire": lambda key, invocation, owner: op.Acquire(key, owner, invocation.value or 0),
    "release": lambda key, invocation, owner: op.Release(key, owner, invocation.value or 0),
    "txn": _transaction,
}
"""By function: what is asked for a key."""


def needs_session(operation: op.Operation) -> bool:
    """Whether it goes through the log."""
    return not isinstance(operation, op.Get) and getattr(operation, "mode", None) is None


def answer_of(invocation: Invocation, done: kv.Done) -> Any:
    """What a workload learns from an operation that took effect."""
    match invocation.f:
        case "read" | "increment" | "acquire":
            return decode(done.value)
        case "append":
            return None  # it is not told the place of its entry
        case "txn":
            return _steps_read(invocation.value, done.reads)
    return invocation.value


def _steps_read(steps: Any, reads: tuple[op.Value, ...]) -> list[Any]:
    """The transaction with what its reads found; of reads that the answer does not tell: nothing."""
    found = iter(reads)
    return [[kind, name, decode(next(found, None)) if kind == "r" else value] for kind, name, value in steps]


def refusal_of(invocation: Invocation, done: kv.Done) -> str:
    """Why an operation was answered and changed nothing."""
    observed = decode(done.value)
    match invocation.f:
        case "acquire":
            return "held by somebody else"
        case "release":
            return "not held by who releases"
        case "write":
            return "fenced off"
    return f"mismatch: the value was {observed}"


def encode(value: object) -> bytes:
    """A number, or a number under a fencing token."""
    return (FENCE_MARK.join(map(str, value)) if isinstance(value, tuple | list) else str(value)).encode()


def decode(value: op.Value) -> Any:
    """What :func:`encode` made, for any type of key; a set's elements in the order of their numbers."""
    if isinstance(value, frozenset):
        return sorted(map(decode, value), key=lambda element: (isinstance(element, str), element))
    if isinstance(value, tuple):
        return [decode(element) for element in value]
    if isinstance(value, bytes):
        return _read(value.decode("utf-8", "backslashreplace"))
    return value


def _read(text: str) -> Any:
    if ENTRY_END in text:
        *entries, rest = text.split(ENTRY_END)
        return [_number(entry) for entry in (*entries, rest) if entry or rest]
    token, mark, number = text.partition(FENCE_MARK)
    return [_number(token), _number(number)] if mark else _number(text)


def _number(text: str) -> int | str:
    ours = text.isascii() and text.isdigit() and len(text.lstrip("0")) <= DIGITS_MAX
    return int(text) if ours else text
