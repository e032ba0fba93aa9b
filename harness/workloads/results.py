"""Several checks of one history, as one result."""

from __future__ import annotations

from checkers import Result


def joined(first: Result, *others: Result) -> Result:
    """The findings of all, those of the first in front; the figures of the others under the names of their checks."""
    findings = (*first.findings, *(finding for other in others for finding in other.findings))
    figures = {other.checker: other.statistics for other in others}
    return Result(checker=first.checker, findings=findings, statistics={**first.statistics, **figures})
