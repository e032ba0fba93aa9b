"""Datagrams between hosts: did one that was sent there arrive here?"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Sequence
from typing import Any

from harness.guard.errors import GuardError

POLL_S = 0.002
SENDS_KEPT = 64
_DATAGRAM = struct.Struct("!8sQI")  # who we are, which probe, which pair of it


class ProbePort(asyncio.DatagramProtocol):
    """Sends datagrams to other ends, and notes which arrived here and from where."""

    def __init__(self) -> None:
        self._arrived: dict[tuple[bytes, int], set[tuple[int, str]]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, address: str, port: int) -> int:
        """Binds it; returns the port.

        Raises:
            GuardError: this host does not have the address, or the port is taken.
        """
        if self._transport is None:
            loop = asyncio.get_running_loop()
            try:
                self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(address, port))
            except OSError as error:
                raise GuardError(f"no datagram socket at {address}:{port}: {error}") from None
        return int(self._transport.get_extra_info("sockname")[1])

    def send(self, token: str, number: int, targets: Sequence[Sequence[Any]]) -> None:
        """One datagram to each (index, address, port)."""
        assert self._transport is not None
        for index, address, port in targets:
            with contextlib.suppress(OSError):
                self._transport.sendto(_DATAGRAM.pack(bytes.fromhex(token), number, index), (address, port))

    async def arrived(self, token: str, number: int, wanted: Sequence[Sequence[Any]], timeout_s: float) -> list[int]:
        """Of the wanted (index, sender's address), those that arrived; returns at once when all have."""
        deadline = time.monotonic() + timeout_s
        expected = {(index, address) for index, address in wanted}
        while True:
            seen = self._arrived.get((bytes.fromhex(token), number), set()) & expected
            if seen == expected or time.monotonic() >= deadline:
                return sorted(index for index, _ in seen)
            await asyncio.sleep(POLL_S)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """See :class:`asyncio.DatagramProtocol`."""
        if len(data) == _DATAGRAM.size:
            token, number, index = _DATAGRAM.unpack(data)
            self._arrived.setdefault((token, number), set()).add((index, addr[0]))
            while len(self._arrived) > SENDS_KEPT:
                del self._arrived[next(iter(self._arrived))]

    def error_received(self, exc: Exception) -> None:
        """What was refused on its way did not arrive."""

    def close(self) -> None:
        """Lets the port go."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
