"""Facts about the machine and the checkout that a run records, so that a reader knows what produced it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
_PACKAGES = ("numpy", "grpcio", "protobuf", "uvloop", "matplotlib", "pandas")


def machine_facts() -> Mapping[str, Any]:
    """Cores, memory in bytes, kernel and Python. No host name: pages are attached to tickets."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "root": os.getuid() == 0,
    }


def versions() -> Mapping[str, str]:
    """Versions of Capsize and of the packages that a verdict or a measurement depends on."""
    found = {}
    for name in ("capsize", *_PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_facts(*, besides: Path | None = None) -> Mapping[str, Any]:
    """Revision and dirty flag of the checkout; None where this is no git checkout or git is missing. ``besides`` is a
    file whose changes do not count: one that the command itself writes.
    """
    if shutil.which("git") is None:
        return {"revision": None, "dirty": None}
    revision = _git("rev-parse", "HEAD")
    passed_over = _passed_over(besides.resolve()) if besides is not None else []
    status = _git("status", "--porcelain", "--untracked-files=no", "--", ":(top)", *passed_over)
    return {"revision": revision, "dirty": bool(status) if status is not None else None}


def _passed_over(path: Path) -> Sequence[str]:
    return [f":(exclude,top){path.relative_to(REPOSITORY)}"] if path.is_relative_to(REPOSITORY) else []


def _git(*words: str) -> str | None:
    """A git command's output. The checkout may belong to another user (a mapped root): it is only read."""
    command = ["git", "-c", f"safe.directory={REPOSITORY}", "-C", str(REPOSITORY), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
