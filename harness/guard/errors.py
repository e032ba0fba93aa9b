"""What a guard answers instead of doing something."""

from __future__ import annotations


class GuardError(Exception):
    """Something that was asked for cannot be done; the text says why."""
