"""Campaigns: nothing that befalls one run, the page or the terminal takes the other runs, or their exit code, with it.

The runs here are tiny programs that leave what a run leaves.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import unattended as module
from harness.campaign import Campaign
from harness.commands.campaign import writable
from harness.errors import UsageError
from harness.planning.suite import PlannedRun, Suite

RUN = """
import json, pathlib, signal, sys, time
folder, validity, code, wait = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
folder.mkdir(parents=True, exist_ok=True)
(folder / "verdict.json").write_text(json.dumps({"validity": validity, "sentence": "as told", "results": []}))
if wait == "stubborn":
    signal.signal(signal.SIGINT, lambda *_: (folder / "first").touch() or signal.signal(signal.SIGINT, die))
def die(*_):
    (folder / "second").touch()
    sys.exit(130)
if wait == "obedient":
    signal.signal(signal.SIGINT, lambda *_: (folder / "first").touch() or sys.exit(code))
(folder / "ready").touch()
if wait != "no":
    time.sleep(60)
sys.exit(code)
"""
CODES = {"valid": 0, "invalid": 1, "unknown": 2}


@pytest.fixture(name="campaign")
def make_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Campaign, list[str]]]:
    """Makes a campaign of tiny runs: each seed ends as it is told."""

    def make(*outcomes: str, wait: str = "no", junit: Path | None = None) -> tuple[Campaign, list[str]]:
        def command(planned: PlannedRun, folder: Path, runs_root: Path) -> list[str]:
            del runs_root
            outcome = outcomes[planned.seed]
            if outcome == "unforkable":
                raise OSError(11, "Resource temporarily unavailable")
            return [sys.executable, "-S", "-c", RUN, str(folder), outcome, str(CODES[outcome]), wait]

        monkeypatch.setattr(module, "command_line", command)
        said: list[str] = []
        runs = tuple(PlannedRun(scenario="default", seed=seed) for seed in range(len(outcomes)))
        suite = Suite(name="mine", budget_ns=10**12, runs=runs)
        folder = tmp_path / "campaigns" / "mine"
        made = Campaign(
            suite=suite, runs_root=tmp_path, folder=folder, budget_s=1000, report=said.append, junit_file=junit
        )
        return made, said

    return make


Make = Callable[..., tuple[Campaign, list[str]]]


async def until(path: Path, name: str) -> None:
    """Waits for a file that a run leaves."""
    async with asyncio.timeout(30):
        while not list(path.rglob(name)):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.005)


async def test_a_run_that_cannot_be_made_takes_no_other_along(campaign: Make) -> None:
    """It is a result with its error; the rest goes on."""
    made, _ = campaign("valid", "unforkable", "valid")
    assert await made.run() == 70
    assert [result.validity for result in made.results] == ["valid", None, "valid"]
    assert "Resource temporarily unavailable" in str(made.results[1].error)
    assert len((made.folder / "results.jsonl").read_text().splitlines()) == 3


async def test_a_standing_finding_is_1_whatever_else_failed(campaign: Make) -> None:
    """Invalid comes before a run that could not be made."""
    made, _ = campaign("unforkable", "invalid", "unknown")
    assert await made.run() == 1


@pytest.mark.parametrize(("outcome", "code"), [("valid", 0), ("invalid", 1), ("unknown", 2)])
async def test_a_page_that_fails_changes_no_exit_code(
    campaign: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcome: str, code: int
) -> None:
    """Neither does a report that cannot be written; both are said, and the report is written before the page."""

    def fail(_: Path) -> Path:
        assert (made.folder / "junit.xml").exists()
        raise ZeroDivisionError("no page today")

    monkeypatch.setattr("reports.campaign.build", fail)
    made, said = campaign(outcome, junit=tmp_path / "nowhere" / "junit.xml")
    assert await made.run() == code
    assert any("no page today" in line for line in said)
    assert any("nowhere/junit.xml could not be written" in line for line in said)


async def test_the_first_interruption_ends_the_run_early_and_keeps_its_verdict(campaign: Make, tmp_path: Path) -> None:
    """No other run begins, what was judged counts, and how many were left out is said."""
    made, said = campaign("valid", "valid", wait="obedient")
    going = asyncio.create_task(made.run())
    await until(tmp_path, "ready")
    made.stop.set()
    assert await going == 0
    assert len(made.results) == 1
    assert any("1 runs left out" in line for line in said)


async def test_a_campaign_has_one_thread(campaign: Make, tmp_path: Path) -> None:
    """The kernel sends the run a SIGINT for each thread of a killed campaign; two would cost it its verdict."""
    made, _ = campaign("valid", wait="obedient")
    before = threading.active_count()
    going = asyncio.create_task(made.run())
    await until(tmp_path, "ready")
    assert threading.active_count() == before
    made.stop.set()
    await going


async def test_the_second_interruption_is_passed_on_and_ends_with_130(campaign: Make, tmp_path: Path) -> None:
    """The run gets its second SIGINT, too, with which it leaves everything to its watchdog."""
    made, _ = campaign("valid", "valid", wait="stubborn")
    going = asyncio.create_task(made.run())
    await until(tmp_path, "ready")
    made.stop.set()
    await until(tmp_path, "first")
    made.abandon.set()
    assert await going == 130
    assert list(tmp_path.rglob("second"))


async def test_a_run_without_end_is_stuck(campaign: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended with 0 after our SIGINT and left a verdict, and counts as neither."""
    monkeypatch.setattr(module, "OVERHEAD_S", 1.0)
    monkeypatch.setattr(module, "load_unattended", lambda *_: Instant)
    made, _ = campaign("valid", wait="obedient")
    assert await made.run() == 70
    assert made.results[0].validity is None
    assert str(made.results[0].error).startswith("stuck")


class Instant:
    """What a campaign asks of a scenario: how long it may take."""

    name = "default"

    class head:  # noqa: N801 - the field's name
        """No time at all."""

        time = 0
        recovery = 0


def test_a_killed_campaign_interrupts_its_run(tmp_path: Path) -> None:
    """SIGKILL leaves no time to pass anything on: the kernel sends the run its SIGINT."""
    program = [
        "import os, subprocess, sys, time, functools",
        "from harness.unattended import _end_with_parent",
        f"argv = [sys.executable, '-S', '-c', {RUN!r}, {str(tmp_path / 'run')!r}, 'valid', '0', 'obedient']",
        "subprocess.Popen(argv, preexec_fn=functools.partial(_end_with_parent, os.getpid()), start_new_session=True)",
        "time.sleep(60)",
    ]

    async def kill_and_wait() -> None:
        await until(tmp_path, "ready")
        parent.send_signal(signal.SIGKILL)
        await until(tmp_path, "first")

    with subprocess.Popen([sys.executable, "-c", "\n".join(program)]) as parent:
        try:
            asyncio.run(kill_and_wait())
        finally:
            parent.kill()


def test_a_report_file_is_made_possible_at_the_start(tmp_path: Path) -> None:
    """Its folder is made; what can't be written is refused before the first run."""
    assert writable(tmp_path / "new" / "junit.xml").parent.is_dir()
    assert not (tmp_path / "new" / "junit.xml").exists()
    (tmp_path / "file").touch()
    for impossible in (tmp_path / "file" / "junit.xml", tmp_path):
        with pytest.raises(UsageError, match="--junit"):
            writable(impossible)


async def test_a_folder_that_cannot_be_made_is_said(campaign: Make, tmp_path: Path) -> None:
    """Before anything runs."""
    made, _ = campaign("valid")
    (tmp_path / "campaigns").write_text("a file")
    with pytest.raises(UsageError, match="--runs"):
        await made.run()
    assert json.dumps(made.results) == "[]"
    assert os.listdir(tmp_path) == ["campaigns"]
