"""The ``docker`` substrate: every node in containers on a bridge network of the run's own.

Addresses are fixed, logs and data lie in the run folder by bind mounts, and containers run as the person who started
them, so that what they leave can be read and deleted. Everything carries the run and its controller as labels and is
registered with the watchdog by name before it is made. See :mod:`harness.substrates.docker_node` for what a node is
made of.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from faults.cuts import CLIENT
from faults.family import Setup
from faults.needs import Admin, Dates, Messages, Node, Undo, UndoList
from harness.cleanup import marks
from harness.errors import HarnessError
from harness.host.namespaces import SEARCH_PATH
from harness.host.probes import Endpoint, Probes
from harness.substrates import clocks, subnets
from harness.substrates.abilities import refused_here
from harness.substrates.docker_node import (
    NODE_LOG,
    RELAUNCH,
    DirectHands,
    DockerNode,
    EngineHands,
    Hands,
    exit_status,
    killed_for_memory,
)
from harness.substrates.door import MOUNT, Door
from harness.substrates.engine import ContainerFacts, ContainerSpec, Engine, EngineError, SubnetTakenError, connect
from harness.substrates.protocol import Image, Launch, LaunchOf, Place
from harness.substrates.storage import Storage

LOG_DIR = "/capsize/log"
DATA_DIR = "/capsize/data"
PROGRAMS_DIR = "/opt/capsize/bin"
"""Where images have the programs of :class:`harness.substrates.protocol.Image`."""
NETWORK_TRIES_MAX = 20
LINKS_TIMEOUT_S = 5.0
REMOVALS = ("container", "docker_network")
REMOVAL_POLL_S = 0.1
REMOVAL_POLLS_MAX = 50
_INIT = f'[ ! -e {LOG_DIR}/{RELAUNCH} ] || . {LOG_DIR}/{RELAUNCH}; "$@" >>{LOG_DIR}/{NODE_LOG} 2>&1; exit $?'
"""The container's first process: a shell that waits. The server must not be the first process itself, because to that
one the kernel delivers no signal that it has no handler for, not even its own abort(3) (pid_namespaces(7)).
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything about a cluster that is decided before anything is made."""

    run_id: str
    folder: Path
    image: str
    toolbox: str
    launch: LaunchOf
    keep_data: bool = False
    setup: Setup = field(default_factory=Setup)
    pool: subnets.Network = subnets.POOL

    @property
    def network(self) -> str:
        """Name of the network."""
        return f"capsize-{self.run_id}"

    def holder(self, node: str) -> str:
        """Name of the container that owns a node's network namespace."""
        return f"capsize-{self.run_id}-{node}-net"

    def server(self, node: str) -> str:
        """Name of the container in which a node's server runs."""
        return f"capsize-{self.run_id}-{node}"

    @property
    def labels(self) -> Mapping[str, str]:
        """What everything carries, so that leftovers of dead controllers are known."""
        return {marks.LABEL_RUN: self.run_id, marks.LABEL_CONTROLLER: str(marks.this_controller())}

    def holder_spec(self, place: Place, door: Door) -> ContainerSpec:
        """The holder, which hands out a socket for the probes first."""
        return ContainerSpec(
            name=self.holder(place.name),
            image=self.toolbox,
            argv=door.holder_argv(place.name, place.address),
            labels=self.labels,
            mounts={door.folder: MOUNT},
            network=self.network,
            address=place.address,
            capabilities=("NET_ADMIN", "NET_RAW"),
        )

    def storage(self, node: str, undo: UndoList) -> Storage:
        """What a node's data is on."""
        folder = self.folder / node
        return Storage(name=node, folder=folder, wanted=self.setup.storage, undo=undo, keep_data=self.keep_data)

    def server_spec(self, place: Place, launch: Launch, data: Path) -> ContainerSpec:
        """The server: what the system launches, with its output in ``node.raft.log``."""
        home = self.folder / place.name
        return ContainerSpec(
            name=self.server(place.name),
            image=self.image,
            argv=["/bin/sh", "-c", _INIT, "capsize", *launch.argv],
            labels=self.labels,
            env={"HOME": DATA_DIR, **launch.env},
            mounts={str(home): LOG_DIR, str(data): DATA_DIR},
            workdir=LOG_DIR,
            user=f"{os.getuid()}:{os.getgid()}",
            network_of=self.holder(place.name),
        )


class DockerCluster:
    """Implements :class:`harness.substrates.protocol.Cluster`."""

    def __init__(self, *, plan: Plan, engine: Engine, names: Sequence[str], undo: UndoList) -> None:
        self.places: Mapping[str, Place] = {}
        self.links = Probes()
        self.undo = undo
        self.admin: Admin | None = None
        self.messages: Messages | None = None
        self.dates: Dates | None = None
        self.clocks: Mapping[str, int] = {}
        self._plan = plan
        self._engine = engine
        self._names = names
        self._nodes: dict[str, DockerNode] = {}
        self._storage: dict[str, Storage] = {}
        self._made: list[Undo] = []
        """What was registered, in the order of making; so what has to be removed, from the end."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes, once they are started; in the cluster's order, whichever was first: what is drawn at random must
        not depend on it.
        """
        return {name: self._nodes[name] for name in self._names if name in self._nodes}

    async def start(self) -> None:
        """Makes the network, then every node's containers side by side.

        Raises:
            HarnessError: the engine refused; what was made until then is removed by :meth:`stop`.
        """
        subnet = await self._make_network()
        found = subnets.addresses(subnet, self._names)
        self.places = {
            name: Place(
                name=name,
                address=found[name],
                data_dir=DATA_DIR,
                log_dir=LOG_DIR,
                python="python3",
                programs=PROGRAMS_DIR,
            )
            for name in self._names
        }
        door = Door(self._plan.run_id)
        await self._register("remove", door.folder, argument="path")
        try:
            door.open()
            await all_of(self._start_node(place, door) for place in self.places.values())
        finally:
            door.close()
        self._add_client(subnets.gateway(subnet))
        await self._verify_links()

    async def _make_network(self) -> subnets.Network:
        await self._register("docker_network", self._plan.network)
        taken = [*await self._engine.subnets(), *subnets.host_routes(subnets.ROUTES.read_text(encoding="ascii"))]
        candidates = subnets.candidates(self._plan.run_id, taken, self._plan.pool)
        for _, subnet in zip(range(NETWORK_TRIES_MAX), candidates, strict=False):
            try:
                await self._engine.create_network(
                    self._plan.network,
                    subnet=str(subnet),
                    gateway=subnets.gateway(subnet),
                    labels=self._plan.labels,
                )
            except SubnetTakenError:
                continue  # another run was faster, or the engine knows of a network that we don't
            return subnet
        raise HarnessError(
            f"no free subnet in {self._plan.pool} for containers: `docker network prune` removes unused ones"
        )

    async def _start_node(self, place: Place, door: Door) -> None:
        storage = self._storage[place.name] = self._plan.storage(place.name, self.undo)
        storage.folder.mkdir(parents=True, exist_ok=True)
        await storage.make()
        holder, server = self._plan.holder(place.name), self._plan.server(place.name)
        await self._register("container", holder)
        await self._register("container", server)
        door.listen(place.name)
        held = await self._engine.launch(self._plan.holder_spec(place, door))
        hands = hands_on(self._engine, holder, held)
        opened = await door.receive(place.name)
        self.links.add(place.name, Endpoint(address=place.address, netns=hands.netns), opened)
        launch = self._plan.launch(place, self.places)
        facts = await self._engine.launch(self._plan.server_spec(place, launch, storage.data))
        self._nodes[place.name] = DockerNode(
            place=place,
            engine=self._engine,
            hands=hands,
            server=server,
            facts=facts,
            storage=storage,
            argv=tuple(launch.argv),
        )

    def _add_client(self, address: str) -> None:
        """The controller's end, for faults that cut clients off: its address on the bridge, in the machine's own
        network.

        Raises:
            HarnessError: this machine does not have the bridge.
        """
        try:
            self.links.add(CLIENT, Endpoint(address=address, netns=None))
        except OSError as error:
            raise HarnessError(
                f"this machine has no address {address} of the containers' bridge ({error.strerror}): the engine must"
                " run here, not in a virtual machine, on another host or without root (`docker context ls`)"
            ) from error

    async def _verify_links(self) -> None:
        ends = [CLIENT, *self._names]
        pairs = [(source, target) for source in ends for target in self._names if source != target]
        seen = await self.links.probe(pairs, timeout_s=LINKS_TIMEOUT_S)
        closed = [f"{source} to {target}" for (source, target), is_open in seen.items() if not is_open]
        if closed:
            raise HarnessError(
                f"the containers' network carries no packets from {', '.join(closed)}: is a firewall of this machine"
                " in the way? `sudo iptables -L FORWARD -v` tells"
            )

    async def exits(self) -> Mapping[str, int]:
        """See :class:`harness.substrates.protocol.Cluster`. A crash counts even if the node was started again since."""
        earlier = {name: node.own_death for name, node in self._nodes.items() if node.own_death is not None}
        dead = [node for node in self._nodes.values() if not node.ended_by_fault and not node.alive]
        facts = await asyncio.gather(*(node.wait_ended() for node in dead))
        died = [(node.name, each) for node, each in zip(dead, facts, strict=True) if not killed_for_memory(each)]
        return earlier | {name: exit_status(each.exit_code) for name, each in died}

    async def collect(self) -> None:
        """Logs are in the run folder already; what a container printed before its log was open is put beside them."""
        for name in self._nodes:
            printed = await self._engine.output(self._plan.server(name))
            if printed:
                (self._plan.folder / name / "docker.log").write_bytes(printed)

    async def stop(self) -> None:
        """Removes containers side by side, then the network, then the data unless it is to be kept.

        Raises:
            HarnessError: something is still there.
        """
        self.links.close()
        if not self._made:
            return
        names = {kind: [undo.arguments["id"] for undo in self._made if undo.kind == kind] for kind in REMOVALS}
        errors = await outcomes(self._engine.remove(name) for name in names["container"])
        errors += await outcomes(self._engine.remove_network(name) for name in names["docker_network"])
        left = await self._left(patient=not errors)
        if left:
            reasons = "; ".join(map(str, errors))
            raise HarnessError(f"still there after removal: {', '.join(left)} ({reasons}); `capsize clean` tries again")
        await all_of(storage.remove() for storage in self._storage.values())
        await all_of(self.undo.discharge(undo.id) for undo in self._made)
        self._made.clear()
        self._engine.close()

    async def _left(self, *, patient: bool) -> Sequence[str]:
        """What is still there; if no removal failed, waits a little for those that somebody else began."""
        for _ in range(REMOVAL_POLLS_MAX if patient else 1):
            left = await self._engine.labelled(f"{marks.LABEL_RUN}={self._plan.run_id}")
            if not left:
                break
            await asyncio.sleep(REMOVAL_POLL_S)
        return left

    async def _register(self, kind: str, name: str, *, argument: str = "id") -> None:
        undo = Undo(id=f"{kind} {name}", kind=kind, arguments={argument: name})
        self._made.append(undo)
        await self.undo.register(undo)


def hands_on(engine: Engine, holder: str, facts: ContainerFacts) -> Hands:
    """Direct, if we are root where the engine is: its process ids must mean the same processes to us."""
    if os.geteuid() == 0 and facts.id in _cgroups(facts.pid):
        return DirectHands(facts.pid)
    return EngineHands(engine, holder)


def _cgroups(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return ""


async def all_of(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Side by side, to the end, whatever one of them comes to; then raises the first error, if there is one.

    Requests to the engine cannot be called back, so nothing may be cleaned up while some are under way.
    """
    for error in await outcomes(works):
        raise error


async def outcomes(works: Iterable[Coroutine[Any, Any, None]]) -> list[BaseException]:
    """The same, but returns the errors."""
    results = await asyncio.gather(*works, return_exceptions=True)
    return [result for result in results if result is not None]


class DockerSubstrate:
    """Implements :class:`harness.substrates.protocol.Substrate`."""

    name = "docker"
    one_clock = True
    cannot: Mapping[str, str] = {}

    def __init__(self, *, keep_data: bool = False) -> None:
        self.keep_data = keep_data

    def missing(self) -> Sequence[str]:
        """See the protocol. Asks the engine once."""
        try:
            engine = connect()
        except EngineError as error:
            return [f"{error}: {mend_engine()}"]
        engine.close()
        return _missing_tools()

    def refused(self) -> Mapping[str, str]:
        """See the protocol."""
        reason = clocks.why_refused_in_containers()
        return {**refused_here(), **({"clock": reason} if reason is not None else {})}

    def prepare(self) -> None:
        """Nothing: the controller stays in the machine's own network, whose bridge is how clients reach containers."""

    async def cluster(
        self,
        *,
        run_id: str,
        nodes: Sequence[str],
        launch: LaunchOf,
        image: Image | None,
        folder: Path,
        undo: object,
        setup: Setup,
    ) -> DockerCluster:
        """See the protocol. Builds the image of the system first, if the engine does not have it.

        Raises:
            HarnessError: the system has no image, or it cannot be built.
        """
        if CLIENT in nodes:
            raise HarnessError(f"no node can be called {CLIENT!r}: that is where clients send from")
        if image is None:
            raise HarnessError("this system cannot run in containers: it names no image; use --substrate process")
        tag, toolbox = await asyncio.to_thread(_ensure_images, image)
        plan = Plan(
            run_id=run_id,
            folder=folder.resolve(),
            image=tag,
            toolbox=toolbox,
            launch=launch,
            keep_data=self.keep_data,
            setup=setup,
        )
        return DockerCluster(plan=plan, engine=connect(), names=nodes, undo=cast(UndoList, undo))


def _ensure_images(image: Image) -> tuple[str, str]:
    import docker

    from harness.substrates import images

    client = docker.from_env(timeout=images.BUILD_TIMEOUT_S)
    try:
        return images.ensure(client, image), images.ensure(client, images.TOOLBOX)
    finally:
        client.close()


def _missing_tools() -> Sequence[str]:
    """Root uses this machine's tools, everybody else the engine's command line."""
    wanted = {"nsenter": "util-linux", "iptables": "iptables"} if os.geteuid() == 0 else {"docker": "docker-cli"}
    return [
        f"{tool} not found: sudo apt-get install -y {package}"
        for tool, package in wanted.items()
        if shutil.which(tool, path=SEARCH_PATH) is None
    ]


def mend_engine() -> str:
    """The line that brings an engine, as far as can be told from here."""
    socket_path = Path("/var/run/docker.sock")
    if shutil.which("dockerd", path=SEARCH_PATH) is None and not socket_path.exists():
        return "sudo apt-get install -y docker.io"
    if socket_path.exists() and not os.access(socket_path, os.W_OK):
        return "sudo usermod -aG docker $USER   (then log in again)"
    if Path("/run/systemd/system").is_dir():
        return "sudo systemctl start docker"
    return "sudo sh -c 'dockerd >/var/log/dockerd.log 2>&1 &'"
