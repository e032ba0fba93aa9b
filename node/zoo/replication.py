"""Bugs of log replication."""

from __future__ import annotations

from node.zoo.bug import Bug

ROWS: tuple[Bug, ...] = ()
