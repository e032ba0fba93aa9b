"""The substrate ``compose``: the services of ``compose/cluster.yaml``, as a project of the run's own.

What ``docker compose up`` starts by hand is tested as it is described there; only names, addresses, folders and
commands are the run's. A node is made of the same two containers as on the substrate ``docker``, and touched in the
same way (:mod:`harness.substrates.docker_node`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from faults.cuts import CLIENT
from faults.family import Setup
from harness.errors import HarnessError
from harness.host.probes import Endpoint
from harness.substrates import subnets
from harness.substrates.compose_project import SERVICES, Project, program
from harness.substrates.docker import (
    DATA_DIR,
    LOG_DIR,
    NETWORK_TRIES_MAX,
    PROGRAMS_DIR,
    DockerCluster,
    DockerSubstrate,
    all_of,
    hands_on,
)
from harness.substrates.docker_node import DockerNode
from harness.substrates.door import Door
from harness.substrates.engine import ContainerFacts, ContainerSpec, EngineError, SubnetTakenError
from harness.substrates.protocol import Image, Launch, LaunchOf, Place

OVERRIDE = "compose.json"
"""In the run folder's ``nodes``: what was laid over the shipped file."""


class ComposeCluster(DockerCluster):
    """Made by the compose program, all services in one go; everything else is the docker substrate's."""

    @classmethod
    def like(cls, made: DockerCluster) -> ComposeCluster:
        """With the plan of a cluster that is not started."""
        return cls(plan=made._plan, engine=made._engine, names=made._names, undo=made.undo)

    async def start(self) -> None:
        """Makes every node's storage, then the project; verifies that links are open.

        Raises:
            HarnessError: the engine or the compose program refuses; what was made is removed by :meth:`stop`.
        """
        for name in self._names:
            storage = self._storage[name] = self._plan.storage(name, self.undo)
            storage.folder.mkdir(parents=True, exist_ok=True)
            await storage.make()
            await self._register("container", self._plan.holder(name))
            await self._register("container", self._plan.server(name))
        await self._register("docker_network", self._plan.network)
        door = Door(self._plan.run_id)
        await self._register("remove", door.folder, argument="path")
        try:
            door.open()
            for name in self._names:
                door.listen(name)
            launches, subnet = await self._up(door)
            await all_of(self._take(place, launches[place.name], door) for place in self.places.values())
        finally:
            door.close()
        self._add_client(subnets.gateway(subnet))
        await self._verify_links()

    async def _up(self, door: Door) -> tuple[Mapping[str, Launch], subnets.Network]:
        """Starts the project on the first subnet that is free."""
        taken = [*await self._engine.subnets(), *subnets.host_routes(subnets.ROUTES.read_text(encoding="ascii"))]
        candidates = subnets.candidates(self._plan.run_id, taken, self._plan.pool)
        project = Project(name=self._plan.network, file=self._plan.folder / OVERRIDE)
        for _, subnet in zip(range(NETWORK_TRIES_MAX), candidates, strict=False):
            self.places = places_on(subnet, self._names)
            launches = {name: self._plan.launch(place, self.places) for name, place in self.places.items()}
            try:
                await project.up(self._specs(launches, door), network=self._plan.network, subnet=subnet)
            except SubnetTakenError:
                continue
            return launches, subnet
        raise HarnessError(
            f"no free subnet in {self._plan.pool} for containers: `docker network prune` removes unused ones"
        )

    def _specs(self, launches: Mapping[str, Launch], door: Door) -> Mapping[str, ContainerSpec]:
        """By the service's name in the file."""
        specs = {}
        for name, place in self.places.items():
            specs[f"{name}-net"] = self._plan.holder_spec(place, door)
            specs[name] = self._plan.server_spec(place, launches[name], self._storage[name].data)
        return specs

    async def _take(self, place: Place, launch: Launch, door: Door) -> None:
        """The containers of one node, in hand."""
        holder, server = self._plan.holder(place.name), self._plan.server(place.name)
        hands = hands_on(self._engine, holder, await self._facts(holder))
        opened = await door.receive(place.name)
        self.links.add(place.name, Endpoint(address=place.address, netns=hands.netns), opened)
        self._nodes[place.name] = DockerNode(
            place=place,
            engine=self._engine,
            hands=hands,
            server=server,
            facts=await self._facts(server),
            storage=self._storage[place.name],
            argv=tuple(launch.argv),
        )

    async def _facts(self, container: str) -> ContainerFacts:
        facts = await self._engine.inspect(container)
        if facts is None:
            raise EngineError(f"compose started no container {container}: see {self._plan.folder / OVERRIDE}")
        return facts


class ComposeSubstrate(DockerSubstrate):
    """Implements :class:`harness.substrates.protocol.Substrate`."""

    name = "compose"

    def missing(self) -> Sequence[str]:
        """See the protocol."""
        missing = [*super().missing()]
        try:
            program()
        except HarnessError as error:
            missing.append(str(error))
        return missing

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
    ) -> ComposeCluster:
        """See the protocol.

        Raises:
            HarnessError: more nodes than the file has, or no image of the system.
        """
        unknown = [name for name in nodes if name not in SERVICES]
        if unknown or CLIENT in nodes:
            raise HarnessError(
                f"compose/cluster.yaml has no service {', '.join(unknown)}: its nodes are {', '.join(SERVICES)};"
                f" use at most --nodes {len(SERVICES)}, or --substrate docker"
            )
        made = await super().cluster(
            run_id=run_id, nodes=nodes, launch=launch, image=image, folder=folder, undo=undo, setup=setup
        )
        return ComposeCluster.like(made)


def places_on(subnet: subnets.Network, names: Sequence[str]) -> Mapping[str, Place]:
    """Every node's place on a network."""
    found = subnets.addresses(subnet, names)
    return {
        name: Place(
            name=name,
            address=found[name],
            data_dir=DATA_DIR,
            log_dir=LOG_DIR,
            python="python3",
            programs=PROGRAMS_DIR,
        )
        for name in names
    }
