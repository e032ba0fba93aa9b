"""The docker substrate on a real engine: a small cluster of echo servers on which every fault bites and heals."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random

import docker
import pytest

from faults.cuts import CLIENT
from faults.family import Setup
from faults.kill import KillFamily
from faults.needs import Fault, ProcessState
from faults.network import NetworkFamily, NetworkParameters
from faults.partition import PartitionFamily, PartitionParameters
from faults.pause import PauseFamily
from harness.cleanup import marks
from harness.cleanup.watchdog import Watchdog
from harness.errors import HarnessError
from harness.substrates import docker as substrate
from harness.substrates.docker import DockerCluster, DockerSubstrate
from harness.substrates.docker_node import EngineHands
from harness.substrates.engine import ContainerFacts, Engine
from harness.substrates.protocol import Image, Launch, Place

NAMES = ("n1", "n2", "n3")
PORT = 7000
ECHO = f"""
import socket, sys, threading
listening = socket.create_server((sys.argv[1], {PORT}))
print("serving", flush=True)

def serve(connection):
    while data := connection.recv(100):
        connection.sendall(data)

while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""
ANSWER_TIMEOUT_S = 5.0
SILENCE_S = 0.3

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),  # the first test may have to make images: a minute on an idle machine
    pytest.mark.skipif(bool(DockerSubstrate().missing()), reason="; ".join(DockerSubstrate().missing())),
]


def launch(place: Place, places: Mapping[str, Place]) -> Launch:
    """An echo server on the place's address."""
    del places
    return Launch(argv=[place.python, "-u", "-c", ECHO, place.address])


async def made(folder: Path, run_id: str, undo: Watchdog) -> DockerCluster:
    """A cluster that is not started."""
    return await DockerSubstrate().cluster(
        run_id=run_id,
        nodes=NAMES,
        launch=launch,
        image=Image(target="raftkv", tag="capsize/raftkv"),
        folder=folder / "nodes",
        undo=undo,
        setup=Setup(),
    )


def things_of(run_id: str) -> list[str]:
    """Containers and networks of the run that the engine knows, asked past our own code."""
    client = docker.from_env()
    try:
        wanted = {"label": f"{marks.LABEL_RUN}={run_id}"}
        containers = [each.name for each in client.containers.list(all=True, filters=wanted)]
        return containers + [each.name for each in client.networks.list(filters=wanted)]
    finally:
        client.close()


@pytest.fixture(params=["direct", "by the engine"])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DockerCluster]:
    """A running cluster with a real watchdog: touched by root's means, then by those of an ordinary user."""
    if request.param == "direct" and os.geteuid() != 0:
        pytest.skip("needs root")
    run_id = f"test{os.getpid()}{request.param[0]}"
    watchdog = Watchdog.start(run_id=run_id, folder=tmp_path)
    cluster = await made(tmp_path, run_id, watchdog)
    hands_on = substrate.hands_on
    if request.param != "direct":
        substrate.hands_on = engine_hands
    try:
        await cluster.start()
        await wait_serving(cluster)
        yield cluster
    finally:
        substrate.hands_on = hands_on
        await cluster.stop()
        undone = watchdog.close()
    assert not undone
    assert not things_of(run_id)


def engine_hands(engine: Engine, holder: str, facts: ContainerFacts) -> EngineHands:
    """What an ordinary user gets."""
    del facts
    return EngineHands(engine, holder)


async def answers(address: str, timeout_s: float) -> bool:
    """Whether the echo server there echoes within the time."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(address, PORT)
            try:
                writer.write(b"ping")
                return await reader.readexactly(4) == b"ping"
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def wait_serving(cluster: DockerCluster) -> None:
    """Waits until every server accepts connections; processes exist a moment earlier."""
    for place in cluster.places.values():
        for _ in range(200):
            if await answers(place.address, SILENCE_S):
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(f"{place.name} never serves")


async def prove(fault: Fault, cluster: DockerCluster, victim: str, *, silences: bool) -> None:
    """Injects and heals; what the harness's proof says must agree with what a client of the victim sees."""
    bitten = await fault.inject()
    assert bitten.holds, bitten.evidence
    patience_s = SILENCE_S if silences else ANSWER_TIMEOUT_S
    assert await answers(cluster.places[victim].address, patience_s) is not silences
    healed = await fault.heal()
    assert healed.holds, healed.evidence
    await wait_serving(cluster)


async def test_kill_pause_partition_and_network_bite_and_heal(cluster: DockerCluster) -> None:
    """One cluster, every fault, seen by the harness's probes and by a client."""
    assert isinstance(cluster, DockerCluster)
    await prove(KillFamily().build({"targets": ["n1"]}, cluster), cluster, "n1", silences=True)
    await prove(PauseFamily().build({"targets": ["n2"]}, cluster), cluster, "n2", silences=True)
    await prove(partition(cluster, clients=False), cluster, "n3", silences=False)
    await prove(partition(cluster, clients=True), cluster, "n3", silences=True)
    await prove(network(cluster, "n1", delay="20ms", jitter="5ms", clients=True), cluster, "n1", silences=False)
    await prove(network(cluster, "n2", loss="20%", duplicate="20%", peers=["n1"]), cluster, "n2", silences=False)
    assert await cluster.exits() == {}


def network(cluster: DockerCluster, target: str, **said: object) -> Fault:
    """Bad links of one node."""
    family = NetworkFamily()
    parameters = NetworkParameters.model_validate(said)
    return family.build(family.resolve(parameters, targets=(target,), nodes=NAMES, random=Random(1)), cluster)


def partition(cluster: DockerCluster, *, clients: bool) -> Fault:
    """n3 cut off from the others, and from clients, too."""
    parameters = PartitionParameters(shape="isolate", clients=clients)
    resolved = PartitionFamily().resolve(parameters, targets=("n3",), nodes=NAMES, random=Random(1))
    return PartitionFamily().build(resolved, cluster)


async def test_a_partition_outlives_the_restart_of_its_node(cluster: DockerCluster) -> None:
    """Rules and probes belong to the holder's namespace: a killed and restarted node is still cut off."""
    cut = partition(cluster, clients=False)
    assert (await cut.inject()).holds
    kill = KillFamily().build({"targets": ["n3"]}, cluster)
    assert (await kill.inject()).holds
    assert (await kill.heal()).holds
    seen = await cluster.links.probe([("n1", "n3"), ("n3", "n1"), ("n1", "n2"), (CLIENT, "n3")], timeout_s=SILENCE_S)
    assert list(seen.values()) == [False, False, True, True]
    assert (await cut.heal()).holds


async def test_a_server_that_dies_by_itself_is_told_with_its_signal(cluster: DockerCluster) -> None:
    """An abort of the server is no first process's privilege to ignore: it dies, and its log stays."""
    pid = cluster.nodes["n2"].pids()[-1]
    if os.geteuid() != 0 and os.stat(f"/proc/{pid}").st_uid != os.geteuid():
        pytest.skip("the server is not ours to signal")
    os.kill(pid, signal.SIGABRT)
    for _ in range(500):
        if await cluster.nodes["n2"].state() is ProcessState.DEAD:
            break
        await asyncio.sleep(0.01)
    assert await cluster.exits() == {"n2": -signal.SIGABRT}
    await cluster.collect()
    assert (cluster._plan.folder / "n2" / "node.log").read_text().startswith("serving\n")


async def test_two_runs_side_by_side_do_not_meet(cluster: DockerCluster, tmp_path: Path) -> None:
    """Another cluster of the same node names comes and goes; ours keeps its links."""
    run_id = f"test{os.getpid()}side"
    folder = tmp_path / "other"
    folder.mkdir()
    watchdog = Watchdog.start(run_id=run_id, folder=folder)
    other = await made(folder, run_id, watchdog)
    try:
        await other.start()
        assert not {place.address for place in other.places.values()} & {p.address for p in cluster.places.values()}
        pause = PauseFamily().build({"targets": list(NAMES)}, other)
        assert (await pause.inject()).holds
        await wait_serving(cluster)
        await pause.heal()
    finally:
        await other.stop()
        watchdog.close()
    assert not things_of(run_id)
    await wait_serving(cluster)


async def test_a_dead_controllers_cluster_is_removed_by_the_watchdog(tmp_path: Path) -> None:
    """The undo list alone is enough: the watchdog's goodbye removes what the controller never stopped."""
    run_id = f"test{os.getpid()}dead"
    watchdog = Watchdog.start(run_id=run_id, folder=tmp_path)
    cluster = await made(tmp_path, run_id, watchdog)
    await cluster.start()
    assert len(things_of(run_id)) == 2 * len(NAMES) + 1
    await PauseFamily().build({"targets": ["n1"]}, cluster).inject()
    cluster.links.close()
    undone = watchdog.close()
    assert undone
    assert [line for line in undone if not line.endswith("undone")] == []
    assert not things_of(run_id)


async def test_an_image_that_cannot_start_is_a_clear_error(tmp_path: Path) -> None:
    """The engine's own words, and nothing stays."""
    run_id = f"test{os.getpid()}bad"
    watchdog = Watchdog.start(run_id=run_id, folder=tmp_path)
    cluster = await made(tmp_path, run_id, watchdog)
    cluster._plan = cluster._plan.__class__(
        run_id=run_id, folder=tmp_path, image="capsize/none:1", toolbox=cluster._plan.toolbox, launch=launch
    )
    try:
        with pytest.raises(HarnessError, match="capsize/none"):
            await cluster.start()
    finally:
        await cluster.stop()
        watchdog.close()
    assert not things_of(run_id)
