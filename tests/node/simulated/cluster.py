"""All servers of a simulated world, and what keeps each of them going: turns, timers, disks, starts and crashes."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from node.parts import Parts
from node.raft.messages import Message, Role
from node.raft.timing import MS
from tests.node.simulated.agenda import Agenda
from tests.node.simulated.climate import Climate
from tests.node.simulated.clock import Clock
from tests.node.simulated.invariants import Invariants
from tests.node.simulated.network import Network
from tests.node.simulated.server import SimulatedServer
from tests.node.simulated.telling import tell_message, tell_server


class SimulatedCluster:
    """The mechanics of a world; what happens to it is decided elsewhere."""

    def __init__(self, agenda: Agenda, climate: Climate, stream: random.Random, parts: Parts) -> None:
        self.agenda = agenda
        self.climate = climate
        self.random = stream
        self.network = Network(agenda, climate, stream, self._deliver)
        self.elected: list[Callable[[SimulatedServer], None]] = []
        """Told of each server that begins to lead."""
        self.kept_down: set[str] = set()
        """Who does not come back by itself."""
        self._reigns: set[tuple[str, int]] = set()
        self._timers: dict[str, int] = {}
        self._turns: set[str] = set()
        self._parts = parts
        self._asked_the_time: SimulatedServer | None = None
        founders = tuple(f"n{number}" for number in range(1, climate.size + 1))
        self.servers: dict[str, SimulatedServer] = {}
        self.invariants = Invariants(self.servers, founders)
        for name in founders:
            self._add(name, founders)

    def _add(self, name: str, founders: tuple[str, ...]) -> SimulatedServer:
        climate, drift = self.climate, self.climate.drift_ppm
        self.servers[name] = SimulatedServer(
            name,
            founders,
            parts=self._parts,
            timing=climate.timing,
            clock=Clock(ahead_ppm=self.random.randint(-drift, drift), offset_ns=self.random.randrange(10_000 * MS)),
            compact_every=climate.compact_every,
            chunks=climate.chunks,
            stream=self.random,
            invariants=self.invariants,
            send=self._send,
            later=self._later,
        )
        return self.servers[name]

    def join(self, name: str) -> None:
        """Starts a server that nobody founded the cluster with: it knows nothing, and waits to be spoken to."""
        self.start(self._add(name, ()))

    def time_of_day_ns(self) -> int:
        """By the wall clock of the server that does something at present."""
        now_ns, asker = self.agenda.now_ns, self._asked_the_time
        return now_ns if asker is None else asker.clock.wall(now_ns)

    def wake(self, server: SimulatedServer) -> None:
        """To be said before a server is made to do anything: what it asks the operating system is asked for it."""
        self._asked_the_time = server

    # Who is there

    @property
    def running(self) -> list[SimulatedServer]:
        """Servers that are neither down nor paused."""
        now_ns = self.agenda.now_ns
        return [s for s in self.servers.values() if s.core is not None and s.paused_until_ns <= now_ns]

    @property
    def leaders(self) -> list[SimulatedServer]:
        """Servers that take themselves for leaders, the newest term last."""
        found = [(s.core.term, s.name) for s in self.servers.values() if s.core and s.core.role is Role.LEADER]
        return [self.servers[name] for _, name in sorted(found)]

    # Life and death

    def start(self, server: SimulatedServer) -> None:
        """Starts a server that is down."""
        self.kept_down.discard(server.name)
        if server.core is None:
            self._timers.pop(server.name, None)
            self._turns.discard(server.name)
            self.wake(server)
            server.start(self.agenda.now_ns)
            self.note("starts", server)
            self.touched(server)

    def crash(self, server: SimulatedServer, *, down_ns: int | None) -> None:
        """Crashes one; it comes back by itself after ``down_ns``, or never."""
        if down_ns is None:
            self.kept_down.add(server.name)
        if server.core is not None:
            self.note("crashes", server)
            server.crash()
            if down_ns is not None:
                self.agenda.at(self.agenda.now_ns + down_ns, partial(self._come_back, server))

    def _come_back(self, server: SimulatedServer) -> None:
        if server.name not in self.kept_down:
            self.start(server)

    # Turns

    def touched(self, server: SimulatedServer) -> None:
        """Something happened to a server: it asks its core what to do, now or a little later (a batch)."""
        server.look()
        if not self.climate.turn_ns:
            self._turn(server)
        elif server.name not in self._turns:
            self._turns.add(server.name)
            delay_ns = self.random.randrange(self.climate.turn_ns) if self.random.random() < 0.5 else 0
            self.agenda.at(self._free_ns(server) + delay_ns, partial(self._late_turn, server, server.incarnation))

    def _late_turn(self, server: SimulatedServer, incarnation: int) -> None:
        if server.incarnation == incarnation:
            self._turns.discard(server.name)
            self._turn(server)

    def _turn(self, server: SimulatedServer) -> None:
        core = server.core
        if core is None:
            return
        self.wake(server)
        server.drain()
        if core.role is Role.LEADER and (server.name, core.term) not in self._reigns:
            self._reigns.add((server.name, core.term))
            for listener in self.elected:
                listener(server)
        if self.agenda.record is not None:
            self.agenda.note(f"      {tell_server(core, server.name)}")
        due_ns = server.clock.when(core.next_deadline_ns())
        if due_ns < self._timers.get(server.name, due_ns + 1):
            self._set_timer(server, due_ns)

    def _free_ns(self, server: SimulatedServer) -> int:
        return max(self.agenda.now_ns, server.paused_until_ns)

    # Timers

    def _set_timer(self, server: SimulatedServer, due_ns: int) -> None:
        due_ns = max(due_ns, self.agenda.now_ns)
        self._timers[server.name] = due_ns
        self.agenda.at(due_ns, lambda: self._timer(server, due_ns))

    def _timer(self, server: SimulatedServer, due_ns: int) -> None:
        if self._timers.get(server.name) != due_ns or server.core is None:
            return
        del self._timers[server.name]
        if server.paused_until_ns > self.agenda.now_ns:
            self._set_timer(server, server.paused_until_ns)
            return
        self.note("timer", server)
        self.wake(server)
        server.tick(self.agenda.now_ns)
        self.touched(server)

    # Disks

    def _later(self, server: SimulatedServer, work: Callable[[], None]) -> None:
        busy_ns = max(self._free_ns(server), server.disk_busy_until_ns)
        sync_ns = self.random.randrange(self.climate.sync_ns) if self.climate.sync_ns else 0
        self.agenda.at(busy_ns + sync_ns, partial(self._work, server, server.incarnation, work))

    def _work(self, server: SimulatedServer, incarnation: int, work: Callable[[], None]) -> None:
        if server.incarnation == incarnation and server.core is not None:
            self.note("disk", server)
            self.wake(server)
            work()
            self.touched(server)

    # Messages

    def _send(self, message: Message) -> None:
        self.invariants.sent(message)
        self.network.send(message)

    def _deliver(self, message: Message) -> None:
        server = self.servers.get(message.target)
        if server is None:
            return
        if server.paused_until_ns > self.agenda.now_ns:
            self.agenda.at(server.paused_until_ns, lambda: self._deliver(message))
            return
        if self.agenda.record is not None:
            self.agenda.note(f"      {tell_message(message)}")
        self.wake(server)
        server.receive(message, self.agenda.now_ns)
        self.touched(server)

    def note(self, what: str, server: SimulatedServer) -> None:
        """For the record."""
        if self.agenda.record is not None:
            self.agenda.note(f"{server.name} {what}")
