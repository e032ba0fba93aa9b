"""A controller with three places and nothing in them, on whose links network faults are played.

``python network_controller.py FOLDER WHAT`` prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import psutil

from benchmarks import links
from faults import FAMILIES
from faults.packets.queues import Queues
from harness.host import namespaces
from harness.substrates import lab
from harness.substrates.process import ProcessCluster

FLOOD = 30_000
PORT = 7003


async def effects(cluster: ProcessCluster) -> dict[str, Any]:
    """Every effect once, on links of one node."""
    said: dict[str, dict[str, Any]] = {
        "delay": {"delay": "50ms", "jitter": "10ms", "correlation": "25%"},
        "spoiled": {"peers": ["n2"], "delay": "5ms", "loss": "20%", "corrupt": "10%", "reorder": "25%"},
        "copied": {"peers": ["n2"], "duplicate": "20%"},
        "rate": {"peers": ["n3"], "rate": "1mbit"},
        "clients": {"peers": ["n3"], "clients": True, "delay": "20ms", "jitter": "5ms", "distribution": "pareto"},
    }
    notes = {}
    for name, effect in said.items():
        fault = links.fault(cluster, "n1", **effect)
        bit = await fault.inject()
        healed = await fault.heal()
        left = await links.left_over(cluster)
        notes[name] = {"bit": bit.holds, "healed": healed.holds, "left": left}
        if not (bit.holds and healed.holds):
            notes[name] |= {"problems": bit.evidence, "after": healed.evidence}
    return notes


async def orphan(cluster: ProcessCluster) -> dict[str, Any]:
    """What a watchdog would do; then the stand-ins' input ends, as it does when their controller dies."""
    fault = links.fault(cluster, "n1", delay="20ms", duplicate="5%")
    bit = await fault.inject()
    mine = [entry for entry in cluster.undo.entries.values() if "netem" in entry.id or "queues" in entry.id]
    standins = [means for means in fault.means if isinstance(means, Queues)]
    processes = [each for each in psutil.Process().children(recursive=True) if "Standin" in " ".join(each.cmdline())]
    alive = sum(each.is_running() for each in processes)
    statuses = [_status(list(entry.arguments["argv"])) for entry in mine * 2]
    left = await links.left_over(cluster)
    for means in standins:
        assert means._helper is not None
        means._helper._writer.close()  # type: ignore[attr-defined]
        means._helper._writer.transport.abort()  # type: ignore[attr-defined]
    _, survivors = await asyncio.to_thread(psutil.wait_procs, processes, 10)
    passes = await cluster.links.probe([("n1", "n2"), ("n2", "n1")], timeout_s=5)
    return {
        "bit": bit.holds,
        "statuses": statuses,
        "left": left,
        "standins": len(standins),
        "alive_before": alive,
        "alive_after": len(survivors),
        "passes": all(passes.values()),
    }


async def flood(cluster: ProcessCluster) -> dict[str, Any]:
    """More than is carried at once, as fast as a process can send it."""
    fault = links.fault(cluster, "n1", peers=["n2"], direction="out", delay="20ms", jitter="5ms", loss="5%")
    bit = await fault.inject()
    [queues] = [means for means in fault.means if isinstance(means, Queues)]
    before = (await queues.counts())["n1"]
    taker, sender = _sockets(cluster)
    sent, arrived = 0, 0
    while sent < FLOOD:
        for _ in range(100):
            sent += sender.send(bytes(100)) > 0
        arrived += _taken(taker)
    after = before
    for _ in range(100):
        await asyncio.sleep(0.05)
        arrived += _taken(taker)
        after = (await queues.counts())["n1"]
        if not after["waiting"]:
            break
    arrived += _taken(taker)
    healed = await fault.heal()
    taker.close()
    sender.close()
    numbers = {name: after[name] - before[name] for name in ("packets", "lost", "overload")}
    return {
        "bit": bit.holds,
        "healed": healed.holds,
        "sent": sent,
        "arrived": arrived,
        "overload_in_kernel": numbers["overload"],
        **numbers,
    }


async def parting(cluster: ProcessCluster) -> dict[str, Any]:
    """A thousand packets on their way when the fault is healed."""
    fault = links.fault(cluster, "n1", peers=["n2"], direction="out", delay="3s")
    await fault.inject()
    taker, sender = _sockets(cluster)
    sent = sum(sender.send(b"held") > 0 for _ in range(1000))
    waiting = _taken(taker)
    healed = await fault.heal()
    arrived = _taken(taker)
    taker.close()
    sender.close()
    return {"healed": healed.holds, "sent": sent - waiting, "arrived": arrived}


async def partition(cluster: ProcessCluster) -> dict[str, Any]:
    """A delay, then a cut across it."""
    delay = links.fault(cluster, "n1", peers=["n2"], delay="30ms")
    family = FAMILIES["partition"]
    parameters = family.Parameters.model_validate({"shape": "isolate", "target": ["n1"]})
    facts = family.resolve(parameters, targets=("n1",), nodes=tuple(cluster.nodes), random=Random(1))
    cut = family.build(facts, cluster)
    delayed, isolated = await delay.inject(), await cut.inject()
    seen = await cluster.links.probe([("n1", "n2"), ("n2", "n1")], timeout_s=0.3)
    cut_healed, delay_healed = await cut.heal(), await delay.heal()
    return {
        "delayed": delayed.holds,
        "cut": isolated.holds,
        "closed_under_both": not any(seen.values()),
        "cut_healed": cut_healed.holds,
        "delay_healed": delay_healed.holds,
        "left": await links.left_over(cluster),
    }


def _sockets(cluster: ProcessCluster) -> tuple[socket.socket, socket.socket]:
    """One in n2 that takes all that comes, and one in n1 that is connected to it."""
    address = (cluster.nodes["n2"].address, PORT)

    def taker() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: nothing is to be lost here
        made.bind(address)
        made.setblocking(False)
        return made

    def sender() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.connect(address)
        return made

    return namespaces.call_in(lab.netns_of("n2"), taker), namespaces.call_in(lab.netns_of("n1"), sender)


def _taken(taker: socket.socket) -> int:
    arrived = 0
    while True:
        try:
            taker.recv(200)
        except BlockingIOError:
            return arrived
        arrived += 1


def _status(argv: list[str]) -> int:
    return subprocess.run(argv, env=namespaces.tool_environment(), capture_output=True, check=False).returncode


DEEDS = {"effects": effects, "orphan": orphan, "flood": flood, "parting": parting, "partition": partition}


async def main() -> None:
    folder, deed = Path(sys.argv[1]), sys.argv[2]
    namespaces.enter()
    async with links.places(("n1", "n2", "n3"), folder) as cluster:
        said = await DEEDS[deed](cluster)
    print(json.dumps(said))


if __name__ == "__main__":
    asyncio.run(main())
