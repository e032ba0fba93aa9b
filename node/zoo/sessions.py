"""Bugs of client sessions and locks."""

from __future__ import annotations

from node.machine import Machine, Result, Session
from node.parts import Parts
from node.zoo.bug import Bug


class DoubleApply(Machine):
    """double-apply (K1): no duplicate suppression; a retry of a write that did happen is applied a second time.

    Published as ktoso/akka-raft#64.
    """

    def _remembered(self, session: Session, sequence: int) -> Result | None:  # noqa: ARG002
        """Every write is taken for a new one."""
        return None


ROWS = (
    Bug(
        name="double-apply",
        row="K1",
        what="no duplicate suppression: a write that is retried is applied a second time",
        provoked_by="a lost reply and a retry",
        observer="LIN",
        source="ktoso/akka-raft#64",
        parts=Parts(machine=DoubleApply),
    ),
)
