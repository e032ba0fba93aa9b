"""``capsize run``: prepares the folder, the namespaces and the watchdog, executes, and says what came of it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from checkers.verdict import Verdict
from faults import FAMILIES
from harness.clock import RunClock
from harness.errors import CapsizeError, HarnessError, UsageError
from harness.machine import git_facts, machine_facts, versions
from harness.progress import Progress, progress_for
from harness.record import RunRecord
from harness.run import EXIT_CODES, execute
from harness.running import Run
from harness.scenario import Scenario, load_scenario
from harness.substrates import SUBSTRATES
from harness.substrates.protocol import Substrate
from harness.watchdog import Watchdog
from reports.folder import RunFolder

EXIT_INTERRUPTED = 130
SEED_BITS = 31


def run_command(
    name: str, overrides: Mapping[str, Any], settings: Sequence[str], folder: Path | None, runs_root: Path
) -> int:
    """Runs one scenario; returns the exit code."""
    scenario = load_scenario(name, {**_settings(settings), **_faults(overrides)})
    substrate = usable_substrate(scenario)
    seed = scenario.head.seed if scenario.head.seed is not None else secrets.randbits(SEED_BITS)
    run_folder = make_folder(scenario, seed, folder, runs_root)
    substrate.prepare()
    console = Console(soft_wrap=True)
    progress = progress_for(console)
    try:
        return _run(scenario, name, seed, run_folder, runs_root, substrate, progress, settings, overrides)
    finally:
        progress.close()


def usable_substrate(scenario: Scenario) -> Substrate:
    """The scenario's substrate, if this machine has it and it can do what the scenario wants.

    Raises:
        UsageError: a fault that the substrate cannot inject.
        HarnessError: the machine lacks something, with the line that mends it.
    """
    substrate = SUBSTRATES[scenario.head.substrate]()
    missing = substrate.missing()
    if missing:
        raise HarnessError(
            f"substrate {substrate.name!r} cannot run here: " + "; ".join(missing) + " (`capsize doctor` tells more)"
        )
    wanted = sorted({family for entry in scenario.faults for family in entry.families})
    unable = [family for family in wanted if not FAMILIES[family].needs <= substrate.abilities()]
    if unable:
        able = ", ".join(name for name, family in FAMILIES.items() if family.needs <= substrate.abilities())
        raise UsageError(
            f"substrate {substrate.name!r} cannot inject {', '.join(unable)}: "
            f"leave it out or choose another substrate; it can: {able}"
        )
    return substrate


def make_folder(scenario: Scenario, seed: int, folder: Path | None, runs_root: Path) -> RunFolder:
    """Creates ``runs/<scenario>/<start time>-<seed>/``; a second run in the same second gets a number."""
    if folder is not None:
        return _named_folder(folder)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1000):
        path = runs_root / scenario.name / (f"{stamp}-{seed}" + (f"-{number}" if number else ""))
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(
                f"cannot create the run folder {str(path)!r}: {error.strerror}; choose another with --runs"
            ) from None
        return RunFolder(path.resolve())
    raise HarnessError(f"no free folder name like {str(path)!r}")


def _named_folder(path: Path) -> RunFolder:
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"--folder {str(path)!r} is not empty: name a new one, a run never overwrites another")
        path.mkdir(parents=True, exist_ok=True)
        return RunFolder(path.resolve())
    except OSError as error:
        raise UsageError(f"--folder {str(path)!r} cannot be used: {error.strerror}; name another") from None


def _run(
    scenario: Scenario,
    name: str,
    seed: int,
    folder: RunFolder,
    runs_root: Path,
    substrate: Substrate,
    progress: Progress,
    settings: Sequence[str],
    overrides: Mapping[str, Any],
) -> int:
    logging.basicConfig(
        filename=folder.log, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    folder.scenario.write_text(scenario.to_yaml(), encoding="utf-8")
    clock = RunClock()
    record = RunRecord(folder.run, clock)
    run_id = secrets.token_hex(6)
    record.update(_facts(scenario, seed, run_id, substrate, clock, repeat_command(name, seed, settings, overrides)))
    progress.say(f"seed {seed}, run {run_id}, folder {_shown(folder.path)}")
    watchdog = Watchdog.start(run_id=run_id, folder=folder.path)
    run = Run(
        scenario=scenario,
        seed=seed,
        run_id=run_id,
        folder=folder,
        record=record,
        clock=clock,
        substrate=substrate,
        watchdog=watchdog,
        progress=progress,
    )
    try:
        code = _loop(run)
    finally:
        watchdog.close()
    point_latest(runs_root, folder.path)
    return code


def _loop(run: Run) -> int:
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            verdict, sentence = runner.run(_interruptible(run))
    except CapsizeError as error:
        run.record.update({"validity": None, "exit_code": error.exit_code})
        run.record.note(str(error))
        raise
    code = EXIT_CODES[verdict.validity]
    run.record.update({"validity": str(verdict.validity), "exit_code": code})
    page = _page(run)
    run.progress.close()
    run.progress.say(f"{verdict.validity.upper()}: {sentence}")
    run.progress.say(f"page: {_shown(page) if page is not None else 'could not be built; see harness.log'}")
    return code


async def _interruptible(run: Run) -> tuple[Verdict, str]:
    """Runs with Ctrl-C mapped: the first stops the load, the second leaves everything to the watchdog."""

    def interrupt() -> None:
        if run.stop.is_set():
            run.progress.close()
            os._exit(EXIT_INTERRUPTED)
        run.stop.set()
        run.progress.say(
            "stopping: the load ends, everything is healed and judged "
            "(once more: leave at once, the watchdog cleans up)"
        )

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    return await execute(run)


def _page(run: Run) -> Path | None:
    """The page; one that cannot be drawn never changes a verdict."""
    from reports import page

    try:
        with run.record.phase("page"):
            return page.build(run.folder)
    except Exception:
        logging.getLogger(__name__).exception("the page could not be built")
        run.record.note("the page could not be built; see harness.log")
        return None


def _facts(
    scenario: Scenario, seed: int, run_id: str, substrate: Substrate, clock: RunClock, command: list[str]
) -> dict[str, Any]:
    return {
        "format": 1,
        "run_id": run_id,
        "scenario": scenario.name,
        "seed": seed,
        "system": scenario.head.system,
        "substrate": substrate.name,
        "nodes": [{"name": node} for node in scenario.nodes],
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "start_wall_ns": clock.origin_wall_ns,
        "start_monotonic_ns": clock.origin_ns,
        "command": command,
        "bug": scenario.head.bug,
        "versions": versions(),
        "git": git_facts(),
        "machine": machine_facts(),
        "abilities": sorted(substrate.abilities()),
        "phases": [],
        "notes": [],
        "validity": None,
        "exit_code": None,
    }


def repeat_command(name: str, seed: int, settings: Sequence[str], overrides: Mapping[str, Any]) -> list[str]:
    """The line that runs it again: the same scenario, settings and seed."""
    words = ["capsize", "run", name]
    for option, value in overrides.items():
        if option not in ("seed",):
            words += [f"--{option.replace('_', '-')}", str(value)]
    for setting in settings:
        words += ["--set", setting]
    return [*words, "--seed", str(seed)]


def _settings(settings: Sequence[str]) -> dict[str, Any]:
    """``--set name=value`` with the value as YAML; dots reach into mappings (``workload.keys=5``)."""
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r}: write NAME=VALUE, like --set nodes=3")
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UsageError(f"--set {setting!r}: {text!r} is not a YAML value") from None
    return values


def _faults(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``--faults kill,partition`` as a scenario would say it."""
    values = dict(overrides)
    if "faults" in values:
        names = [name.strip() for name in str(values["faults"]).split(",") if name.strip()]
        values["faults"] = [] if names == ["none"] else [{"random": names, "interval": "6s", "for": "3s"}]
    if str(values.get("concurrency", "")).isdigit():
        values["concurrency"] = int(values["concurrency"])
    return values


def point_latest(runs_root: Path, folder: Path) -> None:
    """``runs/latest`` points at the newest run; a file system without links does without."""
    link = runs_root / "latest"
    temporary = runs_root / f".latest-{os.getpid()}"
    try:
        temporary.symlink_to(os.path.relpath(folder, runs_root))
        temporary.replace(link)
    except OSError as error:
        logging.getLogger(__name__).warning("no link to the latest run: %s", error)


def _shown(path: Path) -> str:
    """A path as a person types it: relative if that is shorter."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") and sys.stdout is not None else str(path)
