"""One PySyncObj node with a client port, for ``benchmarks/clusters.py``. PySyncObj is a library: what serves
clients is ours, and as lean as can be (frames of msgpack, one for all replies of a turn), so that what is measured is
PySyncObj.

    python -m benchmarks.pysyncobj_node CLIENT_PORT JOURNAL BATCHED SELF PARTNER...
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import uvloop
from pysyncobj import SyncObj, SyncObjConf, replicated

from node.network.frames import FrameReader, encode_frame


class Store(SyncObj):  # type: ignore[misc]  # it has no types
    """Registers."""

    def __init__(self, address: str, partners: Sequence[str], conf: SyncObjConf) -> None:
        super().__init__(address, list(partners), conf)
        self._registers: dict[str, bytes] = {}

    @replicated  # type: ignore[misc]
    def put(self, key: str, value: bytes) -> None:
        """Sets one."""
        self._registers[key] = value


class Client(asyncio.Protocol):
    """A client's connection: lists of [id, key, value] come, lists of [id, done] go. An empty list asks who leads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._transport: Any = None
        self._replies: list[tuple[int, bool]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for payload in self._reader.feed(data):
            calls = msgspec.msgpack.decode(payload)
            if not calls:
                self._write([(0, self._store._isLeader())])
            for number, key, value in calls:
                self._store.put(key, value, callback=self._done(number))

    def _done(self, number: int) -> Callable[[Any, int], None]:
        def done(_result: Any, error: int) -> None:  # in PySyncObj's thread
            self._replies.append((number, error == 0))
            if len(self._replies) == 1:
                self._loop.call_soon_threadsafe(self._flush)

        return done

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        self._write(replies)

    def _write(self, replies: Sequence[tuple[int, bool]]) -> None:
        self._transport.write(encode_frame(msgspec.msgpack.encode(replies)))


async def main(port: int, journal: str, batched: bool, address: str, partners: Sequence[str]) -> None:
    """Runs until it is killed."""
    store = Store(address, partners, SyncObjConf(journalFile=journal, appendEntriesUseBatch=batched))
    server = await asyncio.get_running_loop().create_server(lambda: Client(store), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3] == "batched", sys.argv[4], sys.argv[5:]))
