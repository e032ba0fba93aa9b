"""One good example of each fault family's parameters, as a scenario writes them: what `capsize faults --prove` injects,
what docs/faults.md shows, and what tests load.
"""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, str] = {
    "kill": "{target: leader}",
    "pause": "{target: leader}",
    "partition": "{shape: isolate, target: leader, direction: both}",
    "network": "{target: one, delay: 50ms, jitter: 10ms}",
    "clock": "{target: one, jump: 30s}",
    "power": "{target: one}",
    "disk": "{target: one, kind: slow, delay: 20ms}",
    "rot": "{target: one, kind: flip}",
    "resource": "{target: one, cpu: 10%}",
    "membership": "{how: remove, target: one}",
    "leadership": "{how: transfer}",
    "message": "{target: one, type: all, action: delay, delay: 50ms}",
}
"""By family; parameters as YAML."""


def entry(family: str, *, at: str = "5s", lasts: str = "3s") -> str:
    """A line of a scenario's ``faults`` with the family's example."""
    return f"{{at: {at}, for: {lasts}, {family}: {EXAMPLES[family]}}}"
