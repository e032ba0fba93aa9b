"""A controller whose faults do nothing: each family is played on a real cluster of echo servers with its deed stolen on
the way to the kernel, and must not be able to prove that it bit.

``python deedless_controller.py FOLDER`` prints a JSON line for each deed: whether the proof held without it, and
whether that of the same fault holds with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from faults import FAMILIES, clock, rot
from faults.family import Setup
from faults.packets import nftables
from faults.packets.firewall import Firewall
from faults.packets.queues import Queues
from faults.programs import program
from faults.resources.restraints import FileLimit
from harness.host.probes import Probes
from harness.nemesis.deeds import bounded
from harness.substrates.disks import ImageDisk
from harness.substrates.files import MountedFiles
from harness.substrates.limits import GroupLimits
from harness.substrates.process import ProcessCluster, ProcessNode, ProcessSubstrate
from tests.integration.process_controller import NODES, running, say

IMAGE = Setup(groups=True, storage=frozenset({"image"}))
FUSE = Setup(storage=frozenset({"fuse"}))


async def _nothing(*_: Any, **__: Any) -> None:
    """Instead of a deed that is awaited."""


def _lame(argv: Sequence[str]) -> list[str]:
    """The same program, in which nothing is ever written into another process or over a file's bytes."""
    *head, sources = argv
    stolen = sources.replace("os.pwrite(", "(lambda _, data, *__: len(data))(")
    assert stolen != sources
    json.loads(stolen)
    return [*head, stolen]


Theft = tuple[Any, str, Any]
Deeds = dict[str, tuple[str, dict[str, Any], list[Theft]]]
ON_IMAGE: Deeds = {
    "kill": ("kill", {}, [(ProcessNode, "signal", _nothing)]),
    "pause by signal": ("pause", {}, [(ProcessNode, "signal", _nothing)]),
    "pause by freezer": ("pause", {"by": "freezer"}, [(GroupLimits, "freeze", _nothing)]),
    "partition": ("partition", {"shape": "isolate"}, [(nftables, "send", lambda *_: None)]),
    "delay": ("network", {"delay": "30ms"}, [(Queues, "_rules", lambda _: "*mangle\nCOMMIT\n")]),
    "clock": ("clock", {}, [(clock, "HELPER", _lame(clock.HELPER))]),
    "power": ("power", {}, [(ImageDisk, "die", _nothing)]),
    "rot": ("rot", {"kind": "flip"}, [(rot, "program", lambda *names, made=program: _lame(made(*names)))]),
    "cpu": ("resource", {"cpu": "20%"}, [(GroupLimits, "limit", _nothing)]),
    "memory": ("resource", {"memory": "200MiB"}, [(GroupLimits, "limit", _nothing)]),
    "files": ("resource", {"files": 64}, [(FileLimit, "_set", _nothing)]),
    "full disk": ("resource", {"disk": "full"}, [(ImageDisk, "fill", _nothing)]),
}
ON_FUSE: Deeds = {
    "disk": ("disk", {"kind": "error"}, [(MountedFiles, "lay", _nothing)]),
    "power on fuse": ("power", {}, [(MountedFiles, "_ask", _nothing)]),
    "full disk on fuse": ("resource", {"disk": "full"}, [(MountedFiles, "lay", _nothing)]),
}


@contextlib.contextmanager
def stolen(thefts: list[Theft]) -> Iterator[None]:
    kept = [(owner, name, owner.__dict__[name]) for owner, name, _ in thefts]
    for owner, name, instead in thefts:
        setattr(owner, name, instead)
    try:
        yield
    finally:
        for owner, name, original in kept:
            setattr(owner, name, original)


async def play(cluster: ProcessCluster, family: str, parameters: dict[str, Any], thefts: list[Theft]) -> dict[str, Any]:
    with stolen(thefts):
        fault = FAMILIES[family].build(resolved(family, parameters), cluster)
        bit = await bounded(fault.inject, 20)
    healed = await fault.heal()
    return {"holds": bit.holds, "evidence": bit.evidence, "healed": healed.holds, "after": healed.evidence}


async def every(folder: Path) -> None:
    """Each family without its deed, and with it."""
    async with running(folder, setup=IMAGE) as cluster:
        await cluster.nodes["n2"].host(["sh", "-c", f"seq 100000 > {cluster.nodes['n2'].data}/kept"])
        await asyncio.sleep(0.6)  # what is younger does not rot
        await both_ways(cluster, ON_IMAGE)
        await behind_another(cluster)
    other = folder.with_name(f"{folder.name}-fuse")
    other.mkdir()
    async with running(other, setup=FUSE) as cluster:
        await both_ways(cluster, ON_FUSE)


async def both_ways(cluster: ProcessCluster, deeds: Deeds) -> None:
    for name, (family, parameters, thefts) in deeds.items():
        without = await play(cluster, family, parameters, thefts)
        say(name=name, without=without, really=await play(cluster, family, parameters, []))


async def behind_another(cluster: ProcessCluster) -> None:
    """A partition while another one cuts the same: by netlink, and by commands."""
    outer = FAMILIES["partition"].build(resolved("partition", {"shape": "isolate"}), cluster)
    assert (await outer.inject()).holds
    by_commands: Theft = (Probes, "filter_line", lambda _self, _node: None)
    await both_ways_with(cluster, "behind another", [(nftables, "send", lambda *_: None)], [])
    await both_ways_with(cluster, "behind another, by commands", [(Firewall, "apply", _nothing)], [by_commands])
    assert (await outer.heal()).holds


async def both_ways_with(cluster: ProcessCluster, name: str, thefts: list[Theft], always: list[Theft]) -> None:
    without = await play(cluster, "partition", {"shape": "isolate"}, [*thefts, *always])
    say(name=name, without=without, really=await play(cluster, "partition", {"shape": "isolate"}, always))


def resolved(family: str, parameters: dict[str, Any]) -> Any:
    read = FAMILIES[family].Parameters.model_validate({**parameters, "target": ["n2"]})
    return FAMILIES[family].resolve(read, targets=("n2",), nodes=NODES, random=Random(1))


if __name__ == "__main__":
    ProcessSubstrate().prepare()
    asyncio.run(every(Path(sys.argv[1])))
