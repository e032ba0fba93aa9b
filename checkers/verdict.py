"""Verdicts and findings: the vocabulary in which every checker answers.

Three verdicts, ordered ``invalid > unknown > valid``: the worst wins, and unknown never passes for valid. A finding
says what is wrong *and whose fault it is*; only a finding against the system under test makes a verdict invalid
(design, section 6).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.operation import Operation


class Validity(enum.StrEnum):
    """The three verdicts."""

    VALID = "valid"
    UNKNOWN = "unknown"
    INVALID = "invalid"


_ORDER = (Validity.VALID, Validity.UNKNOWN, Validity.INVALID)


def worst(validities: Iterable[Validity]) -> Validity:
    """The worst of several verdicts; valid when there are none."""
    return max(validities, key=_ORDER.index, default=Validity.VALID)


class Blame(enum.StrEnum):
    """Whose fault a finding is."""

    SYSTEM = "system under test"
    BEYOND_PROMISE = "beyond promise"
    HARNESS = "harness"
    MACHINE = "machine"
    GAVE_UP = "checker gave up"


_VALIDITY_OF_BLAME: Mapping[Blame, Validity] = {
    Blame.SYSTEM: Validity.INVALID,
    Blame.BEYOND_PROMISE: Validity.VALID,
    Blame.HARNESS: Validity.UNKNOWN,
    Blame.MACHINE: Validity.UNKNOWN,
    Blame.GAVE_UP: Validity.UNKNOWN,
}


LINEARIZABILITY = "linearizability"
"""The checker that findings of the deciders and of the search name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong, small enough to be understood by itself.

    ``operations`` is the smallest set of client operations that is already impossible (empty for findings that come
    from traces or logs); ``time_ns`` is the run time at which the finding was provable; ``evidence`` is plain JSON
    for pages and tools.
    """

    checker: str
    kind: str
    message: str
    blame: Blame = Blame.SYSTEM
    key: Any = None
    operations: tuple[Operation, ...] = ()
    nodes: tuple[str, ...] = ()
    time_ns: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What one checker says: its findings and the figures it counted (plain JSON)."""

    checker: str
    findings: tuple[Finding, ...] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def validity(self) -> Validity:
        """The worst that any finding implies."""
        return worst(_VALIDITY_OF_BLAME[finding.blame] for finding in self.findings)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """All results of a run and what they come to."""

    results: tuple[Result, ...] = ()

    @property
    def validity(self) -> Validity:
        """The worst result."""
        return worst(result.validity for result in self.results)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding, worst first, in the order of the results."""
        every = [finding for result in self.results for finding in result.findings]
        return tuple(sorted(every, key=lambda finding: -_ORDER.index(_VALIDITY_OF_BLAME[finding.blame])))
