"""The log-linear method as a decider: conflicts put in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from checkers.deciders.decision import Decision, Rows
from checkers.deciders.register.explanation import explain
from checkers.deciders.register.judgement import judge
from checkers.deciders.register.order import order
from checkers.history import History


@dataclass(frozen=True, kw_only=True)
class RegisterDecider:
    """read, write and cas of values that are written once."""

    def decide(self, history: History, *, initial: Any, null_read: str) -> Decision:
        """See :mod:`checkers.deciders.register.judgement`."""
        judgement = judge(history, initial=initial, null_read=null_read)
        findings = tuple(explain(history, conflict, initial) for conflict in judgement.conflicts)
        return Decision(findings=findings, refused=judgement.refused, deferred=judgement.deferred)

    def order(self, history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:
        """Of one accepted key or several at once; see :mod:`checkers.deciders.register.order`."""
        return order(history, rows, initial=initial, null_read=null_read)
