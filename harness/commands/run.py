"""``capsize run``: prepares the folder, the namespaces and the watchdog, executes, and says what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from checkers.verdict import Verdict
from faults import FAMILIES
from harness.cleanup.watchdog import Watchdog
from harness.clock import RunClock
from harness.commands.possible import reduced, refusals, refusals_among, refuse_asked
from harness.errors import (
    EXIT_CODES,
    EXIT_INTERRUPTED,
    CapsizeError,
    HarnessError,
    UsageError,
    innermost,
    internal_error,
)
from harness.host.machine import git_facts, machine_facts, versions
from harness.planning.documents import load_value, nested
from harness.planning.scenario import Scenario, load_scenario
from harness.progress import Progress, output, progress_for
from harness.record import RunRecord
from harness.run import execute
from harness.running import Run
from harness.substrates import SUBSTRATES
from harness.substrates.protocol import Substrate
from harness.systems import SYSTEMS
from reports.folder import RunFolder

SEED_BITS = 31

logger = logging.getLogger(__name__)


def run_command(
    name: str, overrides: Mapping[str, Any], settings: Sequence[str], folder: Path | None, runs_root: Path
) -> int:
    """Runs one scenario; returns the exit code."""
    scenario = load_scenario(name, laid_over(read_settings(settings), _faults(overrides)))
    check_system(scenario)
    substrate = usable_substrate(scenario)
    scenario, notes = reduced(scenario, substrate)
    seed = scenario.head.seed if scenario.head.seed is not None else secrets.randbits(SEED_BITS)
    run_folder = make_folder(scenario, seed, folder, runs_root)
    substrate.prepare()
    command = repeat_command(name, seed, settings, overrides)
    progress = progress_for(output())
    try:
        code = _run(scenario, seed, run_folder, substrate, progress, command, notes)
        point_latest(runs_root, run_folder.path)
        return code
    finally:
        progress.close()


def check_system(scenario: Scenario) -> None:
    """Refuses to begin without the programs of the system under test.

    Raises:
        HarnessError: this machine lacks something, with the line that mends it.
    """
    missing = SYSTEMS[scenario.head.system].missing(scenario.options)
    if missing:
        raise HarnessError(f"system {scenario.head.system!r} cannot run here: {'; '.join(missing)}")


def usable_substrate(scenario: Scenario) -> Substrate:
    """The scenario's substrate, if this machine has it. What no machine could inject there is refused first: hosts
    need not be asked for that.

    Raises:
        UsageError: a fault that was asked for cannot be injected on such a substrate.
        HarnessError: the machine lacks something, with the line that mends it.
    """
    substrate = SUBSTRATES[scenario.head.substrate](
        keep_data=scenario.head.keep_data, hosts=(scenario.head.hosts or ())[: scenario.head.nodes]
    )
    refuse_asked(scenario, refusals_among(substrate.cannot, SYSTEMS[scenario.head.system]))
    missing = substrate.missing()
    if missing:
        raise HarnessError(
            f"substrate {substrate.name!r} cannot run here: " + "; ".join(missing) + " (`capsize doctor` tells more)"
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
    seed: int,
    folder: RunFolder,
    substrate: Substrate,
    progress: Progress,
    command: Sequence[str],
    notes: Sequence[str],
) -> int:
    logging.basicConfig(
        filename=folder.log, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    clock = RunClock()
    record = RunRecord(folder.run, clock)
    run_id = secrets.token_hex(6)
    with accounted(record, folder):
        folder.scenario.write_text(scenario.to_yaml(), encoding="utf-8")
        record.update(_facts(scenario, seed, run_id, substrate, clock, command))
        progress.say(f"seed {seed}, run {run_id}, folder {_shown(folder.path)}")
        for note in notes:
            record.note(note)
            progress.say(note)
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
            verdict, sentence = _loop(run)
        finally:
            watchdog.close()
    return _conclude(run, verdict, sentence)


@contextlib.contextmanager
def accounted(record: RunRecord, folder: RunFolder) -> Iterator[None]:
    """Whatever ends a run without a verdict is told: in ``run.json``, in ``harness.log``, and by an exit code that is
    no verdict's.

    Raises:
        CapsizeError: as it came.
        HarnessError: for every error that nobody expected; it names the log.
    """
    try:
        yield
    except KeyboardInterrupt:
        close_record(record, EXIT_INTERRUPTED, "interrupted: there is no verdict")
        raise
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        told = innermost(error)
        if not isinstance(told, CapsizeError):
            logger.error("the run ended by an error of Capsize itself", exc_info=error)
            told = HarnessError(f"{internal_error(error)}; please report it with {folder.log}")
        close_record(record, told.exit_code, str(told))
        raise told from error


def close_record(record: RunRecord, code: int, note: str) -> None:
    """Ends ``run.json`` without a verdict; on a full disk the exit code must do."""
    try:
        record.update({"validity": None, "exit_code": code})
        record.note(note)
    except OSError as error:
        logger.error("%s cannot be written: %s", record.path, error)


def _loop(run: Run) -> tuple[Verdict, str]:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_interruptible(run))


def _conclude(run: Run, verdict: Verdict, sentence: str) -> int:
    """The verdict stands from here on: what can still fail is said, and changes nothing."""
    code = EXIT_CODES[verdict.validity]
    try:
        run.record.update({"validity": str(verdict.validity), "exit_code": code})
    except OSError as error:
        run.progress.say(f"{run.folder.run} cannot be written: {error}")
    page = _page(run)
    run.progress.close()
    run.progress.say(f"{verdict.validity.upper()}: {sentence}")
    run.progress.say(f"page: {_shown(page) if page is not None else 'could not be built; see harness.log'}")
    return code


async def _interruptible(run: Run) -> tuple[Verdict, str]:
    """Runs with Ctrl-C mapped: the first stops the load, the second leaves everything to the watchdog."""

    def interrupt() -> None:
        if run.stop.is_set():
            close_record(run.record, EXIT_INTERRUPTED, "interrupted twice: there is no verdict, the watchdog cleans up")
            with contextlib.suppress(Exception):  # nothing may keep a second Ctrl-C from ending it
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
    except (Exception, KeyboardInterrupt):
        logger.exception("the page could not be built")
        with contextlib.suppress(OSError):
            run.record.note("the page could not be built; see harness.log")
        return None


def _facts(
    scenario: Scenario, seed: int, run_id: str, substrate: Substrate, clock: RunClock, command: Sequence[str]
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
        "abilities": sorted(set(FAMILIES) - set(refusals(substrate, SYSTEMS[scenario.head.system]))),
        "one_clock": substrate.one_clock and scenario.even_clocks,
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


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``--set name=value`` with the value as YAML; dots reach into mappings (``workload.keys=5``).

    Raises:
        UsageError: no equals sign, no YAML, or dots that reach nowhere.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r}: write NAME=VALUE, like --set nodes=3")
        values[name] = load_value(text, f"--set {name}")
    return nested(values, "--set")


def laid_over(settings: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options win over settings; ``--workload NAME`` leaves the workload's other settings alone."""
    workload = settings.get("workload")
    if "workload" in options and isinstance(workload, dict):
        options = {**options, "workload": {**workload, "name": options["workload"]}}
    return {**settings, **options}


def _faults(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``--faults kill,partition`` as a scenario would say it."""
    values = dict(overrides)
    if "faults" in values:
        names = [name.strip() for name in str(values["faults"]).split(",") if name.strip()]
        drawn = {"random": "all", "swarm": True} if names == ["all"] else {"random": names}
        values["faults"] = [] if names == ["none"] else [drawn]
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
        logger.warning("no link to the latest run: %s", error)


def _shown(path: Path) -> str:
    """A path as a person types it: relative if that is shorter."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") and sys.stdout is not None else str(path)
