"""A few servers on a bench: nothing happens by itself. Messages and disk work lie about until they are picked up."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

from node.parts import Parts
from node.raft.core import Timing
from node.raft.messages import Message, Role
from node.raft.timing import MS
from tests.node.simulated.clock import Clock
from tests.node.simulated.invariants import Invariants
from tests.node.simulated.server import SimulatedServer

PATIENCE_NS = 1_000 * MS
"""Longer than anybody keeps to a leader that is silent."""


class Bench:
    """The servers of :mod:`tests.node.simulated.server`, in the hands of a script."""

    def __init__(self, parts: Parts, *, size: int, timing: Timing) -> None:
        self.now_ns = 0
        self.messages: list[Message] = []
        """Under way, oldest first."""
        self.servers: dict[str, SimulatedServer] = {}
        self.invariants = Invariants(self.servers, tuple(f"n{number}" for number in range(1, size + 1)))
        self._parts = parts
        self._timing = timing
        self._random = random.Random(0)
        self._work: list[tuple[SimulatedServer, int, Callable[[], None]]] = []
        for number in range(1, size + 1):
            self._add(f"n{number}", tuple(f"n{n}" for n in range(1, size + 1)))

    def _add(self, name: str, founders: tuple[str, ...]) -> None:
        self.servers[name] = SimulatedServer(
            name,
            founders,
            parts=self._parts,
            timing=self._timing,
            clock=Clock(),
            compact_every=6,
            chunks=1,
            stream=self._random,
            invariants=self.invariants,
            send=self._send,
            later=lambda server, work: self._work.append((server, server.incarnation, work)),
        )
        self.start(name)

    def join(self, name: str) -> None:
        """One more, that knows nothing."""
        self._add(name, ())

    def _send(self, message: Message) -> None:
        self.invariants.sent(message)
        self.messages.append(message)

    @property
    def leaders(self) -> list[SimulatedServer]:
        """Who takes itself for the leader."""
        return [one for one in self.servers.values() if one.core is not None and one.core.role is Role.LEADER]

    def touched(self, server: SimulatedServer) -> None:
        """To be called after anything was done to a server by hand."""
        server.look()
        server.drain()

    def start(self, name: str) -> None:
        """From its disk, if it is down."""
        server = self.servers[name]
        if server.core is None:
            server.start(self.now_ns)
            self.touched(server)

    def sync(self, names: Collection[str]) -> None:
        """The disks of these do what they have to."""
        while due := [one for one in self._work if one[0].name in names]:
            self._work = [one for one in self._work if one[0].name not in names]
            for server, incarnation, work in due:
                if server.core is not None and server.incarnation == incarnation:
                    work()
                    self.touched(server)

    def deliver(self, message: Message) -> None:
        """One message arrives (it stays on the bench, if it lies there)."""
        server = self.servers.get(message.target)
        if server is not None:
            server.receive(message, self.now_ns)
            self.touched(server)

    def talk(self, names: Collection[str], *, rounds: int) -> None:
        """These do their disk work and hear each other; what others sent or should hear stays where it is."""
        for _ in range(rounds):
            self.sync(names)
            heard = [m for m in self.messages if m.source in names and m.target in names]
            self.messages = [m for m in self.messages if m.source not in names or m.target not in names]
            for message in heard:
                self.deliver(message)

    def time_out(self, name: str) -> None:
        """So much time passes that everybody has lost patience; but only this server's timer goes off."""
        server = self.servers[name]
        self.now_ns += PATIENCE_NS
        server.tick(self.now_ns)
        self.touched(server)
