"""Links between hosts, seen from their ends: did a datagram that one guard sent arrive at another's port?

Clocks of hosts differ, so nothing is timed: each round first tells the senders (and waits until they have sent), then
asks the receivers. The controller's own end, where clients are, is a port of the same kind on this machine.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from faults.cuts import ActiveCuts, Pair
from faults.packets.journeys import Burst, Journeys
from faults.packets.shaped import ShapedLinks
from harness.errors import HarnessError
from harness.guard.datagrams import ProbePort

ROUNDS = 3
"""Datagrams a pair and probe: one that is lost on a busy network is no cut link."""


class Port(Protocol):
    """One end."""

    async def send(self, token: str, number: int, targets: Sequence[Sequence[Any]]) -> None:
        """Returns when one datagram to each (index, address, port) has left."""

    async def arrived(self, token: str, number: int, wanted: Sequence[Sequence[Any]], timeout_s: float) -> list[int]:
        """Of the wanted (index, sender's address), those that arrived within the time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """Where a port is, by address and number."""

    port: Port
    address: str
    number: int


class HostLinks:
    """Implements :class:`faults.needs.Links`."""

    def __init__(self) -> None:
        self.cuts = ActiveCuts()
        self.shaped = ShapedLinks()
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
        unknown = sorted({name for pair in pairs for name in pair} - set(self._ends))
        if unknown:
            raise ValueError(f"cannot probe {', '.join(unknown)}: known endpoints are {', '.join(sorted(self._ends))}")
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
        """Not here: no one clock sees both ends.

        Raises:
            HarnessError: always.
        """
        del burst
        raise HarnessError(f"journeys between hosts ({len(pairs)} links) cannot be timed: their clocks differ")

    def _sending(self, number: int, waiting: Sequence[tuple[int, Pair]]) -> list[Awaitable[None]]:
        wanted: dict[str, list[Sequence[Any]]] = {}
        for index, (source, target) in waiting:
            end = self._ends[target]
            wanted.setdefault(source, []).append((index, end.address, end.number))
        return [self._ends[source].port.send(self._token, number, targets) for source, targets in wanted.items()]

    def _receiving(
        self, number: int, waiting: Sequence[tuple[int, Pair]], timeout_s: float
    ) -> list[Awaitable[list[int]]]:
        wanted: dict[str, list[Sequence[Any]]] = {}
        for index, (source, target) in waiting:
            wanted.setdefault(target, []).append((index, self._ends[source].address))
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

    def close(self) -> None:
        """Lets the port go."""
        self._port.close()
