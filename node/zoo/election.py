"""Bugs of leader election."""

from __future__ import annotations

from node.zoo.bug import Bug

ROWS: tuple[Bug, ...] = ()
