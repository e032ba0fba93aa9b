"""What can be done to nodes on this machine: one probe for each ability that needs more than to be root in a namespace.

Substrates whose nodes run on this machine share it. A probe answers why not (with the next step), or None, in
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.substrates import clocks, disks, files, limits, shaping
from harness.substrates.protocol import ABILITIES


def _not_built() -> str | None:
    return "not built yet"


PROBES: Mapping[str, Callable[[], str | None]] = {
    "network": shaping.why_refused,
    "clock": clocks.why_refused,
    "power": disks.why_refused,
    "disk": files.why_refused,
    "resource": limits.why_refused,
}
"""By ability; what is not here needs nothing beyond the substrate itself."""


def refused_here(abilities: frozenset[str] = ABILITIES) -> Mapping[str, str]:
    """Of these abilities, those that this machine does not have, each with the reason."""
    reasons = {ability: PROBES[ability]() for ability in sorted(abilities) if ability in PROBES}
    return {ability: reason for ability, reason in reasons.items() if reason is not None}
