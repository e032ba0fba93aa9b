"""Probes of links: did a datagram that left one node's network namespace arrive in another's?

One way, so that a partition in one direction is told from one in both. Every endpoint has one UDP socket, created
inside its namespace and bound to its address, but held by the controller: it answers for the link even while the
node's server is paused or dead. Works for any namespace that has a path (/run/netns/NAME, /proc/PID/ns/net), so for
containers too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from faults import nftables
from faults.cuts import ActiveCuts, Pair
from harness import namespaces

SENDS = 3
"""Datagrams a pair and probe, spread over the time-out: one that is lost on a busy machine is no cut link."""
TIMEOUT_S = 0.2
_DATAGRAM = struct.Struct("!8sQI")  # who we are, which probe, which pair of it


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


class Probes:
    """Implements :class:`faults.needs.Links` with one socket an endpoint."""

    def __init__(self) -> None:
        self.cuts = ActiveCuts()
        self._endpoints: dict[str, Endpoint] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._token = os.urandom(8)
        self._number = 0
        self._pending: dict[int, _Pending] = {}
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
        unknown = sorted({name for pair in pairs for name in pair} - set(self._sockets))
        if unknown:
            raise ValueError(
                f"cannot probe {', '.join(unknown)}: known endpoints are {', '.join(sorted(self._sockets))}"
            )
        if not pairs:
            return {}
        self._number += 1
        number, pending = self._number, _Pending(pairs)
        self._begin(number, pending)
        try:
            for _ in range(SENDS):
                self._send(number, pending)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s / SENDS):
                        await pending.complete.wait()
                        break
            self._drain()
        finally:
            self._end(number)
        return {pair: index in pending.arrived for index, pair in enumerate(pairs)}

    def _begin(self, number: int, pending: _Pending) -> None:
        if not self._pending:
            for name, opened in self._sockets.items():
                self._listen(name, opened)
        self._pending[number] = pending

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
                data, sender = opened.recvfrom(64)
                self._accept(name, data, sender[0])

    def _accept(self, name: str, data: bytes, sender: str) -> None:
        """Counts a datagram that is ours, of a probe under way, at the right end and from the right address."""
        if len(data) != _DATAGRAM.size:
            return
        token, number, index = _DATAGRAM.unpack(data)
        pending = self._pending.get(number)
        if token != self._token or pending is None or index >= len(pending.pairs):
            return
        source, target = pending.pairs[index]
        if target == name and source in self._endpoints and self._endpoints[source].address == sender:
            pending.arrive(index)

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
