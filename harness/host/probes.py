"""Probes of links: did a datagram that left one node's network namespace arrive in another's, and how long did it
take?

One way, so that a partition in one direction is told from one in both. Every endpoint has one UDP socket, created
inside its namespace and bound to its address, but held by the controller: it answers for the link even while the
node's server is paused or dead. Works for any namespace that has a path (/run/netns/NAME, /proc/PID/ns/net), so for
containers too. Times of journeys are from one clock, and one way: the same process sends and receives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from faults.cuts import ActiveCuts, Pair
from faults.packets import nftables
from faults.packets.journeys import Arrival, Burst, Journeys
from faults.packets.shaped import ShapedLinks
from harness.host import namespaces

TIMEOUT_S = 0.2
SEND_PERIOD_S = 0.04
"""Until its datagram arrives a probe sends one so often: one that is lost on a busy or a bad link is no cut link."""
RECEIVE_BUFFER = 4 << 20
"""Bytes a socket holds while the event loop is busy; a burst must not be lost here. The kernel may allow less."""
ROUND_S = 0.002
"""A burst leaves in rounds of so long, so that what arrives meanwhile is read."""
_DATAGRAM = struct.Struct("!8sQI")  # who we are, which probe, which pair of it
_TIMED = struct.Struct("!8sQIIQ")  # the same, the number in the burst, when it left (ns)
_SO_RCVBUFFORCE = 33


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where one end of links is: its address, and the path of its network namespace (None: the controller's own)."""

    address: str
    netns: str | None


@dataclass(slots=True)
class _Pending:
    """One probe under way."""

    pairs: Sequence[Pair]
    arrived: set[int] = field(default_factory=set)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def arrive(self, index: int) -> None:
        self.arrived.add(index)
        if len(self.arrived) == len(self.pairs):
            self.complete.set()


@dataclass(slots=True)
class _Timed:
    """One burst under way over each pair."""

    pairs: Sequence[Pair]
    count: int
    first: list[dict[int, Arrival]]
    copies: list[int]
    missing: int
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, pairs: Sequence[Pair], count: int) -> _Timed:
        return cls(pairs, count, [{} for _ in pairs], [0] * len(pairs), count * len(pairs))

    def arrive(self, index: int, arrival: Arrival) -> None:
        if arrival.number in self.first[index]:
            self.copies[index] += 1
            return
        self.first[index][arrival.number] = arrival
        self.missing -= 1
        if not self.missing:
            self.complete.set()

    def journeys(self, index: int) -> Journeys:
        return Journeys(sent=self.count, arrivals=tuple(self.first[index].values()), copies=self.copies[index])


class Probes:
    """Implements :class:`faults.needs.Links` with one socket an endpoint."""

    def __init__(self) -> None:
        self.cuts = ActiveCuts()
        self.shaped = ShapedLinks()
        self._endpoints: dict[str, Endpoint] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._token = os.urandom(8)
        self._number = 0
        self._pending: dict[int, _Pending | _Timed] = {}
        self._filters: dict[str, socket.socket | None] = {}

    @property
    def addresses(self) -> Mapping[str, str]:
        """Address of every endpoint."""
        return {name: endpoint.address for name, endpoint in self._endpoints.items()}

    def add(self, name: str, endpoint: Endpoint, opened: socket.socket | None = None) -> None:
        """Opens an endpoint, or opens it anew (a restarted container has another namespace).

        ``opened`` is its datagram socket, bound to its address, where somebody else had to make it (a namespace that
        the controller may not enter); it belongs to the probes from now on.

        Raises:
            OSError: no such namespace, or it does not have the address.
        """
        if opened is None:
            opened = namespaces.call_in(endpoint.netns, lambda: _open(endpoint.address))
        opened.setblocking(False)
        with contextlib.suppress(PermissionError):
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self.remove(name)
        self._endpoints[name], self._sockets[name] = endpoint, opened
        if self._pending:
            self._listen(name, opened)

    def remove(self, name: str) -> None:
        """Closes an endpoint. No error if it is unknown."""
        if (line := self._filters.pop(name, None)) is not None:
            line.close()
        self._endpoints.pop(name, None)
        if (opened := self._sockets.pop(name, None)) is not None:
            _forget(opened)
            opened.close()

    def close(self) -> None:
        """Closes every endpoint."""
        for name in tuple(self._sockets):
            self.remove(name)

    def filter_line(self, node: str) -> socket.socket | None:
        """See :class:`faults.needs.Links`. An endpoint whose namespace has no path here gets none."""
        if node not in self._filters:
            self._filters[node] = _filter_line(self._endpoints[node].netns)
        return self._filters[node]

    async def probe(self, pairs: Sequence[Pair], *, timeout_s: float = TIMEOUT_S) -> Mapping[Pair, bool]:
        """For each (source, target): did a datagram arrive within the time-out? Returns at once when all have arrived.

        Raises:
            ValueError: an endpoint is unknown.
        """
        self._check_known(pairs)
        if not pairs:
            return {}
        pending = _Pending(pairs)
        number = self._begin(pending)
        try:
            for _ in range(max(1, round(timeout_s / SEND_PERIOD_S))):
                self._send(number, pending)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(timeout_s, SEND_PERIOD_S)):
                        await pending.complete.wait()
                        break
            self._drain()
        finally:
            self._end(number)
        return {pair: index in pending.arrived for index, pair in enumerate(pairs)}

    async def measure(self, pairs: Sequence[Pair], burst: Burst) -> Mapping[Pair, Journeys]:
        """For each (source, target): what became of a burst. Returns at once when all of it arrived and no copies can
        come (the burst does not linger for them).

        Raises:
            ValueError: an endpoint is unknown.
        """
        self._check_known(pairs)
        if not pairs:
            return {}
        timed = _Timed.of(pairs, burst.count)
        number = self._begin(timed)
        try:
            await self._send_burst(number, timed, burst)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(burst.linger_s):
                    await timed.complete.wait()
            if burst.copies_s:
                await asyncio.sleep(burst.copies_s)
            self._drain()
        finally:
            self._end(number)
        return {pair: timed.journeys(index) for index, pair in enumerate(pairs)}

    def _check_known(self, pairs: Sequence[Pair]) -> None:
        unknown = sorted({name for pair in pairs for name in pair} - set(self._sockets))
        if unknown:
            raise ValueError(
                f"cannot probe {', '.join(unknown)}: known endpoints are {', '.join(sorted(self._sockets))}"
            )

    async def _send_burst(self, number: int, timed: _Timed, burst: Burst) -> None:
        """In rounds, each over all pairs, so that what arrives is read meanwhile."""
        a_round = burst.count if not burst.every_s else max(1, int(ROUND_S / burst.every_s))
        filling = b"\0" * max(0, burst.size - _TIMED.size)
        for begin in range(0, burst.count, a_round):
            for place in range(begin, min(burst.count, begin + a_round)):
                for index, (source, target) in enumerate(timed.pairs):
                    with contextlib.suppress(OSError):  # as in _send
                        head = _TIMED.pack(self._token, number, index, place, time.monotonic_ns())
                        self._sockets[source].sendto(head + filling, self._sockets[target].getsockname())
            await asyncio.sleep(ROUND_S if burst.every_s else 0)

    def _begin(self, pending: _Pending | _Timed) -> int:
        if not self._pending:
            for name, opened in self._sockets.items():
                self._listen(name, opened)
        self._number += 1
        self._pending[self._number] = pending
        return self._number

    def _end(self, number: int) -> None:
        del self._pending[number]
        if not self._pending:
            for opened in self._sockets.values():
                _forget(opened)

    def _listen(self, name: str, opened: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(opened, self._receiver(name, opened))

    def _send(self, number: int, pending: _Pending) -> None:
        for index, (source, target) in enumerate(pending.pairs):
            if index not in pending.arrived:
                # A rule in OUTPUT refuses with EPERM, a missing route with EHOSTUNREACH: nothing left, nothing arrives.
                with contextlib.suppress(OSError):
                    self._sockets[source].sendto(
                        _DATAGRAM.pack(self._token, number, index), self._sockets[target].getsockname()
                    )

    def _receiver(self, name: str, opened: socket.socket) -> Callable[[], None]:
        return lambda: self._receive(name, opened)

    def _receive(self, name: str, opened: socket.socket) -> None:
        with contextlib.suppress(OSError):  # BlockingIOError: no more of them
            while True:
                data, sender = opened.recvfrom(2048)
                self._accept(name, data, sender[0])

    def _accept(self, name: str, data: bytes, sender: str) -> None:
        """Counts a datagram that is ours, of a probe under way, at the right end and from the right address."""
        if len(data) < _DATAGRAM.size:
            return
        token, number, index = _DATAGRAM.unpack_from(data)
        pending = self._pending.get(number)
        if token != self._token or pending is None or index >= len(pending.pairs):
            return
        source, target = pending.pairs[index]
        if target != name or source not in self._endpoints or self._endpoints[source].address != sender:
            return
        if isinstance(pending, _Pending):
            if len(data) == _DATAGRAM.size:
                pending.arrive(index)
        elif len(data) >= _TIMED.size:
            *_, place, sent_ns = _TIMED.unpack_from(data)
            pending.arrive(index, Arrival(number=place, sent_ns=sent_ns, arrived_ns=time.monotonic_ns()))

    def _drain(self) -> None:
        """A late turn of a busy event loop is no cut link: what has arrived in the kernel counts."""
        for name, opened in tuple(self._sockets.items()):
            self._receive(name, opened)


def _open(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        opened.bind((address, 0))
    except OSError:
        opened.close()
        raise
    return opened


def _filter_line(netns: str | None) -> socket.socket | None:
    if netns is None:
        return None
    try:
        line = namespaces.call_in(netns, _netlink)
    except OSError:
        return None
    if nftables.usable(line):
        return line
    line.close()
    return None


def _netlink() -> socket.socket:
    line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nftables.NETLINK_NETFILTER)
    line.bind((0, 0))
    return line


def _forget(opened: socket.socket) -> None:
    with contextlib.suppress(RuntimeError):  # no loop runs any more
        asyncio.get_running_loop().remove_reader(opened)
