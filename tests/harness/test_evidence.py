"""Evidence in a line: what a person reads in the table of proofs."""

from __future__ import annotations

from typing import Any

import pytest

from faults import FAMILIES
from harness.evidence import LINES, WORDS_MAX, told, words

SEEN: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "clock": (
        {
            "own_date": {"n3": {"before": "09:00:00.000", "after": "09:00:30.100", "jumped_s": 30.0}},
            "processes": {"n3": {"7": {"shift_ns": 30_000_000_000}}},
        },
        {
            "own_date": {"n3": {"before": "09:00:32.000", "after": "09:00:02.000", "jumped_s": -30.1}},
            "left": {"n3": {"7": {"realtime_ns": 0}}},
        },
        "n3: its own date went from 09:00:00.000 to 09:00:30.100, +30.0 s; its memory adds n3: 30 s",
        "n3: its own date went from 09:00:32 to 09:00:02, -30 s; its memory adds 0 s",
    ),
    "disk": (
        {"probes": {"n1": {"fsync": {"took_ms": 0.2, "error": "EIO"}}}},
        {
            "disks": {"n1": {"node_operations_hit": 2, "probes": {"fsync": {"took_ms": 0.31}}}},
            "started": ["n1"],
        },
        "n1: our fsync fails: EIO",
        "n1: it hit 2 fsync of the node itself; ours work again (fsync 0.3 ms); started again: n1",
    ),
    "partition": (
        {"blocked": [["n1", "n2"]], "means": ["iptables"], "in_force_ms": 47.81},
        {"open": [["n1", "n2"]]},
        "probes no longer arrive on n1>n2, all others do; iptables, in force in 47.8 ms",
        "probes arrive on all 1 of them again",
    ),
    "power": (
        {"marks": {"n1": {"synced_kept": True, "unsynced_lost": True}}},
        {"state": {"n1": "running"}, "pid": {"n1": [5]}},
        "n1: dead; of two marks on its disk the synced one is there, the unsynced one is gone",
        "n1: running, process 5 is new",
    ),
}
"""Evidence of the bite and of the healing, and the lines that are made of them."""


def row(family: str, bit: dict[str, Any], healed: dict[str, Any], *, holds: bool = True) -> dict[str, Any]:
    return {
        "family": family,
        "targets": ["n1"],
        "resolved": {"rule": {"operations": ["fsync"]}},
        "bit": {"holds": holds, "evidence": bit},
        "healed": {"holds": holds, "evidence": healed},
    }


@pytest.mark.parametrize("family", SEEN)
def test_a_line_says_what_was_seen_of_whom(family: str) -> None:
    """With the numbers."""
    bit, healed, bit_line, healed_line = SEEN[family]
    assert told(row(family, bit, healed), "bit") == bit_line
    assert told(row(family, bit, healed), "healed") == healed_line


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_lines_and_bears_other_evidence(family: str) -> None:
    """What does not hold, or looks otherwise, is shown as it stands, never hidden."""
    assert set(LINES[family]) == {"bit", "healed"}
    other = row(family, {"reason": "no answer"}, {"reason": "no answer"})
    failed = row(family, {"reason": "no answer"}, {"reason": "no answer"}, holds=False)
    assert {told(each, deed) for each in (other, failed) for deed in ("bit", "healed")} == {"reason no answer"}
    assert told({**other, "healed": None}, "healed") == ""


def test_words_are_short() -> None:
    """However much evidence there is."""
    assert len(words({"links": {f"n{number}": list(range(100)) for number in range(100)}})) <= WORDS_MAX
    assert words({"errors": [], "left": {}, "means": "netem"}) == "means netem"
    assert words({"state": {"n1": "running", "n2": "running"}, "ms": 1.23456}) == "state n1+n2: running; ms 1.235"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ('{"level":"fatal","msg":"discovery failed","error":"crc mismatch","stacktrace":"a\\nb"}', "crc mismatch"),
        ("panic: page 7 already freed\n\ngoroutine 1", "page 7 already freed"),
        ("CRITICAL n1 wal/1.wal: bad record at offset 5: damaged. Refusing", "bad record at offset 5: damaged"),
        ("killed", "killed"),
    ],
)
def test_last_words_are_the_cause(said: str, cause: str) -> None:
    """Not where in the program it was found."""
    healed = {"state": {"n1": "dead"}, "last_words": {"n1": said}}
    assert told(row("rot", {}, healed), "healed") == f"n1: it refused: {cause}; n1: now dead"
