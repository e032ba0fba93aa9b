"""The first process of the virtual machine: loads what netem needs, plays network faults, tells what it saw, and ends.

What is played is our own code, from the parameters of a scenario to the proofs of bite and healing; only the kernel is
another. The last line that it writes to the second serial port is the result, as JSON.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOUNTS = (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run"), ("tmpfs", "/tmp"))
RESULT = "/dev/ttyS1"
PINGS = 80
_FINIT_MODULE = 313
_POWER_OFF = 0x4321FEDC


def main() -> None:
    """See the module."""
    for kind, path in MOUNTS:
        os.makedirs(path, exist_ok=True)
        _libc().mount(kind.encode(), path.encode(), kind.encode(), 0, None)
    result: dict[str, Any] = {"kernel": os.uname().release, "faults": {}}
    try:
        load_modules()
        asyncio.run(play(result))
    except BaseException:  # noqa: BLE001 - whatever it is, it has to get out of here
        result["error"] = traceback.format_exc()
    with open(RESULT, "w", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    os.sync()
    _libc().reboot(_POWER_OFF)


def load_modules() -> None:
    """In the order in which they were packed: none before what it depends on."""
    for path in sorted(Path("/modules").iterdir()):
        with path.open("rb") as file:
            _libc().syscall(_FINIT_MODULE, file.fileno(), b"", 0)


async def play(seen: dict[str, Any]) -> None:
    """Every fault with its proofs, and a ping-pong under one of them."""
    from benchmarks import links
    from harness.host import namespaces

    namespaces.enter()
    seen["booted_s"] = _uptime_s()

    async def one(name: str, *targets: str, **said: Any) -> None:
        """Injects, heals, and notes both proofs."""
        fault = links.fault(cluster, *targets, **said)
        bit = await fault.inject()
        note: dict[str, Any] = {"bit": {"holds": bit.holds, **bit.evidence}}
        if name == "delay":
            note["ping_pong_ms"] = links.spread(await links.ping_pong(cluster, "n1", "n2", PINGS))
        healed = await fault.heal()
        note |= {"healed": {"holds": healed.holds, **healed.evidence}, "left": await links.left_over(cluster)}
        note |= {
            "undo_left": sorted(each for each in cluster.undo.entries if each.startswith("capsize")),
            "uptime_s": _uptime_s(),
        }
        seen["faults"][name] = note

    async with links.places(("n1", "n2", "n3"), Path("/tmp/links")) as cluster:
        seen["ready_s"] = _uptime_s()
        seen["before_ms"] = links.spread(await links.ping_pong(cluster, "n1", "n2", PINGS))
        await one("delay", "n1", peers=["n2"], direction="out", delay="50ms", jitter="10ms")
        spoiled = {"loss": "20%", "corrupt": "10%", "reorder": "20%"}
        await one("spoiled", "n1", peers=["n2"], delay="20ms", jitter="5ms", **spoiled)
        await one("copied", "n1", peers=["n2"], direction="out", duplicate="20%")
        await one("copied to two", "n1", direction="out", duplicate="20%")
        await one("rate", "n2", peers=["n3"], direction="out", rate="1mbit")
        seen["overlap"] = await overlap(cluster)
        seen["orphan"] = await orphan(cluster)
    seen["ended_s"] = _uptime_s()


async def overlap(cluster: Any) -> dict[str, Any]:
    """Two faults that meet on a link: the first keeps it, and the second stays in force when the first is healed."""
    from benchmarks import links

    first = links.fault(cluster, "n1", peers=["n2"], direction="out", delay="20ms")
    second = links.fault(cluster, "n2", direction="in", delay="40ms")
    bits = [await first.inject(), await second.inject()]
    healed_first = await first.heal()
    pairs = (("n3", "n2"), ("n1", "n2"))
    from faults.packets.journeys import QUICK

    now = await cluster.links.measure(pairs, QUICK)
    healed_second = await second.heal()
    return {
        "bit": [bit.holds for bit in bits],
        "left_to_first": bits[1].evidence["left_to_other_faults"],
        "second_still_ms": now[pairs[0]].shortest_ms,
        "freed_ms": now[pairs[1]].shortest_ms,
        "healed": [healed_first.holds, healed_second.holds],
        "left": await links.left_over(cluster),
    }


async def orphan(cluster: Any) -> dict[str, Any]:
    """Clients' links, too, by both means; then the controller dies: what was registered takes everything out, also when
    it is done twice.
    """
    from benchmarks import links

    fault = links.fault(cluster, "n1", peers=["n2"], clients=True, direction="in", delay="20ms")
    bit = await fault.inject()
    mine = [entry for entry in cluster.undo.entries.values() if "netem" in entry.id or "queues" in entry.id]
    undos = [entry.arguments["argv"] for entry in mine]
    statuses = [_status(argv) for argv in undos * 2]
    means = bit.evidence["means"]
    return {
        "bit": bit.holds,
        "means": means,
        "undos": len(undos),
        "statuses": statuses,
        "left": await links.left_over(cluster),
    }


def _uptime_s() -> float:
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])


def _status(argv: Sequence[str]) -> int:
    return subprocess.run(argv, check=False, timeout=60).returncode


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    main()
