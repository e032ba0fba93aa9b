"""Bugs of committing, and of telling clients what was committed."""

from __future__ import annotations

from node.zoo.bug import Bug

ROWS: tuple[Bug, ...] = ()
