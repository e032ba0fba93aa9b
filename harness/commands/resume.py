"""``capsize resume``: lets a frozen run go on, from any terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from harness.aftermath import read_facts
from harness.commands.browse import run_folder
from harness.errors import HarnessError, UsageError
from harness.freezing import resume_file
from harness.progress import output
from reports.folder import RunFolder

HEARD_TIMEOUT_S = 5.0
POLL_S = 0.05


def resume_command(path: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Asks a frozen run to go on, and waits until it does.

    Raises:
        UsageError: the run is not frozen.
        HarnessError: nobody heard it.
    """
    folder = run_folder(path)
    if not is_frozen(folder):
        raise UsageError(
            f"run {str(path)!r} is not frozen: only a run with --on-violation freeze that has found a violation, and "
            "has not gone on yet, can be resumed"
        )
    file = resume_file(folder.path)
    try:
        file.touch()
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}; do it as the user who runs it") from None
    for _ in range(round(HEARD_TIMEOUT_S / POLL_S)):
        if not is_frozen(folder):
            output().print(f"{folder.path} goes on", markup=False, highlight=False)
            return
        sleep(POLL_S)
    raise HarnessError(f"{folder.path} did not go on within {HEARD_TIMEOUT_S:g} s: is its controller dead?")


def frozen_run(runs_root: Path) -> Path:
    """The run below ``runs_root`` that is frozen now.

    Raises:
        UsageError: none is, or several are.
    """
    frozen = [path.parent for path in sorted(runs_root.glob("*/*/run.json")) if _stands(RunFolder(path.parent))]
    if len(frozen) != 1:
        known = "; name one: " + ", ".join(map(str, frozen)) if frozen else "; give its folder if it is elsewhere"
        raise UsageError(f"{len(frozen) or 'no'} runs in {str(runs_root)!r} are frozen{known}")
    return frozen[0]


def _stands(folder: RunFolder) -> bool:
    """As :func:`is_frozen`, of folders that nobody named: what cannot be read is not frozen."""
    try:
        return is_frozen(folder)
    except UsageError:
        return False


def is_frozen(folder: RunFolder) -> bool:
    """Whether ``run.json`` says that the cluster stands still."""
    freeze = read_facts(folder).get("freeze")
    return isinstance(freeze, dict) and freeze.get("resumed_ns") is None
