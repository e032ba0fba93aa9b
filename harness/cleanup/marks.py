"""Marks by which everything that a run creates is known to be the run's, and the run's controller is known to be
alive or dead.

Processes carry them in their environment, containers and networks as labels, undo lists in their first line. Only
what belongs to a dead controller is ever removed by others (design, section 3, clean-up); what cannot be told from
here (another pid namespace, such as a container's) is left alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.host import processes

ENV_RUN = "CAPSIZE_RUN"
ENV_CONTROLLER = "CAPSIZE_CONTROLLER"
ENV_WATCHDOG = "CAPSIZE_WATCHDOG"
LABEL_RUN = "capsize.run"
LABEL_CONTROLLER = "capsize.controller"


@dataclass(frozen=True, slots=True)
class Controller:
    """A run's controlling process. Written ``<pid>:<start ticks>:<pid namespace>:<boot id>``; the last two may be
    missing.
    """

    pid: int
    start: int
    pid_namespace: int | None = None
    boot: str | None = None

    def __str__(self) -> str:
        return f"{self.pid}:{self.start}:{self.pid_namespace or ''}:{self.boot or ''}"

    def alive(self) -> bool | None:
        """Whether it lives; None if that cannot be told from here."""
        if self.boot is not None and self.boot != _boot():
            # Another boot means dead, unless another pid namespace may be another machine altogether.
            return False if self.pid_namespace in (None, processes.namespace("self", "pid")) else None
        if self.pid_namespace is not None and self.pid_namespace != processes.namespace("self", "pid"):
            return None
        return processes.is_process(self.pid, self.start)

    def of_this_boot(self) -> bool:
        """Whether it lived (or lives) since this machine was started."""
        return self.boot is not None and self.boot == _boot()


def this_controller() -> Controller:
    """This very process, as a controller."""
    pid = os.getpid()
    return Controller(pid, processes.start_ticks(pid) or 0, processes.namespace("self", "pid"), _boot())


def parse_controller(mark: str) -> Controller | None:
    """A controller from its mark; None if the mark says nothing."""
    pid, _, rest = mark.partition(":")
    start, _, rest = rest.partition(":")
    space, _, boot = rest.partition(":")
    if not (pid.isdigit() and start.isdigit()):
        return None
    return Controller(int(pid), int(start), int(space) if space.isdigit() else None, boot or None)


def environment_marks(run_id: str) -> dict[str, str]:
    """What every process of a run carries in its environment."""
    return {ENV_RUN: run_id, ENV_CONTROLLER: str(this_controller())}


def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
    except OSError:
        return None
