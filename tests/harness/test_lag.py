"""The controller notices when it was starved, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from harness.fakes import VirtualLoop, run_virtual
from harness.host.lag import LagMonitor


def stall(loop: VirtualLoop, s: float) -> None:
    """A callback that holds the loop: time goes on and nothing runs."""
    loop.advance(s)


def measured(stalls: dict[float, float], for_s: float = 10.0) -> LagMonitor:
    """A monitor that watched a loop which was held at some times for so long."""

    async def main(loop: VirtualLoop) -> LagMonitor:
        monitor = LagMonitor()
        monitor.start()
        for at_s, s in stalls.items():
            loop.call_later(at_s, stall, loop, s)
        await asyncio.sleep(for_s)
        monitor.stop()
        monitor.stop()
        return monitor

    return run_virtual(main)


def test_an_idle_loop_does_not_lag() -> None:
    """Nothing is measured where nothing is late."""
    monitor = measured({})
    assert monitor.to_json() == {
        "controller_max_ms": pytest.approx(0, abs=0.2),
        "controller_p99_ms": pytest.approx(0, abs=0.2),
    }
    assert not monitor.starved(1.0)


def test_the_worst_lag_is_kept() -> None:
    """A stall of 700 ms once in 10 s is the maximum, and not the 99th percentile."""
    monitor = measured({3.001: 0.7})
    assert monitor.max_ms == pytest.approx(700, abs=21)
    assert monitor.p99_ms < 1
    assert monitor.starved(500)
    assert not monitor.starved(800)


def test_what_is_often_late_shows_in_the_percentile() -> None:
    """Stalls of 100 ms every 500 ms are more than one lag in a hundred."""
    monitor = measured({0.001 + 0.5 * place: 0.1 for place in range(20)})
    assert monitor.p99_ms == pytest.approx(90, abs=15)


def test_a_stall_at_the_end_counts() -> None:
    """A loop that is held until the monitor is stopped was still late."""

    async def main(loop: VirtualLoop) -> LagMonitor:
        monitor = LagMonitor()
        monitor.start()
        await asyncio.sleep(1)
        loop.advance(2.0)
        monitor.stop()
        return monitor

    assert run_virtual(main).max_ms == pytest.approx(2000, abs=25)
