"""What a violation leads to while the load goes on: stop, freeze or nothing; in the load and in the final reads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, cast

import orjson
import pytest

from harness.fake_store import StoreSystem
from harness.fakes import VirtualLoop, run_virtual
from harness.live import LiveCheck
from harness.load import Load
from tests.harness.test_freezing import SECOND, SEEN, STOPPED, Lab


@dataclass(slots=True, kw_only=True)
class SuspiciousCheck(LiveCheck):
    """Sees a violation in the n-th event of the load, or of the final reads."""

    at: int
    final: bool = False
    seen: int = 0

    def feed(self, events: list[Mapping[str, Any]]) -> None:
        """Counts."""
        self.seen += sum(bool(event.get("final")) == self.final and event["process"] != "nemesis" for event in events)
        if self.seen >= self.at and self.violation is None:
            self.violation = SEEN
            self.verdict = "invalid (stale read)"
            self._found.set()


class Session:
    """Clients of registers in memory. Nobody leads."""

    def __init__(self) -> None:
        self.client = StoreSystem(random=Random(1)).client

    async def status(self, node: str) -> None:
        """Says nothing."""


def load_of(lab: Lab, wanted: str, **suspicion: Any) -> Load:
    """A load of two seconds, and what is wanted at a violation."""
    head = lab.run.scenario.head
    limit = head.freeze_limit if wanted == "freeze" else None
    changed = head.model_copy(update={"on_violation": wanted, "freeze_limit": limit, "time": 2 * SECOND})
    lab.run.scenario = replace(lab.run.scenario, head=changed)
    live = SuspiciousCheck(history=lab.folder.history, model="cas-register", log=Path(), run_id="r", **suspicion)
    return Load(
        run=lab.run,
        session=cast(Any, Session()),
        recorder=lab.recorder,
        nemesis=lab.nemesis,
        freezer=lab.freezer,
        live=live,
    )


def played(tmp_path: Path, wanted: str, **suspicion: Any) -> tuple[Lab, Load, float]:
    """A load and its final reads; how long both took, in seconds."""
    kept: list[Any] = []

    async def main(loop: VirtualLoop) -> None:
        lab = Lab(tmp_path, loop)
        load = load_of(lab, wanted, **suspicion)
        kept.extend((lab, load))
        await load.under_faults()
        await load.final_reads()
        kept.append(loop.time())
        lab.close()

    run_virtual(main)
    return kept[0], kept[1], kept[2]


def test_without_a_violation_nothing_happens(tmp_path: Path) -> None:
    """The load lasts as long as it should."""
    _, load, took_s = played(tmp_path, "freeze", at=10**9)
    assert 2 <= took_s < 5
    assert load.reported_ns is None


def test_continue_only_tells(tmp_path: Path) -> None:
    """The load goes on to its end."""
    lab, load, took_s = played(tmp_path, "continue", at=50)
    assert took_s >= 2
    assert load.reported_ns is not None
    assert load.reported_ns < SECOND
    assert "violation seen" in (tmp_path / "said").read_text()
    assert "freeze" not in lab.run.record.facts


def test_stop_ends_the_load(tmp_path: Path) -> None:
    """Long before its time."""
    _, load, took_s = played(tmp_path, "stop", at=50)
    assert took_s < 2
    assert load.to_json()["live_violation"]["reported_ns"] == load.reported_ns


@pytest.mark.parametrize("final", [False, True])
def test_freeze_waits_in_the_load_and_in_the_final_reads(final: bool, tmp_path: Path) -> None:
    """The limit passes; no operation begins meanwhile; final reads that were cut off are made again."""
    lab, load, took_s = played(tmp_path, "freeze", at=5, final=final)
    facts = lab.facts()
    assert facts["resumed_by"] == "limit"
    assert took_s >= 60
    invoked = [event["time"] for event in _events(lab) if event["type"] == "invoke" and event["process"] != "nemesis"]
    assert not [time for time in invoked if facts["paused_ns"] < time < facts["resumed_ns"]]
    read = {event["key"] for event in _events(lab) if event.get("final") and event["type"] == "ok"}
    after = {event["key"] for event in _events(lab) if event["time"] > facts["resumed_ns"] and event["type"] == "ok"}
    assert len(read) == 20 + 3, "every key, and what each of the three nodes was asked to write"
    assert after == read, "every key is read once more after the freeze"
    assert load.statistics["final-reads"]["invoked"] >= 20


def test_an_interrupt_ends_a_freeze(tmp_path: Path) -> None:
    """Ctrl-C while all stand still: at once, and the load is over."""
    kept: list[Any] = []

    async def main(loop: VirtualLoop) -> None:
        lab = Lab(tmp_path, loop)
        load = load_of(lab, "freeze", at=5)
        states: list[Any] = []
        lab.at(5.0, lambda: states.extend(lab.cluster.states()))
        lab.at(10.0, lab.stop.set)
        await asyncio.wait_for(load.under_faults(), 30)
        kept.extend((lab.facts(), states, loop.time()))
        lab.close()

    run_virtual(main)
    assert kept[0]["resumed_by"] == "interrupt"
    assert kept[1] == [STOPPED] * 3
    assert 10 <= kept[2] < 12


def _events(lab: Lab) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lab.folder.history.read_bytes().splitlines()]
