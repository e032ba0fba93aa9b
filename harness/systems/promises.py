"""What a system promises to survive, fault family by fault family, and up to which bound (design, section 6).

Faults beyond it may be injected; what they provoke is told, but is nobody's failure. A system's own table lies beside
it; :mod:`harness.weighing` holds findings against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One fault as it was executed, as far as a promise looks at it."""

    resolved: Mapping[str, Any]
    """Everything about it, as in ``schedule.jsonl``."""
    targets: Sequence[str]
    nodes: Sequence[str]
    """Every node of the cluster."""
    damaged: frozenset[str] = frozenset()
    """Whose synced data was destroyed since the run began, by this fault and those before it."""
    beside: tuple[Hit, ...] = ()
    """Faults of the same family that were in force when it began."""
    reads: str | None = None
    """How the load made sure of its reads, if it says so: a promise may be smaller for those that rest on clocks."""


def whatever(hit: Hit) -> bool:
    """A promise without a bound."""
    del hit
    return True


def always(resolved: Mapping[str, Any]) -> bool:
    """After every fault of the family."""
    del resolved
    return True


def reported_errors(resolved: Mapping[str, Any]) -> bool:
    """After faults of a disk that make system calls fail: a slow disk, or a death at a fail point (with a torn write,
    too, the power is gone before anybody is told), is no reason.
    """
    return resolved.get("kind") not in ("slow", "crash", "torn-write")


def more_than_slow(resolved: Mapping[str, Any]) -> bool:
    """After a lack of memory, files or room: who has less of a processor is slow, and that is no reason."""
    return not resolved or not {"memory", "files", "disk"}.isdisjoint(resolved)


def minority_failing(hit: Hit) -> bool:
    """The disks of less than half of the nodes report errors at a time; how slow they are is no matter."""
    failing = [each for each in (hit, *hit.beside) if reported_errors(each.resolved)]
    few = len({name for each in failing for name in each.targets}) * 2 < len(hit.nodes)
    return few or not reported_errors(hit.resolved)


def minority_damaged(hit: Hit) -> bool:
    """Less than half of the nodes have lost data, over the whole run."""
    return len(hit.damaged | set(hit.targets)) * 2 < len(hit.nodes)


@dataclass(frozen=True, kw_only=True, slots=True)
class MayStop:
    """A node may stop itself, or refuse to start, under a fault or after it; ``why`` that is right."""

    why: str
    statuses: frozenset[int] | None = None
    """Exit statuses that say so; None if it has none of its own for that."""
    kinds: frozenset[str] = frozenset({"CRASH"})
    """Kinds of findings that are nothing but its way to stop."""
    when: Callable[[Mapping[str, Any]], bool] = always
    """After which of the family's faults, as they were resolved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """About one family: it stays correct, and serves again when all is healed."""

    words: str
    """What exactly, up to which bound."""
    covers: Callable[[Hit], bool] = whatever
    may_stop: MayStop | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Promises(Mapping[str, Promise]):
    """By family. About a family that is not here nothing is promised."""

    table: Mapping[str, Promise]
    one_way_progress: bool = False
    """Whether it serves while a minority is cut off in one direction only."""

    def __getitem__(self, family: str) -> Promise:
        """The promise about a family."""
        return self.table[family]

    def __iter__(self) -> Iterator[str]:
        """The families, in the order of the table."""
        return iter(self.table)

    def __len__(self) -> int:
        """How many families there is a promise about."""
        return len(self.table)
