"""One line of a history, as every format's reader hands it to the builder, and the error that a bad line ends in.

The struct is decoded straight from JSON by msgspec (types are checked in C). It is not tracked by the garbage
collector: a file of two million events would otherwise spend a third of its reading time in collections that find
nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

NEMESIS = "nemesis"
"""The process of fault events, which are no operations."""


Whole = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""A number that columns can hold, with room for sums."""


PROBLEM_LIMIT = 160
"""Characters kept of what another library says of a bad event."""


class Event(msgspec.Struct, gc=False):
    """An invocation, a completion or a fault event; fields as in ``docs/formats.md``. ``time`` is in nanoseconds."""

    process: Whole | str
    type: Literal["invoke", "ok", "fail", "info"]
    f: str
    time: Whole
    value: Any = None
    key: Any = None
    error: Any = None
    node: str | None = None
    final: bool = False
    index: int | None = None
    attempts: int | None = None


def error_text(error: Any) -> str:
    """An event's ``error`` as text.

    Raises:
        TypeError: JSON cannot say it.
    """
    return error if isinstance(error, str) else msgspec.json.encode(error).decode()


class HistoryError(ValueError):
    """A history that cannot be read. Says where (file, line from 1), what was found there and what to do about it."""

    def __init__(self, source: str, line: int | None, problem: str, step: str) -> None:
        place = source if line is None else f"{source}, line {line}"
        super().__init__(f"{place}: {problem}. {step}")
        self.source = source
        self.line = line
        self.problem = problem
        self.step = step


def problem_of(error: msgspec.ValidationError) -> str:
    """What msgspec says, on one line of bounded length: it repeats the value that it refuses."""
    text = " ".join(str(error).split())
    return text if len(text) <= PROBLEM_LIMIT else f"{text[:PROBLEM_LIMIT]}... {text[-PROBLEM_LIMIT // 2 :]}"


def shorten(value: object, limit: int = 80) -> str:
    """A value for an error message: its repr, cut at ``limit`` characters, so that a value of a million is still a
    message.
    """
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep; an integer of thousands of digits
        text = f"a {type(value).__name__} beyond measure"
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
