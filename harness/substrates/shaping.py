"""Whether this machine's kernel can shape packets: by its own netem, or by queues for the stand-in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from harness.host import namespaces

NETEM = ("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
QUEUE = ("iptables", "-w", "5", "-t", "mangle", "-A", "INPUT", "-j", "NFQUEUE", "--queue-num", "1", "--queue-bypass")
TIMEOUT_S = 10


def why_no_netem() -> str | None:
    """The kernel's own words, or None. 7 ms."""
    return _try(NETEM)


def why_no_queues() -> str | None:
    """The same for the stand-in. 8 ms."""
    return _try(QUEUE)


def why_refused() -> str | None:
    """Why packets can be shaped in neither way, or None."""
    netem = why_no_netem()
    if netem is None:
        return None
    queues = why_no_queues()
    if queues is None:
        return None
    return f"no netem ({netem}) and no NFQUEUE ({queues}): sudo modprobe sch_netem, or nfnetlink_queue xt_NFQUEUE"


def _try(argv: Sequence[str]) -> str | None:
    """Runs it in a network namespace that goes with it."""
    entry = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    try:
        done = subprocess.run(
            [*entry, *argv],
            env=namespaces.tool_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
