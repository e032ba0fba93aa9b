"""A controller as small as it can be: one cluster of echo servers on the process substrate, and what a test asks of it.

``python process_controller.py FOLDER WHAT`` prints JSON lines. It stands in a process of its own because a controller
moves into namespaces for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from faults import FAMILIES
from faults.cuts import CLIENT
from faults.family import Setup
from faults.needs import Fault, ProcessState
from faults.packets import nftables
from harness.cleanup.watchdog import Watchdog
from harness.errors import HarnessError
from harness.host.probes import Probes
from harness.host.processes import is_process, start_ticks
from harness.substrates.process import ProcessCluster, ProcessSubstrate
from harness.substrates.protocol import Launch, Place

NODES = ("n1", "n2", "n3", "n4", "n5")
ECHO = str(Path(__file__).parent / "echo_server.py")
PORT = 7000
NOTHING_SPECIAL = Setup()
RESTRAINABLE = Setup(groups=True, storage=frozenset({"image"}))
Pair = tuple[str, str]


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def launch(place: Place, places: object) -> Launch:
    del places
    return Launch(argv=[place.python, "-u", ECHO, place.address, "fork"])


@asynccontextmanager
async def running(
    folder: Path, silence_s: float = 30.0, setup: Setup = NOTHING_SPECIAL
) -> AsyncIterator[ProcessCluster]:
    run_id = folder.name
    watchdog = Watchdog.start(run_id=run_id, folder=folder, silence_s=silence_s)
    cluster = await ProcessSubstrate().cluster(
        run_id=run_id, nodes=NODES, launch=launch, image=None, folder=folder / "nodes", undo=watchdog, setup=setup
    )
    try:
        await cluster.start()
        for name in NODES:
            await wait_serving(cluster, name)
        yield cluster
    finally:
        await cluster.stop()
        left = watchdog.close()
        say(undone_by_watchdog=left)


async def wait_serving(cluster: ProcessCluster, name: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await ask(cluster, name, op="heard")
                return
            except OSError:
                await asyncio.sleep(0.02)


async def ask(cluster: ProcessCluster, name: str, **request: Any) -> Any:
    """Asks a node from where clients are."""
    reader, writer = await asyncio.open_connection(cluster.places[name].address, PORT)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(10):
            return json.loads(await reader.readline())
    finally:
        writer.close()


async def delivered(cluster: ProcessCluster, expected: set[Pair]) -> set[Pair]:
    """Directions in which the nodes' own datagrams arrive, once those that are expected have had time to."""
    pairs = list(itertools.permutations(NODES, 2))
    nonces = {f"{uuid.uuid4()}": pair for pair in pairs}
    for nonce, (source, target) in nonces.items():
        await ask(cluster, source, op="send", to=cluster.places[target].address, nonce=nonce)
    seen: set[Pair] = set()
    for _ in range(100):
        heard = {nonce for name in NODES for nonce in await ask(cluster, name, op="heard")}
        seen = {pair for nonce, pair in nonces.items() if nonce in heard}
        if seen >= expected:
            break
        await asyncio.sleep(0.02)
    return seen


async def echoes(cluster: ProcessCluster, timeout: float) -> set[Pair]:
    """Pairs between which a line goes and comes back, over connections that are kept."""
    pairs = list(itertools.permutations(NODES, 2))
    answers = await asyncio.gather(
        *(ask(cluster, a, op="echo", to=cluster.places[b].address, timeout=timeout) for a, b in pairs)
    )
    return {pair for pair, answer in zip(pairs, answers, strict=True) if answer}


def partition(cluster: ProcessCluster, seed: int, **parameters: Any) -> tuple[Fault, Any]:
    family = FAMILIES["partition"]
    targets = (parameters["target"],) if "target" in parameters else ()
    facts = family.resolve(family.Parameters(**parameters), targets=targets, nodes=NODES, random=Random(seed))
    return family.build(facts, cluster), facts


async def shapes(folder: Path) -> None:
    """Every shape and direction: what is cut is cut for the nodes' own traffic too, and nothing else; then healed."""
    every = set(itertools.permutations(NODES, 2))
    cases = [
        *(("halves", each) for each in ("both", "in")),
        *(("isolate", each) for each in ("both", "out")),
        *(("bridge", each) for each in ("both", "in")),
        ("minority-third", "out"),
        *(("link", each) for each in ("both", "in")),
    ]
    async with running(folder) as cluster:
        for number, (shape, direction) in enumerate([*cases, ("majorities-ring", "both"), ("random", "both")]):
            action = "reject" if number % 2 else "drop"
            fault, facts = partition(cluster, number, shape=shape, direction=direction, action=action)
            bit = await fault.inject()
            held = await rules(cluster)
            cuts = {(a, b) for a, b in facts["cuts"]}
            seen = await delivered(cluster, every - cuts)
            healed = await fault.heal()
            after = await delivered(cluster, every)
            say(
                shape=shape,
                direction=direction,
                bit=bit.holds,
                exact=seen == every - cuts,
                healed=healed.holds,
                open_again=after == every,
                in_force_ms=bit.evidence["in_force_ms"],
                held=held,
                rules=await rules(cluster),
            )


async def rules(cluster: ProcessCluster) -> int:
    """Firewall rules, chains and tables of ours that are left in the nodes' namespaces."""
    saved = [await node.run(["iptables-save", "-t", "filter"]) for node in cluster.nodes.values()]
    lines = [cluster.links.filter_line(name) for name in NODES]
    names = [name for line in lines if line is not None for name in nftables.tables(line)]
    names += [line for each in saved for line in each.stdout.splitlines()]
    return sum("capsize" in name for name in names)


async def compose(folder: Path) -> None:
    """Overlapping partitions, established connections, and clients."""
    every = set(itertools.permutations(NODES, 2))
    async with running(folder) as cluster:
        say(connected=await echoes(cluster, 10) == every)
        first, first_facts = partition(cluster, 1, shape="isolate", target="n1")
        second, second_facts = partition(cluster, 2, shape="isolate", target="n2", clients=True)
        one, two = ({(a, b) for a, b in facts["cuts"] if CLIENT not in (a, b)} for facts in (first_facts, second_facts))
        say(first=(await first.inject()).holds)
        await asyncio.sleep(0)
        say(established_cut=await echoes(cluster, 3) == every - one)
        say(second=(await second.inject()).holds)
        seen = await cluster.links.probe([*every, (CLIENT, "n1"), (CLIENT, "n2"), ("n2", CLIENT)], timeout_s=0.3)
        blocked = {pair for pair, is_open in seen.items() if not is_open}
        say(union=blocked == one | two | {(CLIENT, "n2"), ("n2", CLIENT)})
        say(first_healed=(await first.heal()).holds)
        seen = await cluster.links.probe(list(every), timeout_s=0.3)
        say(second_stays={pair for pair, is_open in seen.items() if not is_open} == two)
        say(second_healed=(await second.heal()).holds, open_again=await delivered(cluster, every) == every)
        say(rules=await rules(cluster))


async def processes(folder: Path) -> None:
    """Kill and pause, the node's helper included; an exit that nobody caused."""
    async with running(folder) as cluster:
        node = cluster.nodes["n3"]
        before = {pid: start_ticks(pid) for pid in node.pids()}
        for name in ("kill", "pause"):
            fault = FAMILIES[name].build({"targets": ["n3", "n4"]}, cluster)
            bit = await fault.inject()
            state = await node.state()
            stopped = state is not ProcessState.RUNNING and await unanswered(cluster, "n3")
            spared = await ask(cluster, "n1", op="heard") is not None
            healed = await fault.heal()
            await wait_serving(cluster, "n3")
            say(family=name, bit=bit.holds, state=state, stopped=stopped, spared=spared, healed=healed.holds)
        left = [pid for pid, start in before.items() if is_process(pid, start)]
        say(tree=len(before), left=left, exits=await cluster.exits())
        paused = FAMILIES["pause"].build({"targets": ["n5"]}, cluster)
        killed = FAMILIES["kill"].build({"targets": ["n5"]}, cluster)
        await paused.inject()
        say(
            kill_of_paused=(await killed.inject()).holds,
            healed=(await killed.heal()).holds,
            paused=(await paused.heal()).holds,
        )
        os.kill(cluster.nodes["n2"].pids()[0], signal.SIGSEGV)
        for _ in range(1000):
            if await cluster.exits():
                break
            await asyncio.sleep(0.01)
        say(crash=await cluster.exits())
        say(logs=(folder / "nodes" / "n3" / "node.log").read_text().count("serving"))


class WithoutFilterLines(Probes):
    """The links of a machine without nf_tables."""

    def filter_line(self, node: str) -> None:
        """See the protocol."""
        del node


async def actions(folder: Path) -> None:
    """Dropped and refused, by system calls and by commands: the proofs, and what a kept connection makes of it."""
    async with running(folder) as cluster:
        plain = cluster.links
        for links in (plain, without_filter_lines(plain)):
            cluster.links = links
            for action in ("drop", "reject"):
                fault, _ = partition(cluster, 1, shape="isolate", target="n1", clients=True, action=action)
                reader, writer = await asyncio.open_connection(cluster.places["n1"].address, PORT)
                bit = await fault.inject()
                refused = await is_refused(reader, writer)
                healed = await fault.heal()
                writer.close()
                say(
                    means=bit.evidence["means"],
                    action=action,
                    bit=bit.holds,
                    evidence=bit.evidence,
                    refused=refused,
                    healed=healed.holds,
                    rules=await rules(cluster),
                )
        cluster.links = plain


def without_filter_lines(links: Probes) -> Probes:
    """The same endpoints and cuts, without netlink."""
    blind = WithoutFilterLines()
    blind.__dict__.update(links.__dict__)
    return blind


async def is_refused(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether a connection that was open is reset when it is used; one that is cut off silently only waits."""
    try:
        async with asyncio.timeout(1.0):
            writer.write(b'{"op": "heard"}\n')
            await reader.readline()
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    raise AssertionError("it still works")


async def restraints(folder: Path) -> None:
    """Every restraint on one node and the freezer: what they prove, what another process says of it, what is left."""
    async with running(folder, setup=RESTRAINABLE) as cluster:
        node = cluster.nodes["n2"]
        assert node.limits is not None
        for parameters in RESTRAINTS:
            before = {kind: await node.limits.values(kind) for kind in ("cpu", "memory")}
            family = FAMILIES["resource"]
            facts = family.resolve(family.Parameters(**parameters), targets=("n2",), nodes=NODES, random=Random(0))
            fault = family.build(facts, cluster)
            bit = await fault.inject()
            said = await ask(cluster, "n2", op="heard") is not None
            healed = await fault.heal()
            after = {kind: await node.limits.values(kind) for kind in ("cpu", "memory")}
            say(restraint=parameters, bit=bit.holds, evidence=bit.evidence, serves=said, healed=healed.holds)
            say(same=before == after)
        await frozen(cluster)
        say(ooms=await killed_for_memory(cluster), exits=await cluster.exits())
    say(groups=groups_of(folder.name))


RESTRAINTS = ({"cpu": "20%"}, {"memory": "64MiB", "pressure": True}, {"files": "4 more"}, {"disk": "full"})


async def frozen(cluster: ProcessCluster) -> None:
    """A node that is frozen answers nobody, and is told from one that was stopped by a signal."""
    fault = FAMILIES["pause"].build({"targets": ["n2"], "by": "freezer"}, cluster)
    bit = await fault.inject()
    say(frozen=bit.holds, state=await cluster.nodes["n2"].state(), silent=await unanswered(cluster, "n2"))
    healed = await fault.heal()
    await wait_serving(cluster, "n2")
    say(thawed=healed.holds)


async def killed_for_memory(cluster: ProcessCluster) -> Any:
    """A node that may have half of what it has: it is killed for that, and started again by healing."""
    node = cluster.nodes["n3"]
    before = node.pids()[0]
    facts = {"targets": ["n3"], "memory": {"bytes": 4 << 20, "pressure": True}}
    fault = FAMILIES["resource"].build(facts, cluster)
    with contextlib.suppress(OSError):  # the kernel may refuse a limit below what cannot be reclaimed
        await fault.inject()
    healed = await fault.heal()
    await wait_serving(cluster, "n3")
    return {"healed": healed.holds, "restarted": node.pids()[0] != before}


def groups_of(run_id: str) -> list[str]:
    """Control groups that carry the run's name. Others' come and go meanwhile, which a walk bears."""
    prefix = f"capsize-{run_id}-"
    walk = os.walk("/sys/fs/cgroup")
    return [f"{path}/{name}" for path, folders, _ in walk for name in folders if name.startswith(prefix)]


async def restrained(folder: Path) -> None:
    """Restrains and freezes, says so, and waits to be killed."""
    async with running(folder, setup=RESTRAINABLE) as cluster:
        for facts in ({"targets": ["n1"], "cpu": 0.2}, {"targets": ["n2"], "disk": "full"}):
            await FAMILIES["resource"].build(facts, cluster).inject()
        await FAMILIES["pause"].build({"targets": ["n3"], "by": "freezer"}, cluster).inject()
        pids = [pid for node in cluster.nodes.values() for pid in node.pids()]
        say(processes=[[pid, start_ticks(pid)] for pid in pids], groups=groups_of(folder.name))
        await asyncio.sleep(60)


async def unanswered(cluster: ProcessCluster, name: str) -> bool:
    try:
        async with asyncio.timeout(0.3):
            await ask(cluster, name, op="heard")
    except (OSError, TimeoutError):
        return True
    return False


async def orphan(folder: Path, silence_s: float = 30.0) -> None:
    """Breaks everything, says who is there, and waits to be killed."""
    async with running(folder, silence_s) as cluster:
        fault, _ = partition(cluster, 1, shape="halves")
        await fault.inject()
        await FAMILIES["pause"].build({"targets": ["n1"]}, cluster).inject()
        await FAMILIES["kill"].build({"targets": ["n2"]}, cluster).inject()
        pids = [pid for node in cluster.nodes.values() for pid in node.pids()]
        pids.append(cluster.undo.pid)  # type: ignore[attr-defined]
        say(processes=[[pid, start_ticks(pid)] for pid in pids], watchdog=pids[-1])
        await asyncio.sleep(60)


async def silent(folder: Path) -> None:
    """The same, with a watchdog that loses patience after four seconds: a living controller beats every second."""
    await orphan(folder, silence_s=4.0)


async def refused(folder: Path) -> None:
    """A start that fails in the middle leaves nothing."""
    substrate = ProcessSubstrate()
    watchdog = Watchdog.start(run_id=folder.name, folder=folder)

    def wrong(place: Place, places: object) -> Launch:
        return Launch(argv=["capsize-no-such-program"]) if place.name == "n4" else launch(place, places)

    cluster = await substrate.cluster(
        run_id=folder.name, nodes=NODES, launch=wrong, image=None, folder=folder / "nodes", undo=watchdog, setup=Setup()
    )
    try:
        await cluster.start()
    except HarnessError as error:
        say(error=str(error))
    await cluster.stop()
    await cluster.stop()
    say(undone_by_watchdog=watchdog.close(), data=[str(path) for path in folder.rglob("data")])


DEEDS: dict[str, Callable[[Path], Awaitable[None]]] = {
    "shapes": shapes,
    "compose": compose,
    "processes": processes,
    "orphan": orphan,
    "silent": silent,
    "actions": actions,
    "restraints": restraints,
    "restrained": restrained,
    "refused": refused,
}


async def perform(deed: str, folder: Path) -> None:
    await DEEDS[deed](folder)


if __name__ == "__main__":
    ProcessSubstrate().prepare()
    asyncio.run(perform(sys.argv[2], Path(sys.argv[1])))
