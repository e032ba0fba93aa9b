"""``capsize clean``: finds and removes what runs left behind whose controller *and* watchdog died.

Only what carries the mark of a dead controller is touched (:mod:`harness.cleanup.marks`); what belongs to a living
one, or to one that cannot be judged from here (another container), is left alone. Run folders may come from other
machines, so an undo list never makes us run a command of another boot, or remove a path outside its run folder and
the folder of temporary files. A watchdog that is still at work is given the time that it needs. Looked for: undo
lists in run folders, processes by their environment, containers and networks by their labels. Namespaces and their
rules go with their last process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cleanup import undoing
from harness.cleanup.ledger import FILE_NAME, Entry, Remainder, read_ledger
from harness.cleanup.marks import ENV_CONTROLLER, ENV_RUN, ENV_WATCHDOG, LABEL_CONTROLLER, LABEL_RUN, parse_controller
from harness.host import processes
from harness.substrates.engine import reach

DEPTH_MAX = 5
"""Run folders lie at most so deep under the folder of all runs."""
WATCHDOG_TIMEOUT_S = 12.0
ENTRY_TIMEOUT_S = 10.0
DEATH_TIMEOUT_S = 5.0
POLL_S = 0.05
_TEMPORARY = Path(tempfile.gettempdir()).resolve()


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """One thing that a dead run left: ``kind`` is ``process``, ``undo``, ``container`` or ``network``."""

    kind: str
    run_id: str
    what: str
    entry: Entry | None = None
    """How to undo it, for things that are not processes."""
    pid: int = 0
    pid_start: int | None = None
    path: Path | None = None
    """The undo list that the entry stands in."""

    def __str__(self) -> str:
        return f"{self.kind} {self.what} of run {self.run_id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What became of a leftover; ``error`` is None if it is gone."""

    leftover: Leftover
    error: str | None

    def __str__(self) -> str:
        return f"{self.leftover}: {'removed' if self.error is None else f'could not be removed: {self.error}'}"


def find_leftovers(runs_root: Path) -> tuple[Leftover, ...]:
    """Everything of dead controllers that can be found from here, in the order in which it should be removed."""
    return (*_processes(), *_undo_entries(runs_root), *_docker())


def clean(runs_root: Path, *, sleep: Callable[[float], None] = time.sleep) -> tuple[Removal, ...]:
    """Removes every leftover, and says how that went."""
    wait_watchdogs(sleep)
    leftovers = find_leftovers(runs_root)
    _kill([leftover for leftover in leftovers if leftover.kind == "process"])
    removals = tuple(Removal(leftover=leftover, error=_remove(leftover, sleep)) for leftover in leftovers)
    failed = {removal.leftover.path for removal in removals if removal.error is not None}
    for path in {leftover.path for leftover in leftovers if leftover.path is not None} - failed:
        path.unlink(missing_ok=True)
    return removals


def _kill(leftovers: Sequence[Leftover]) -> None:
    same = [each.pid for each in leftovers if processes.is_process(each.pid, each.pid_start)]
    processes.send(same, signal.SIGKILL)


def wait_watchdogs(sleep: Callable[[float], None] = time.sleep) -> None:
    """Gives watchdogs of dead controllers the time to do it themselves; then they are leftovers, too."""
    for _ in range(int(WATCHDOG_TIMEOUT_S / POLL_S)):
        if not any(environment.get(ENV_WATCHDOG) for _, environment in _of_dead_controllers()):
            return
        sleep(POLL_S)


def _of_dead_controllers() -> Iterator[tuple[int, dict[str, str]]]:
    """Processes with the mark of a dead controller, and their environments."""
    own_space = processes.namespace("self", "pid")
    for pid in processes.all_pids():
        environment = dict(processes.environment(pid))
        if ENV_RUN not in environment or pid == os.getpid():
            continue
        # A process of a container carries a mark that means nothing here, even if its format is an old one.
        if processes.namespace(pid, "pid") == own_space and _is_dead(environment.get(ENV_CONTROLLER, "")):
            yield pid, environment


def _is_dead(mark: str) -> bool:
    """Whether the mark is that of a controller which is certainly dead."""
    controller = parse_controller(mark)
    return controller is not None and controller.alive() is False


def _processes() -> Iterator[Leftover]:
    for pid, environment in _of_dead_controllers():
        command = Path(f"/proc/{pid}/comm")
        with contextlib.suppress(OSError):
            what = f"{pid} ({command.read_text(encoding='utf-8', errors='replace').strip()})"
            yield Leftover(
                kind="process", run_id=environment[ENV_RUN], what=what, pid=pid, pid_start=processes.start_ticks(pid)
            )


def _undo_entries(runs_root: Path) -> Iterator[Leftover]:
    for path in _ledger_files(runs_root):
        with contextlib.suppress(OSError):
            remainder = read_ledger(path)
            if remainder is not None and _is_dead(remainder.controller):
                entries = [entry for entry in remainder.entries if _is_sane(entry, remainder)]
                for entry in _or_the_list_itself(entries, path):
                    what = f"{entry['id']} ({path})"
                    yield Leftover(kind="undo", run_id=remainder.run_id, what=what, entry=entry, path=path)


def _is_sane(entry: Entry, remainder: Remainder) -> bool:
    """Whether an entry may still mean something here, and can do no harm beyond the run's own things."""
    if entry["kind"] == "remove":
        real = Path(entry["arguments"]["path"]).resolve()
        return any(real != safe and real.is_relative_to(safe) for safe in (remainder.path.parent.resolve(), _TEMPORARY))
    controller = parse_controller(remainder.controller)
    return entry["kind"] in ("container", "docker_network") or (controller is not None and controller.of_this_boot())


def _or_the_list_itself(entries: Sequence[Entry], path: Path) -> Sequence[Entry]:
    """An empty list of a dead run is a leftover by itself."""
    return entries or [{"id": "undo list", "kind": "remove", "arguments": {"path": str(path)}}]


def _ledger_files(root: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        if FILE_NAME in files:
            yield Path(folder) / FILE_NAME
        if FILE_NAME in files or len(Path(folder).relative_to(root).parts) >= DEPTH_MAX:
            below.clear()


def _docker() -> Iterator[Leftover]:
    """Containers, then networks; nothing where no engine answers."""
    try:
        reach()
        import docker

        client = docker.from_env(timeout=5)
    except Exception:  # noqa: BLE001 - no engine, no permission, no library: then nothing of ours is there that we could remove
        return
    with contextlib.closing(client), contextlib.suppress(docker.errors.DockerException):
        for container in client.containers.list(all=True, filters={"label": LABEL_RUN}, ignore_removed=True):
            yield from _labelled("container", "container", container)
        for network in client.networks.list(filters={"label": LABEL_RUN}):
            yield from _labelled("network", "docker_network", network)


def _labelled(kind: str, undo_kind: str, thing: Any) -> Iterator[Leftover]:
    labels = (thing.labels if kind == "container" else thing.attrs.get("Labels")) or {}
    if _is_dead(labels.get(LABEL_CONTROLLER, "")):
        entry = {"id": thing.name, "kind": undo_kind, "arguments": {"id": thing.id}}
        yield Leftover(kind=kind, run_id=labels[LABEL_RUN], what=thing.name, entry=entry)


def _remove(leftover: Leftover, sleep: Callable[[float], None]) -> str | None:
    if leftover.entry is None:
        return _wait_dead(leftover, sleep)
    if leftover.entry["kind"] == "run":
        return _run_again(leftover.entry)
    return undoing.perform(leftover.entry, timeout_s=ENTRY_TIMEOUT_S)


def _run_again(entry: Entry) -> str | None:
    """A command of a dead run. One for a namespace that went with its last process has nothing left to do."""
    argv = entry["arguments"]["argv"]
    enters = [word[6:] for word in argv if word.startswith("--net=")] if argv[:1] == ["nsenter"] else []
    gone = not all(map(os.path.exists, enters))
    return None if gone else undoing.perform(entry, timeout_s=ENTRY_TIMEOUT_S)


def _wait_dead(leftover: Leftover, sleep: Callable[[float], None]) -> str | None:
    for _ in range(int(DEATH_TIMEOUT_S / POLL_S)):
        if not processes.is_process(leftover.pid, leftover.pid_start):
            return None
        sleep(POLL_S)
    return "outlives SIGKILL"
