"""Errors that a person is meant to read: the value, the name and the next step. Each carries the exit code it ends
the command with.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_USAGE = 64
EXIT_HARNESS = 70
EXIT_INTERRUPTED = 130
EXIT_CODES = {"valid": 0, "invalid": 1, "unknown": 2}
"""The exit code of each verdict (design, section 4)."""


class CapsizeError(Exception):
    """Shown without a traceback; ``exit_code`` ends the command."""

    exit_code = EXIT_HARNESS


class UsageError(CapsizeError):
    """Something that the user wrote cannot be done as written."""

    exit_code = EXIT_USAGE


class HarnessError(CapsizeError):
    """The harness or the machine failed, so that nothing could be judged."""

    exit_code = EXIT_HARNESS


def innermost(error: BaseException) -> BaseException:
    """What went wrong first, out of the groups that task groups make of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def internal_error(error: BaseException) -> str:
    """One line about an error that nobody expected; its own first line, as it may have many."""
    first = innermost(error)
    words = (str(first).strip().splitlines() or ["without words"])[0]
    return f"an error of Capsize itself: {type(first).__name__}: {words}"


def nearest(value: str, names: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest valid one, and all of them."""
    every = sorted(names)
    longer = [name for name in every if value and name.startswith(value)]
    close = longer or difflib.get_close_matches(value, every, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(every)}"
