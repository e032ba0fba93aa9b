"""The date under which an HTTP server answers (RFC 9110, 6.6.1): what its process takes the time of day to be."""

from __future__ import annotations

import asyncio
import contextlib
from email.utils import parsedate_to_datetime

HEAD_BYTES_MAX = 16 << 10


def date_in(head: bytes) -> float | None:
    """Seconds since the epoch in an answer's ``Date``; None if it has none that can be read."""
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "date":
            with contextlib.suppress(ValueError):
                return parsedate_to_datetime(value.strip()).timestamp()
    return None


async def http_date(address: str, port: int, *, timeout_s: float, path: str = "/version") -> float | None:
    """Asks over a connection of its own; None if nothing that is HTTP answers in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(address, port, path)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None


async def _ask(address: str, port: int, path: str) -> float | None:
    reader, writer = await asyncio.open_connection(address, port, limit=HEAD_BYTES_MAX)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        return date_in(await reader.readuntil(b"\r\n\r\n"))
    finally:
        writer.transport.abort()  # a closing handshake would wait for the node
