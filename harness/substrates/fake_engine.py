"""A Docker engine without Docker, for tests: containers are idle processes of this machine, networks are names.

With a pool of loopback addresses a whole cluster starts, is probed, killed, paused and stopped on it: what is real
are the processes, their states in /proc, and the holders' sockets.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.substrates.door import MOUNT
from harness.substrates.engine import ContainerFacts, ContainerSpec, EngineError, SubnetTakenError


@dataclass(slots=True)
class FakeContainer:
    """A container: its specification, and the process that stands for it."""

    spec: ContainerSpec
    process: subprocess.Popen[bytes]
    paused: bool = False


@dataclass(slots=True)
class FakeEngine:
    """Implements :class:`harness.substrates.engine.Engine`. ``refused`` names containers that cannot be launched,
    ``stubborn`` things that cannot be removed, ``taken`` subnets that belong to somebody whom :meth:`subnets` does not
    tell of.
    """

    refused: frozenset[str] = frozenset()
    stubborn: frozenset[str] = frozenset()
    taken: set[str] = field(default_factory=set)
    containers: dict[str, FakeContainer] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Mapping[str, str]] = field(default_factory=dict)
    printed: bytes = b""
    closed: bool = False

    async def subnets(self) -> Sequence[str]:
        """See the protocol."""
        return list(self.networks.values())

    async def create_network(self, name: str, *, subnet: str, gateway: str, labels: Mapping[str, str]) -> None:
        """See the protocol."""
        del gateway
        if subnet in self.taken:
            raise SubnetTakenError(f"{subnet} overlaps")
        self.networks[name] = subnet
        self.labels[name] = labels

    async def launch(self, spec: ContainerSpec) -> ContainerFacts:
        """See the protocol. A holder hands out its socket at once."""
        if spec.name in self.refused:
            raise EngineError(f"{spec.name} refused")
        self.containers[spec.name] = FakeContainer(spec, _idle())
        self.labels[spec.name] = spec.labels
        for folder, inside in spec.mounts.items():
            if inside == MOUNT:
                _hand_out(os.path.join(folder, os.path.basename(spec.argv[-1])), spec.address or "")
        return self._facts(spec.name)

    async def start(self, name: str) -> ContainerFacts:
        """See the protocol."""
        self.containers[name].process = _idle()
        return self._facts(name)

    async def inspect(self, name: str) -> ContainerFacts | None:
        """See the protocol."""
        return self._facts(name) if name in self.containers else None

    def _facts(self, name: str) -> ContainerFacts:
        container = self.containers[name]
        status = container.process.poll()
        running = status is None
        code = 0 if status is None else status if status >= 0 else 128 - status
        pid = container.process.pid if running else 0
        return ContainerFacts(id=f"id-{name}", pid=pid, running=running, paused=container.paused, exit_code=code)

    async def kill(self, name: str, number: int) -> None:
        """See the protocol."""
        process = self.containers[name].process
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait(timeout=10)

    async def pause(self, name: str) -> None:
        """See the protocol."""
        self.containers[name].paused = True

    async def unpause(self, name: str) -> None:
        """See the protocol."""
        self.containers[name].paused = False

    async def output(self, name: str) -> bytes:
        """See the protocol."""
        del name
        return self.printed

    async def remove(self, name: str) -> None:
        """See the protocol."""
        if name in self.stubborn:
            raise EngineError(f"{name} cannot be removed")
        if (container := self.containers.pop(name, None)) is not None:
            container.process.kill()
            container.process.wait(timeout=10)
            del self.labels[name]

    async def remove_network(self, name: str) -> None:
        """See the protocol."""
        if self.networks.pop(name, None) is not None:
            del self.labels[name]

    async def labelled(self, label: str) -> Sequence[str]:
        """See the protocol."""
        key, _, value = label.partition("=")
        return [name for name, labels in self.labels.items() if key in labels and value in ("", labels[key])]

    def close(self) -> None:
        """See the protocol."""
        self.closed = True


def _idle() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)


def _hand_out(path: str, address: str) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line,
    ):
        probe.bind((address, 0))
        line.connect(path)
        socket.send_fds(line, [address.encode()], [probe.fileno()])
