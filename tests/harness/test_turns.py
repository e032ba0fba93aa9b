"""Injections that need a node's processes take turns there, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from faults import FAMILIES
from harness.fakes import VirtualLoop, run_virtual
from harness.nemesis.turns import Turns


@pytest.mark.parametrize(
    ("second", "waits"), [("clock", True), ("kill", True), ("partition", False), ("network", False)]
)
def test_only_who_needs_the_processes_waits(second: str, waits: bool) -> None:
    """A kill of two nodes is under way for three seconds; a fault at one of them comes then."""

    async def main(loop: VirtualLoop) -> float:
        turns = Turns()

        async def kill() -> None:
            async with turns.turn(FAMILIES["kill"], ["n2", "n1"]):
                await asyncio.sleep(3)

        killing = asyncio.ensure_future(kill())
        await asyncio.sleep(1)
        async with turns.turn(FAMILIES[second], ["n1"]):
            began = loop.time()
        await killing
        return began

    assert run_virtual(main) == (3 if waits else 1)


def test_crossing_targets_do_not_lock_up() -> None:
    """Two faults that name the same nodes in another order, again and again."""

    async def main(loop: VirtualLoop) -> int:
        del loop
        turns, done = Turns(), 0

        async def hit(names: list[str]) -> None:
            nonlocal done
            for _ in range(20):
                async with turns.turn(FAMILIES["power"], names):
                    await asyncio.sleep(0.01)
                    done += 1

        await asyncio.gather(hit(["n1", "n2", "n3"]), hit(["n3", "n2", "n1"]), hit(["n2", "n1"]))
        return done

    assert run_virtual(main) == 60
