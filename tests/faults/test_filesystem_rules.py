"""Which operations meet which rule."""

from __future__ import annotations

import errno
from random import Random
from typing import Any

import pytest

from faults.filesystem.rules import Fate, Rules, matches


def rules(*said: dict[str, Any]) -> Rules:
    made = Rules(Random(7))
    made.replace("test", said)
    return made


def fate(made: Rules, operation: str, path: str, **how: bool) -> Fate | None:
    return made.decide(operation, f"data/{path}", **how)


def test_a_pattern_without_a_slash_is_about_the_last_name() -> None:
    """With one, about the whole path below the node's folder."""
    assert matches("*.wal", "member/wal/0.wal")
    assert not matches("wal/*", "member/wal/0.wal")
    assert matches("*/wal/*", "member/wal/0.wal")
    assert matches("*", "")


def test_a_crash_is_at_the_nth_that_fits_and_only_there() -> None:
    """Counted from when the rule was laid down; other files do not count."""
    made = rules({"operations": ["fsync"], "path": "*.wal", "action": "crash", "number": 2})
    fates = [fate(made, "fsync", path) for path in ("1.wal", "1.tmp", "2.wal", "3.wal")]
    assert [each is not None and each.crash is not None for each in fates] == [False, False, True, False]
    assert made.tallies() == {"test": [{"matched": 3, "hit": 1, "probed": 0}]}


def test_delays_add_up_and_the_first_deed_counts() -> None:
    """Of several owners."""
    made = rules(
        {"operations": ["write"], "delay_s": 0.5},
        {"operations": ["write"], "action": "fail", "error": errno.EROFS, "delay_s": 0.25},
    )
    made.replace("other", [{"operations": ["write"], "action": "short"}])
    assert fate(made, "write", "x") == Fate(delay_s=0.75, error=errno.EROFS)
    made.replace("test", [])
    assert fate(made, "write", "x") == Fate(short=True)
    made.clear()
    assert fate(made, "write", "x") is None


def test_a_full_disk_refuses_only_what_needs_room() -> None:
    """Overwriting does not."""
    made = rules({"operations": ["write"], "action": "fill"})
    assert fate(made, "write", "x", grows=True) == Fate(error=errno.ENOSPC)
    assert fate(made, "write", "x") is None


def test_only_a_write_over_a_boundary_is_torn() -> None:
    """The others do not count."""
    made = rules({"operations": ["write"], "action": "crash", "side": "torn"})
    assert fate(made, "write", "x") is None
    assert fate(made, "write", "x", splits=True) is not None


def test_probability_is_drawn_from_the_seed() -> None:
    """The same seed hits the same operations, about as many as asked."""
    said = {"operations": ["read"], "action": "fail", "probability": 0.2}
    hits = [[fate(made, "read", "x") is not None for _ in range(1000)] for made in (rules(said), rules(said))]
    assert hits[0] == hits[1]
    assert 150 < sum(hits[0]) < 250


def test_probes_meet_every_rule_but_crashes() -> None:
    """Whatever its path and probability; nothing else at the root meets any."""
    made = rules(
        {"operations": ["write"], "path": "nobody", "probability": 1e-9, "action": "fail"},
        {"operations": ["write"], "action": "crash"},
    )
    assert made.decide("write", "probe-write") == Fate(error=errno.EIO)
    assert made.decide("write", "synced-mark") is None
    assert made.tallies()["test"] == [
        {"matched": 0, "hit": 0, "probed": 1},
        {"matched": 0, "hit": 0, "probed": 0},
    ]


@pytest.mark.parametrize("wrong", [{"operations": ["sync"]}, {"operations": ["read"], "action": "explode"}])
def test_a_rule_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    """Instead of never hitting."""
    with pytest.raises(ValueError, match=r"sync|explode"):
        rules(wrong)
