"""What a simulation exists to raise."""

from __future__ import annotations


class Violation(AssertionError):  # noqa: N818
    """An invariant is broken; the message names it."""
