"""Peer streams: framed protobuf over plain TCP against a gRPC bidirectional stream, with the same messages.

``python benchmarks/node_transport.py``: two processes, echo; the sender keeps a window of AppendEntries under way (16
entries of 100 bytes each) and gets an AppendReply for each, as a leader and a follower do. Printed per variant:
messages a second, p50 round trip with one message under way, and processor time per message on both sides. docs/node.md
holds the figures that decided.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import grpc
import grpc.aio
import uvloop

from node.network.transport import Address, Transport
from node.network.wire import decode_message, encode_message
from node.raft.messages import AppendEntries, AppendReply, Entry, EntryKind, Message

ENTRIES = tuple(Entry(index, 1, EntryKind.COMMAND, bytes(100)) for index in range(1, 17))
SECONDS = 2.0
METHOD = "/capsize.Benchmark/Stream"


def append(number: int) -> AppendEntries:
    return AppendEntries(
        source="n1", target="n2", term=1, prev_index=number, prev_term=1, entries=ENTRIES, commit=number
    )


def reply_to(message: Message) -> AppendReply:
    assert isinstance(message, AppendEntries)
    return AppendReply(source="n2", target="n1", term=1, success=True, match=message.prev_index)


class Window:
    """Keeps so many messages under way, counts replies, notes round trips."""

    def __init__(self, size: int, send: Callable[[Message], None]) -> None:
        self._size = size
        self._send = send
        self._sent: dict[int, float] = {}
        self._next = 1
        self.round_trips: list[float] = []
        self.stop_at = 0.0
        self.done = asyncio.Event()

    def begin(self) -> None:
        self.stop_at = time.perf_counter() + SECONDS
        for _ in range(self._size):
            self._put()

    def replied(self, message: Message) -> None:
        assert isinstance(message, AppendReply)
        now = time.perf_counter()
        self.round_trips.append(now - self._sent.pop(message.match))
        if now < self.stop_at:
            self._put()
        elif not self._sent:
            self.done.set()

    def _put(self) -> None:
        self._sent[self._next] = time.perf_counter()
        self._send(append(self._next))
        self._next += 1


@contextlib.asynccontextmanager
async def framed(name: str, ports: tuple[int, int], received: Callable[[Message], None]) -> AsyncIterator[Any]:
    """Our transport: messages of one turn of the loop share a write, as in the shell."""
    addresses = {peer: Address("127.0.0.1", port) for peer, port in zip(("n1", "n2"), ports, strict=True)}
    loop = asyncio.get_running_loop()
    transport = Transport(name, addresses, received)
    flushing = False

    def send(message: Message) -> None:
        nonlocal flushing
        transport.send(message)
        if not flushing:
            flushing = True
            loop.call_soon(flush)

    def flush() -> None:
        nonlocal flushing
        flushing = False
        transport.flush()

    await transport.start()
    while not all(link.connected for link in transport.links.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield send
    finally:
        await transport.close()


async def serve_framed(ports: tuple[int, int], ready: Connection) -> None:
    sends: list[Callable[[Message], None]] = []
    async with framed("n2", ports, lambda message: sends[0](reply_to(message))) as send:
        sends.append(send)
        await until_told(ready)


async def measure_framed(ports: tuple[int, int], window: int) -> Window:
    windows: list[Window] = []
    async with framed("n1", ports, lambda message: windows[0].replied(message)) as send:
        windows.append(Window(window, send))
        await asyncio.sleep(0.3)
        windows[0].begin()
        await windows[0].done.wait()
    return windows[0]


async def serve_grpc(ports: tuple[int, int], ready: Connection) -> None:
    async def stream(_requests: Any, context: Any) -> None:
        while (data := await context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            await context.write(encode_message(reply_to(decode_message(data))))

    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(stream)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("capsize.Benchmark", {"Stream": handler}),))
    server.add_insecure_port(f"127.0.0.1:{ports[1]}")
    await server.start()
    await until_told(ready)
    await server.stop(None)


async def measure_grpc(ports: tuple[int, int], window: int) -> Window:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports[1]}") as channel:
        call: Any = channel.stream_stream(METHOD)()  # type: ignore[call-arg]
        one = Window(window, lambda message: queue.put_nowait(encode_message(message)))

        async def write() -> None:
            while True:
                await call.write(await queue.get())

        async def read() -> None:
            while True:
                one.replied(decode_message(await call.read()))

        tasks = [asyncio.create_task(write()), asyncio.create_task(read())]
        await asyncio.sleep(0.3)
        one.begin()
        await one.done.wait()
        for task in tasks:
            task.cancel()
        call.cancel()
    return one


async def until_told(ready: Connection) -> None:
    """Serves until the other side says that it is done, then tells how much processor time it took."""
    begin = processor_s()
    ready.send("ready")
    await asyncio.get_running_loop().run_in_executor(None, ready.recv)
    ready.send(processor_s() - begin)


def processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def serve(variant: str, ports: tuple[int, int], ready: Connection) -> None:
    uvloop.run({"framed": serve_framed, "grpc": serve_grpc}[variant](ports, ready))


def measure(variant: str, window: int) -> str:
    ours, theirs = multiprocessing.Pipe()
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        ports = (a.getsockname()[1], b.getsockname()[1])
    process = multiprocessing.Process(target=serve, args=(variant, ports, theirs))
    process.start()
    if variant == "grpc":
        ours.recv()
    begin = processor_s()
    result = uvloop.run({"framed": measure_framed, "grpc": measure_grpc}[variant](ports, window))
    used = processor_s() - begin
    if variant == "framed":
        ours.recv()
    ours.send("stop")
    used += ours.recv()
    process.join()
    trips = sorted(result.round_trips)
    return (
        f"{variant:7} window {window:3}: {len(trips) / SECONDS:8.0f} messages/s, round trip p50"
        f" {trips[len(trips) // 2] * 1e3:6.2f} ms, {used / len(trips) * 1e6:5.0f} us of processor per message"
    )


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    for size in (1, 64):
        for name in ("framed", "grpc"):
            print(measure(name, size), flush=True)
