"""Whether this machine lets the clocks of processes be changed (:mod:`faults.clocks.vdso`): tried on a process of our
own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess

from faults.clocks import standstill
from faults.clocks.vdso import ClockError, ProcessClock

NOT_OURS = "the processes in containers are root's: run capsize as root (sudo) on the engine's own machine"


def why_refused() -> str | None:
    """Why not, with the next step; None if it does. Takes some milliseconds."""
    child = subprocess.Popen(["sleep", "10"], stdin=subprocess.DEVNULL)
    try:
        with contextlib.closing(ProcessClock(child.pid)) as clock:
            clock.found()
        reason = standstill.why_not(child.pid)
        return reason and f"ptrace is refused ({reason}): sudo sysctl -w kernel.yama.ptrace_scope=0, or run as root"
    except ClockError as error:
        return str(error)
    finally:
        child.kill()
        child.wait()


def why_refused_in_containers() -> str | None:
    """The same for containers, whose processes belong to another user."""
    return why_refused() if os.geteuid() == 0 else NOT_OURS
