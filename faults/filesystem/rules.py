"""What is to happen to which operations: rules, and the counting that decides.

A rule names operations and a pattern of paths, and what becomes of an operation that it matches: it waits, fails, does
a part, or is the node's last one. Everything random comes from one seeded stream.

The harness's own probes are files at the root of the mount (:data:`PROBE`), beside the node's folder: a probe meets
every rule for its operation whatever the rule's path and probability, except for crashes, and is counted apart. Nothing
else at the root meets any rule.
"""

from __future__ import annotations

import errno
import fnmatch
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

DATA = "data"
"""The node's folder, below the root."""
PROBE = "probe-"
"""What the names of the harness's probes begin with."""
HEAL = "heal"
"""A folder at the root; who removes it (and it stays) ends all rules: a bare process can do that."""

READING = ("read", "open", "list", "stat")
WRITING = (
    "write",
    "fsync",
    "truncate",
    "allocate",
    "create",
    "unlink",
    "rename",
    "link",
    "mkdir",
    "rmdir",
    "attributes",
)
OPERATIONS = (*READING, *WRITING)
"""What a rule can name: system calls as the kernel hands them on. ``fsync`` is fdatasync(2) and the sync of a folder,
too; ``open`` is that of a file that exists, ``create`` of one that does not.
"""

ACTIONS = ("wait", "fail", "fill", "short", "crash")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule; all of it is plain JSON. ``action``: ``wait`` does nothing but wait; ``fail`` answers with ``error``;
    ``fill`` answers ENOSPC to what needs room; ``short`` writes a part and says so; ``crash`` kills the caller's tree.
    """

    operations: Sequence[str]
    path: str = "*"
    """A pattern (fnmatch(3)) of the path below the node's folder, or of the last name in it if it has no slash."""
    probability: float = 1.0
    action: str = "wait"
    delay_s: float = 0.0
    """Before anything else."""
    error: int = errno.EIO
    number: int = 1
    """Of a crash: which of the matching operations, counted from when the rule was laid down."""
    side: str = "before"
    """Of a crash: whether the operation has taken effect: ``before`` or ``after`` it has, or ``torn``: a part, of the
    first that has parts.
    """
    power: bool = False
    """Of a crash: whether what is not synced is lost."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of a rule: operations that fitted it, those of them that it hit, and probes that it hit."""

    matched: int = 0
    hit: int = 0
    probed: int = 0


@dataclass(slots=True)
class Fate:
    """What is to happen to one operation."""

    delay_s: float = 0.0
    error: int | None = None
    short: bool = False
    crash: Rule | None = None


@dataclass(slots=True)
class Rules:
    """The rules in force, in their order: delays add up, of the rest the first counts. Each set has an owner."""

    random: Random
    sets: dict[str, list[tuple[Rule, Tally]]] = field(default_factory=dict)

    def replace(self, owner: str, rules: Sequence[Mapping[str, Any]]) -> None:
        """Other rules of this owner from now on, with new counts.

        Raises:
            TypeError, ValueError: one is none.
        """
        made = [Rule(**rule) for rule in rules]
        for rule in made:
            unknown = sorted(set(rule.operations) - set(OPERATIONS))
            if unknown or rule.action not in ACTIONS:
                raise ValueError(f"not an operation or action: {', '.join([*unknown, rule.action])}")
        self.sets[owner] = [(rule, Tally()) for rule in made]
        if not made:
            del self.sets[owner]

    def clear(self) -> None:
        """None from now on."""
        self.sets.clear()

    def tallies(self) -> dict[str, list[dict[str, int]]]:
        """The counts by owner, in the order of the rules."""
        return {owner: [asdict(tally) for _, tally in rules] for owner, rules in self.sets.items()}

    def decide(self, operation: str, path: str, *, grows: bool = False, splits: bool = False) -> Fate | None:
        """The fate of an operation on a path below the root; None if nothing is to happen to it. It ``grows`` if it
        needs room, and ``splits`` if it is a write over the boundary of a sector.
        """
        folder, _, name = path.partition("/")
        probe = folder.startswith(PROBE)
        if not probe and folder != DATA:
            return None
        fate: Fate | None = None
        for rule, tally in itertools.chain.from_iterable(self.sets.values()):
            if operation in rule.operations and self._hits(
                rule, tally, name, probe=probe, fits=_fits(rule, grows=grows, splits=splits)
            ):
                fate = fate or Fate()
                fate.delay_s += rule.delay_s
                if fate.error is None and fate.crash is None and not fate.short:
                    _decide(fate, rule)
        return fate

    def _hits(self, rule: Rule, tally: Tally, name: str, *, probe: bool, fits: bool) -> bool:
        if not fits:
            return False
        if probe:
            tally.probed += rule.action != "crash"
            return rule.action != "crash"
        if not matches(rule.path, name):
            return False
        tally.matched += 1
        if rule.action == "crash":
            hits = tally.matched == rule.number
        else:
            hits = rule.probability >= 1 or self.random.random() < rule.probability
        tally.hit += hits
        return hits


def matches(pattern: str, name: str) -> bool:
    """Whether a path below the node's folder fits a pattern."""
    return fnmatch.fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], pattern)


def _fits(rule: Rule, *, grows: bool, splits: bool) -> bool:
    """A full disk refuses what needs room; only a write of more than one sector can be torn."""
    return (rule.action != "fill" or grows) and (rule.side != "torn" or splits)


def _decide(fate: Fate, rule: Rule) -> None:
    match rule.action:
        case "fail":
            fate.error = rule.error
        case "fill":
            fate.error = errno.ENOSPC
        case "short":
            fate.short = True
        case "crash":
            fate.crash = rule
