"""Datagrams between hosts: did one that was sent there arrive here, and when?

A thread of its own receives them, before whatever else this host has to do (if we may have that): on a busy host the
time at which a datagram is looked at would tell more of the host than of the link. The kernel's own stamp of a packet
would be no help: it is set before the firewall, where the stand-in for netem holds packets.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.guard.errors import GuardError

POLL_S = 0.002
SENDS_KEPT = 64
BURSTS_KEPT = 16
ROUND_S = 0.002
"""A burst leaves in rounds of so long, so that what arrives meanwhile is read."""
LARGEST = 2048
CLOSE_TIMEOUT_S = 1.0
RECEIVE_BUFFER = 4 << 20
"""Bytes a socket holds while the event loop is busy; a burst must not be lost here. The kernel may allow less."""
_DATAGRAM = struct.Struct("!8sQI")  # who we are, which probe, which pair of it
_TIMED = struct.Struct("!8sQIIQ")  # the same, the number in the burst, when it left (ns)
_SO_RCVBUFFORCE = 33
_PRIORITY = -15


@dataclass(slots=True)
class _Journey:
    """What came of one burst over one link: when each datagram left and when its first copy came, in that order."""

    first: dict[int, tuple[int, int]] = field(default_factory=dict)
    copies: int = 0

    def arrive(self, place: int, sent_ns: int, arrived_ns: int) -> None:
        if place in self.first:
            self.copies += 1
        else:
            self.first[place] = (sent_ns, arrived_ns)


class ProbePort:
    """Sends datagrams to other ends, and notes which arrived here and from where. Times are this host's
    CLOCK_MONOTONIC.
    """

    def __init__(self) -> None:
        self._arrived: dict[tuple[bytes, int], set[tuple[int, str]]] = {}
        self._bursts: dict[tuple[bytes, int], dict[tuple[int, str], _Journey]] = {}
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    async def open(self, address: str, port: int) -> int:
        """Binds it; returns the port.

        Raises:
            GuardError: this host does not have the address, or the port is taken.
        """
        if self._socket is None:
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            try:
                opened.bind((address, port))
            except OSError as error:
                opened.close()
                raise GuardError(f"no datagram socket at {address}:{port}: {error}") from None
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            with contextlib.suppress(PermissionError):
                opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
            self._socket = opened
            self._thread = threading.Thread(target=self._receive, args=(opened,), daemon=True, name="datagrams")
            self._thread.start()
        return int(self._socket.getsockname()[1])

    def send(self, token: str, number: int, targets: Sequence[Sequence[Any]]) -> None:
        """One datagram to each (index, address, port)."""
        for index, address, port in targets:
            self._put(_DATAGRAM.pack(bytes.fromhex(token), number, index), address, port)

    async def arrived(self, token: str, number: int, wanted: Sequence[Sequence[Any]], timeout_s: float) -> list[int]:
        """Of the wanted (index, sender's address), those that arrived; returns at once when all have."""
        deadline = time.monotonic() + timeout_s
        expected = {(index, address) for index, address in wanted}
        while True:
            seen = expected & self._arrived.get((bytes.fromhex(token), number), set())
            if seen == expected or time.monotonic() >= deadline:
                return sorted(index for index, _ in seen)
            await asyncio.sleep(POLL_S)

    async def burst(self, token: str, number: int, targets: Sequence[Sequence[Any]], shape: Mapping[str, Any]) -> None:
        """Returns when ``count`` datagrams of ``size`` bytes have left for each (index, address, port), ``every_s``."""
        count, every_s = int(shape["count"]), float(shape["every_s"])
        filling = b"\0" * max(0, int(shape["size"]) - _TIMED.size)
        a_round = count if not every_s else max(1, int(ROUND_S / every_s))
        for begin in range(0, count, a_round):
            for place in range(begin, min(count, begin + a_round)):
                for index, address, port in targets:
                    head = _TIMED.pack(bytes.fromhex(token), number, index, place, time.monotonic_ns())
                    self._put(head + filling, address, port)
            await asyncio.sleep(ROUND_S if every_s else 0)

    async def journeys(
        self, token: str, number: int, wanted: Sequence[Sequence[Any]], shape: Mapping[str, Any]
    ) -> list[list[Any]]:
        """What came of a burst, for each wanted (index, sender's address): the index, how many copies, and (number,
        left, arrived) of each datagram. Waits ``linger_s`` for all of ``count``, and then ``copies_s`` for copies.
        """
        deadline = time.monotonic() + shape["linger_s"]
        places = self._bursts.setdefault((bytes.fromhex(token), number), {})
        journeys = [places.setdefault((index, address), _Journey()) for index, address in wanted]
        while True:
            if all(len(each.first) >= shape["count"] for each in journeys) or time.monotonic() >= deadline:
                break
            await asyncio.sleep(POLL_S)
        await asyncio.sleep(shape["copies_s"])
        return [
            [index, each.copies, [[place, *times] for place, times in tuple(each.first.items())]]
            for (index, _), each in zip(wanted, journeys, strict=True)
        ]

    def close(self) -> None:
        """Lets the port go."""
        if self._socket is None or self._thread is None:
            return
        with contextlib.suppress(OSError):  # it is connected to nobody, and wakes up all the same
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(CLOSE_TIMEOUT_S)
        self._socket.close()
        self._socket = self._thread = None

    def _receive(self, opened: socket.socket) -> None:
        """In a thread: priorities are a thread's own on Linux, so the server does not inherit this one."""
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PRIORITY)
        while True:
            try:
                data, sender = opened.recvfrom(LARGEST)
            except OSError:  # of one that was refused on its way
                continue
            if sender is None:  # it was shut down
                return
            self._accept(data, sender[0], time.monotonic_ns())

    def _accept(self, data: bytes, address: str, now: int) -> None:
        if len(data) == _DATAGRAM.size:
            token, number, index = _DATAGRAM.unpack(data)
            self._arrived.setdefault((token, number), set()).add((index, address))
            while len(self._arrived) > SENDS_KEPT:
                del self._arrived[next(iter(self._arrived))]
        elif len(data) >= _TIMED.size:
            token, number, index, place, sent_ns = _TIMED.unpack_from(data)
            links = self._bursts.setdefault((token, number), {})
            links.setdefault((index, address), _Journey()).arrive(place, sent_ns, now)
            while len(self._bursts) > BURSTS_KEPT:
                del self._bursts[next(iter(self._bursts))]

    def _put(self, data: bytes, address: str, port: int) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):
            self._socket.sendto(data, (address, port))
