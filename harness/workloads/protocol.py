"""A workload: what clients do, what it means, and who judges it. One file each, one line in ``WORKLOADS``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol, get_args

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from checkers.history import FAIL, OK, Column, History
from checkers.verdict import Result
from harness.errors import UsageError
from harness.generators import Generator

TXN, TXN_READ = "txn", "r"
"""The function of transactions, and the kind of their steps that read."""
WORKERS_MAX = 10_000
_CONCURRENCY = re.compile(r"([1-9][0-9]{0,4})(n?)")


def _check_concurrency(value: int | str) -> int | str:
    if _CONCURRENCY.fullmatch(str(value)) is None:
        raise ValueError(f"{value!r} is not a number of clients; write a number, or 2n for two a node")
    return value


Concurrency = Annotated[int | str, AfterValidator(_check_concurrency)]
"""A number of workers, or ``"2n"``: so many for each node."""


class LoadParameters(BaseModel):
    """What every workload can be asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rate: float = Field(default=500, gt=0, le=1_000_000)
    """Operations a second, all workers together."""
    concurrency: Concurrency = "2n"
    """Workers: concurrent clients."""


Reads = Literal["leader", "linearizable", "lease", "local"]
"""How reads are made sure of: by the leader, which asks a majority; through any node; by the leader without asking, as
long as its lease lasts; or not at all (whatever the node has: known weak, a control that must be found invalid).
"""

READS: Sequence[str] = get_args(Reads)


class ReadParameters(LoadParameters):
    """What workloads that read can be asked for besides."""

    reads: Reads = "leader"
    """How reads are made sure of, where a system has several ways; ``local`` is known weak: stale reads are allowed
    there, and found.
    """


def workers_of(concurrency: int | str, *, nodes: int) -> int:
    """The number of workers that a concurrency comes to.

    Raises:
        UsageError: more than :data:`WORKERS_MAX`.
    """
    match = _CONCURRENCY.fullmatch(str(concurrency))
    assert match is not None  # validated on load
    workers = int(match[1]) * (nodes if match[2] else 1)
    if workers > WORKERS_MAX:
        problem = f"concurrency {concurrency!r}: {workers} workers are more than {WORKERS_MAX}"
        raise UsageError(f"{problem}; lower it, or run several at once")
    return workers


class Workload(Protocol):
    """Pure: no method does I/O, reads a clock or draws from a random source but the seed it is given."""

    @property
    def name(self) -> str:
        """What scenarios call it."""

    @property
    def title(self) -> str:
        """One line for tables and pages."""

    @property
    def functions(self) -> Sequence[str]:
        """The operations (``f``) that it asks clients for."""

    @property
    def Parameters(self) -> type[BaseModel]:  # noqa: N802 (a class)
        """What a scenario may say under ``workload``."""

    def workers(self, parameters: Any, *, nodes: int) -> int:
        """How many workers it wants with so many nodes."""

    def generator(self, parameters: Any, *, seed: int, workers: int, nodes: Sequence[str], time_ns: int) -> Generator:
        """The load. ``workers`` are pinned to ``nodes`` in turn: worker w to node w modulo their number."""

    def final_generator(self, parameters: Any, *, workers: int, nodes: Sequence[str]) -> Generator:
        """The final operations, once everything is healed: a change through every node, then reads. Bounded in
        operations; the caller bounds its time.
        """

    @property
    def changing(self) -> Sequence[str]:
        """The functions that change something (:func:`is_change`): a read shows no progress."""

    @property
    def model(self) -> str:
        """The check (a name of ``checkers.checking.CHECKS``) that judges it: with its default options it is also what
        judges the run while it goes on, if it is one that :func:`checkers.streaming.streams`."""

    def check(self, history: History, parameters: Any) -> Result:
        """Judges a history."""

    def unread(self, history: History) -> tuple[int, int]:
        """How many of the things that were changed no final read showed, and of how many."""


def is_change(changing: Sequence[str], f: str, value: Any) -> bool:
    """Whether an operation changes something if it takes effect. A transaction that only reads does not."""
    return f in changing and (f != TXN or any(step[0] != TXN_READ for step in value))


def changes(history: History, changing: Sequence[str]) -> Column:
    """A mask of the operations that change something if they take effect."""
    found: Column = np.isin(history.f, [history.function(name) for name in changing])
    if TXN in changing:
        values = history.values.values
        writing = np.array([isinstance(value, tuple) and any(map(_writes, value)) for value in values], bool)
        found &= writing[history.value]
    return found


def _writes(step: Any) -> bool:
    return isinstance(step, tuple) and bool(step) and step[0] != TXN_READ


def unread_keys(history: History, *changes: str, reads: str = "read") -> tuple[int, int]:
    """How many keys that one of the functions ``changes`` may have changed no final read showed, and of how many."""
    changing = np.isin(history.f, [history.function(name) for name in changes])
    written = np.unique(history.key[changing & (history.outcome != FAIL)])
    final = history.final.astype(bool) & (history.outcome == OK) & (history.f == history.function(reads))
    return int(np.setdiff1d(written, history.key[final]).size), int(written.size)
