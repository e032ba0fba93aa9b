"""One row of the zoo."""

from __future__ import annotations

from dataclasses import dataclass, field

from node.parts import Parts


@dataclass(frozen=True, kw_only=True)
class Bug:
    """What it is, where it was published, and what replaces the correct part. An override is one small method, whose
    class says in its docstring what is wrong and where that was published.
    """

    name: str
    row: str
    """Its number in the list of published bugs: E1, P3, ..."""
    what: str
    """What is wrong, in one sentence."""
    provoked_by: str
    observer: str
    """Who is to see it: LIN, DUR, INV, CONV, LIVE, CRASH, or several with commas."""
    source: str
    """Where it happened in public."""
    parts: Parts = field(default_factory=Parts)
