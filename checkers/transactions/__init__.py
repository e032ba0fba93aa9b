"""Transactions of many reads and writes, judged by dependency graphs: list-append and rw-register.

Method: Kingsbury & Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations" (VLDB 2020), on Adya's
phenomena ("Weak Consistency", 1999). Every written value is new, so a read names the transaction that wrote what it
saw; what follows from the reads about the order of versions gives edges between transactions, and a cycle of edges is
an anomaly with a name. Where the question is whether any serial order exists at all, what the graph leaves open is
searched, so that a verdict of ``valid`` has an order behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from checkers.transactions.judgement import REGISTER_SETTINGS, SETTINGS, judge_lists, judge_registers
from checkers.transactions.witness import order_lists, order_registers
from checkers.verdict import Result

__all__ = ["TRANSACTIONS", "TransactionCheck"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TransactionCheck:
    """``check(history, settings, consistency_model=..., initial=..., null_read=..., budget=...)``; ``order(history,
    consistency_model=..., initial=..., null_read=..., budget=...)`` gives a serial order as rows, replayed, or none if
    none was found. ``settings``: what each does."""

    check: Callable[..., Result]
    order: Callable[..., tuple[int, ...] | None]
    summary: str
    settings: Mapping[str, str]


TRANSACTIONS: Mapping[str, TransactionCheck] = {
    "list-append": TransactionCheck(
        check=judge_lists,
        order=order_lists,
        summary="transactions that append to lists and read them: anomalies by dependency graphs, exact",
        settings=SETTINGS,
    ),
    "rw-register": TransactionCheck(
        check=judge_registers,
        order=order_registers,
        summary="transactions that read and write registers: anomalies by dependency graphs, then a search",
        settings=REGISTER_SETTINGS,
    ),
}
"""Kinds of transactions by the name that users say."""
