"""The date of an HTTP answer."""

from __future__ import annotations

import asyncio

import pytest

from harness.systems.http_date import date_in, http_date


@pytest.mark.parametrize(
    ("head", "date"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: Thu, 01 Jan 1970 00:01:40 GMT\r\n\r\n", 100.0),
        (b"HTTP/1.1 404 Not Found\r\ndate:Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n", 0.0),
        (b"HTTP/1.1 200 OK\r\nDate: soon\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
    ],
)
def test_a_date_is_read_or_not_there(head: bytes, date: float | None) -> None:
    """Any answer will do; what is no date is none."""
    assert date_in(head) == date


async def test_a_server_is_asked_and_whoever_speaks_something_else_is_not_waited_for() -> None:
    """Over a real connection; a server that hangs up, or is not there, has no date."""
    answers = iter([b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:01:40 GMT\r\n\r\n", b"", b"x" * (1 << 16)])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(answers))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert [await http_date("127.0.0.1", port, timeout_s=5) for _ in range(3)] == [100.0, None, None]
    server.close()
    await server.wait_closed()
    assert await http_date("127.0.0.1", port, timeout_s=5) is None
