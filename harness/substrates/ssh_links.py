"""Links between hosts, seen from their ends: did a datagram that one guard sent arrive at another's port, and how long
was it under way?

Each round first tells the senders (and waits until they have sent), then asks the receivers. A journey is timed by the
clocks of both ends; by how much these differ is learned from the journeys themselves and from questions over SSH, which
no fault holds up (:mod:`harness.substrates.ssh_clocks`), and what is not known of it goes with the result. The
controller's own end, where clients are, is a port of the same kind on this machine.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from faults.cuts import CLIENT, ActiveCuts, Pair
from faults.packets.journeys import Arrival, Burst, Journeys
from faults.packets.shaped import ShapedLinks
from harness.guard.datagrams import ProbePort
from harness.substrates.ssh_clocks import Clocks

ROUNDS = 3
"""Datagrams a pair and probe: one that is lost on a busy network is no cut link."""
CLOCK_ROUNDS = 3
"""Questions for a host's clock with each burst; the quickest answer tells most."""


class Port(Protocol):
    """One end."""

    async def send(self, token: str, number: int, targets: Sequence[Sequence[Any]]) -> None:
        """Returns when one datagram to each (index, address, port) has left."""

    async def arrived(self, token: str, number: int, wanted: Sequence[Sequence[Any]], timeout_s: float) -> list[int]:
        """Of the wanted (index, sender's address), those that arrived within the time."""

    async def burst(self, token: str, number: int, targets: Sequence[Sequence[Any]], shape: Mapping[str, Any]) -> None:
        """Returns when a burst (the fields of :class:`faults.packets.journeys.Burst`) to each of them has left."""

    async def journeys(
        self, token: str, number: int, wanted: Sequence[Sequence[Any]], shape: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """For each wanted: its index, how many copies came, and (number, left, arrived) of each datagram."""

    async def clock(self) -> int:
        """CLOCK_MONOTONIC of its host (ns)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """Where a port is, by address and number."""

    port: Port
    address: str
    number: int


class HostLinks:
    """Implements :class:`faults.needs.Links`."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.cuts = ActiveCuts()
        self.shaped = ShapedLinks()
        self._clock = clock
        self._clocks = Clocks()
        self._ends: dict[str, End] = {}
        self._token = os.urandom(8).hex()
        self._number = 0

    @property
    def addresses(self) -> Mapping[str, str]:
        """Address of every endpoint."""
        return {name: end.address for name, end in self._ends.items()}

    def filter_line(self, node: str) -> socket.socket | None:
        """None: nobody here has a socket in another host's kernel."""
        del node
        return None

    def add(self, name: str, end: End) -> None:
        """An end is there."""
        self._ends[name] = end

    def remove(self, name: str) -> None:
        """An end is not there any more. No error if it is unknown."""
        self._ends.pop(name, None)

    async def probe(self, pairs: Sequence[Pair], *, timeout_s: float) -> Mapping[Pair, bool]:
        """See :class:`faults.needs.Links`.

        Raises:
            ValueError: an endpoint is unknown.
            HarnessError: a host does not answer: what is open is unknown.
        """
        self._check_known(pairs)
        self._number += 1
        number, through = self._number, set[int]()
        for _ in range(ROUNDS if pairs else 0):
            waiting = [(index, pair) for index, pair in enumerate(pairs) if index not in through]
            await asyncio.gather(*self._sending(number, waiting))
            seen = await asyncio.gather(*self._receiving(number, waiting, timeout_s / ROUNDS))
            through.update(*seen)
            if len(through) == len(pairs):
                break
        return {pair: index in through for index, pair in enumerate(pairs)}

    async def measure(self, pairs: Sequence[Pair], burst: Burst) -> Mapping[Pair, Journeys]:
        """See :class:`faults.needs.Links`. Timed by two clocks.

        Raises:
            ValueError: an endpoint is unknown.
            HarnessError: a host does not answer.
        """
        self._check_known(pairs)
        if not pairs:
            return {}
        self._number += 1
        number, shape = self._number, asdict(burst)
        names = sorted({name for pair in pairs for name in pair})
        outgoing, incoming = self._outgoing(enumerate(pairs)), self._incoming(enumerate(pairs))
        bursts = (self._ends[name].port.burst(self._token, number, each, shape) for name, each in outgoing.items())
        await asyncio.gather(*bursts, *map(self._ask_clock, names))
        looks = (self._ends[name].port.journeys(self._token, number, each, shape) for name, each in incoming.items())
        found = {index: (copies, rows) for seen in await asyncio.gather(*looks) for index, copies, rows in seen}
        now = self._clock()
        for (source, target), (_, rows) in ((pairs[index], each) for index, each in found.items()):
            if rows:
                self._clocks.note(source, target, min(arrived - left for _, left, arrived in rows), now)
        return {pair: self._journeys(pair, burst, *found[index], now) for index, pair in enumerate(pairs)}

    def _journeys(self, pair: Pair, burst: Burst, copies: int, rows: Sequence[Sequence[int]], now: int) -> Journeys:
        """With both times on the sender's clock."""
        ahead = self._clocks.ahead(*pair, now)
        arrivals = [Arrival(number=place, sent_ns=left, arrived_ns=came - ahead.ns) for place, left, came in rows]
        uncertain_ms = ahead.uncertain_ns / 1e6
        return Journeys(sent=burst.count, arrivals=tuple(arrivals), copies=copies, uncertain_ms=uncertain_ms)

    async def _ask_clock(self, name: str) -> None:
        """What a host's clock says, over SSH."""
        port = self._ends[name].port
        for _ in range(CLOCK_ROUNDS if name != CLIENT else 0):
            asked = self._clock()
            there = await port.clock()
            answered = self._clock()
            self._clocks.note(CLIENT, name, there - asked, answered)
            self._clocks.note(name, CLIENT, answered - there, answered)

    def _check_known(self, pairs: Sequence[Pair]) -> None:
        unknown = sorted({name for pair in pairs for name in pair} - set(self._ends))
        if unknown:
            raise ValueError(f"cannot probe {', '.join(unknown)}: known endpoints are {', '.join(sorted(self._ends))}")

    def _outgoing(self, rows: Iterable[tuple[int, Pair]]) -> Mapping[str, Sequence[Any]]:
        """By source: to whom."""
        found: dict[str, list[Sequence[Any]]] = {}
        for index, (source, target) in rows:
            end = self._ends[target]
            found.setdefault(source, []).append((index, end.address, end.number))
        return found

    def _incoming(self, rows: Iterable[tuple[int, Pair]]) -> Mapping[str, Sequence[Any]]:
        """By target: from whom."""
        found: dict[str, list[Sequence[Any]]] = {}
        for index, (source, target) in rows:
            found.setdefault(target, []).append((index, self._ends[source].address))
        return found

    def _sending(self, number: int, waiting: Sequence[tuple[int, Pair]]) -> list[Awaitable[None]]:
        wanted = self._outgoing(waiting)
        return [self._ends[source].port.send(self._token, number, targets) for source, targets in wanted.items()]

    def _receiving(
        self, number: int, waiting: Sequence[tuple[int, Pair]], timeout_s: float
    ) -> list[Awaitable[list[int]]]:
        wanted = self._incoming(waiting)
        ports = {target: self._ends[target].port for target in wanted}
        return [ports[target].arrived(self._token, number, each, timeout_s) for target, each in wanted.items()]


class LocalPort:
    """The controller's own end: the address by which this machine reaches the nodes."""

    def __init__(self) -> None:
        self._port = ProbePort()

    async def open(self, towards: str) -> End:
        """Binds it to the address from which packets leave for that host."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.connect((towards, 9))
            address = str(line.getsockname()[0])
        return End(port=self, address=address, number=await self._port.open(address, 0))

    async def send(self, token: str, number: int, targets: Sequence[Sequence[Any]]) -> None:
        """See :class:`Port`."""
        self._port.send(token, number, targets)

    async def arrived(self, token: str, number: int, wanted: Sequence[Sequence[Any]], timeout_s: float) -> list[int]:
        """See :class:`Port`."""
        return await self._port.arrived(token, number, wanted, timeout_s)

    async def burst(self, token: str, number: int, targets: Sequence[Sequence[Any]], shape: Mapping[str, Any]) -> None:
        """See :class:`Port`."""
        await self._port.burst(token, number, targets, shape)

    async def journeys(
        self, token: str, number: int, wanted: Sequence[Sequence[Any]], shape: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """See :class:`Port`."""
        return await self._port.journeys(token, number, wanted, shape)

    async def clock(self) -> int:
        """See :class:`Port`."""
        return time.monotonic_ns()

    def close(self) -> None:
        """Lets the port go."""
        self._port.close()
