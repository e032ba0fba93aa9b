"""A Docker engine, as far as the docker substrate needs one: a small asynchronous face on the blocking SDK.

Everything is told by name, never by id, because a name can be registered with the watchdog *before* the thing exists.
The fake for tests is :class:`harness.substrates.fake_engine.FakeEngine`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from harness.errors import HarnessError

if TYPE_CHECKING:
    from docker import DockerClient

THREADS = 10
"""Requests under way at the same time: the engine works on so many containers side by side."""
TIMEOUT_S = 60
NODE_LOG_BYTES = "1m"
"""What the engine itself keeps of a container's output; the node's own goes to ``node.raft.log``."""

_T = TypeVar("_T")


class EngineError(HarnessError):
    """The Docker engine refused, or is not there."""


class MissingError(EngineError):
    """The engine knows no such thing."""


class ConflictError(EngineError):
    """Not in its present state: it does not run, is frozen already, is being removed already."""


class SubnetTakenError(EngineError):
    """The addresses asked for belong to another network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerSpec:
    """A container to be made. It has a network of its own (``network``, ``address``) or shares another container's
    (``network_of``). ``mounts`` maps folders of this machine to folders in it.
    """

    name: str
    image: str
    argv: Sequence[str]
    labels: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str | None = None
    network: str | None = None
    address: str | None = None
    network_of: str | None = None
    capabilities: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerFacts:
    """What the engine says about a container. ``pid`` is this machine's; 0 when it does not run."""

    id: str
    pid: int
    running: bool
    paused: bool
    exit_code: int
    for_memory: bool = False
    """Whether something in it was killed for memory."""


class Engine(Protocol):
    """What the substrate asks of an engine. Whatever it refuses is an :class:`EngineError`."""

    async def subnets(self) -> Sequence[str]:
        """Subnets of every network that it has."""

    async def create_network(self, name: str, *, subnet: str, gateway: str, labels: Mapping[str, str]) -> None:
        """Makes a bridge network.

        Raises:
            SubnetTakenError: choose another subnet.
        """

    async def launch(self, spec: ContainerSpec) -> ContainerFacts:
        """Makes a container and starts it."""

    async def start(self, name: str) -> ContainerFacts:
        """Starts a container again that had ended."""

    async def inspect(self, name: str) -> ContainerFacts | None:
        """What is known about it; None if there is no such container."""

    async def kill(self, name: str, number: int) -> None:
        """Signals the container's first process. No error if it does not run."""

    async def pause(self, name: str) -> None:
        """Freezes all its processes. No error if it does not run or is frozen."""

    async def unpause(self, name: str) -> None:
        """Lets them go on. No error if it is not frozen."""

    async def output(self, name: str) -> bytes:
        """What the container printed to the engine."""

    async def remove(self, name: str) -> None:
        """Ends and removes a container with its anonymous volumes. No error if it is gone."""

    async def remove_network(self, name: str) -> None:
        """Removes a network. No error if it is gone."""

    async def labelled(self, label: str) -> Sequence[str]:
        """Names of containers and networks that carry the label (``name`` or ``name=value``)."""

    def close(self) -> None:
        """Lets the connection go."""


class DockerEngine:
    """The real one, by the Docker SDK, with a few threads for its blocking calls."""

    def __init__(self, client: DockerClient) -> None:
        self._api: Any = client.api  # the stubs of the low-level interface are incomplete
        self._client = client
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")

    async def subnets(self) -> Sequence[str]:
        """See :class:`Engine`."""
        networks = await self._do(self._api.networks)
        configs = [config for network in networks for config in (network.get("IPAM") or {}).get("Config") or ()]
        return [config["Subnet"] for config in configs if "Subnet" in config]

    async def create_network(self, name: str, *, subnet: str, gateway: str, labels: Mapping[str, str]) -> None:
        """See :class:`Engine`."""
        from docker.types import IPAMConfig, IPAMPool

        addresses = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet, gateway=gateway)])
        try:
            await self._do(
                lambda: self._api.create_network(
                    name, driver="bridge", ipam=addresses, labels=dict(labels), check_duplicate=True
                )
            )
        except EngineError as error:
            # The engine has no code of its own for it: 403 or 400 or 500 with these words, depending on its version.
            if "overlap" in str(error).lower():
                raise SubnetTakenError(str(error)) from error
            raise

    async def launch(self, spec: ContainerSpec) -> ContainerFacts:
        """See :class:`Engine`."""
        return await self._do(lambda: self._launch(spec))

    def _launch(self, spec: ContainerSpec) -> ContainerFacts:
        from docker.types import Mount

        networking = None
        if spec.network is not None:
            endpoint = self._api.create_endpoint_config(ipv4_address=spec.address)
            networking = self._api.create_networking_config({spec.network: endpoint})
        host = self._api.create_host_config(
            mounts=[Mount(inside, outside, type="bind") for outside, inside in spec.mounts.items()],
            network_mode=spec.network or f"container:{spec.network_of}",
            cap_add=list(spec.capabilities) or None,
            log_config={"Type": "json-file", "Config": {"max-size": NODE_LOG_BYTES, "max-file": "1"}},
        )
        self._api.create_container(
            spec.image,
            entrypoint=list(spec.argv[:1]),
            command=list(spec.argv[1:]),
            name=spec.name,
            environment=dict(spec.env),
            user=spec.user,
            working_dir=spec.workdir,
            labels=dict(spec.labels),
            host_config=host,
            networking_config=networking,
        )
        self._api.start(spec.name)
        return self._facts(spec.name)

    def _facts(self, name: str) -> ContainerFacts:
        found = self._api.inspect_container(name)
        state = found["State"]
        return ContainerFacts(
            id=found["Id"],
            pid=int(state.get("Pid") or 0),
            running=bool(state["Running"]),
            paused=bool(state.get("Paused")),
            exit_code=int(state.get("ExitCode") or 0),
            for_memory=bool(state.get("OOMKilled")),
        )

    async def start(self, name: str) -> ContainerFacts:
        """See :class:`Engine`."""

        def work() -> ContainerFacts:
            self._api.start(name)
            return self._facts(name)

        return await self._do(work)

    async def inspect(self, name: str) -> ContainerFacts | None:
        """See :class:`Engine`."""
        try:
            return await self._do(lambda: self._facts(name))
        except MissingError:
            return None

    async def kill(self, name: str, number: int) -> None:
        """See :class:`Engine`."""
        with contextlib.suppress(MissingError, ConflictError):
            await self._do(lambda: self._api.kill(name, number))

    async def pause(self, name: str) -> None:
        """See :class:`Engine`."""
        with contextlib.suppress(MissingError, ConflictError):
            await self._do(lambda: self._api.pause(name))

    async def unpause(self, name: str) -> None:
        """See :class:`Engine`."""
        with contextlib.suppress(MissingError, ConflictError):
            await self._do(lambda: self._api.unpause(name))

    async def output(self, name: str) -> bytes:
        """See :class:`Engine`."""
        try:
            return bytes(await self._do(lambda: self._api.logs(name, stdout=True, stderr=True)))
        except MissingError:
            return b""

    async def remove(self, name: str) -> None:
        """See :class:`Engine`. A conflict: somebody else, like the watchdog, is removing it at this moment."""
        with contextlib.suppress(MissingError, ConflictError):
            await self._do(lambda: self._api.remove_container(name, force=True, v=True))

    async def remove_network(self, name: str) -> None:
        """See :class:`Engine`."""
        with contextlib.suppress(MissingError):
            await self._do(lambda: self._api.remove_network(name))

    async def labelled(self, label: str) -> Sequence[str]:
        """See :class:`Engine`."""

        def work() -> Sequence[str]:
            containers = self._api.containers(all=True, filters={"label": label})
            networks = self._api.networks(filters={"label": label})
            return [each["Names"][0].lstrip("/") for each in containers] + [each["Name"] for each in networks]

        return await self._do(work)

    def close(self) -> None:
        """See :class:`Engine`."""
        self._threads.shutdown(wait=False)
        self._client.close()

    async def _do(self, work: Callable[[], _T]) -> _T:
        """A blocking call in a thread, with the SDK's errors as ours."""
        from docker.errors import APIError, DockerException, NotFound
        from requests.exceptions import RequestException

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except NotFound as error:
            raise MissingError(f"the Docker engine: {error.explanation or error}") from error
        except APIError as error:
            text = str(error.explanation or error)
            kind = ConflictError if error.status_code == 409 or _says_idle(text) else EngineError
            raise kind(f"the Docker engine refused: {text}") from error
        except (DockerException, RequestException) as error:
            raise EngineError(f"the Docker engine does not answer: {error}; is it running? `docker version`") from error


def _says_idle(explanation: str) -> bool:
    """Older engines answer 500 where newer answer 409: it does not run, or is in the wanted state already."""
    return any(words in explanation for words in ("is not running", "is not paused", "already paused"))


SOCKET = "/var/run/docker.sock"
REACH_TIMEOUT_S = 5.0


def reach() -> None:
    """Knocks at the engine's door, in a tenth of a millisecond and without the SDK, which is slow to import and
    leaves an open socket behind when nobody is there.

    Raises:
        EngineError: nobody is there, or we may not come in.
    """
    host = os.environ.get("DOCKER_HOST") or f"unix://{SOCKET}"
    if not host.startswith("unix://"):
        return  # over TCP or SSH: the SDK finds out
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(REACH_TIMEOUT_S)
        try:
            door.connect(host.removeprefix("unix://"))
        except OSError as error:
            reason = error.strerror or "time-out"
            raise EngineError(f"no Docker engine answers at {host} ({reason.lower()})") from error


def connect() -> DockerEngine:
    """The engine that the environment names (DOCKER_HOST), or this machine's.

    Raises:
        EngineError: none answers.
    """
    reach()
    import docker
    from docker.errors import DockerException

    try:
        # The version is negotiated by the first request: so a dead engine is found out here.
        return DockerEngine(docker.from_env(timeout=TIMEOUT_S, max_pool_size=THREADS))
    except DockerException as error:
        raise EngineError(f"no Docker engine answers ({str(error).splitlines()[0][:160]})") from error
