"""Snapshots in motion: taking them beside the running node, sending them to followers in chunks, receiving them.

Taking: the state is copied in a turn (microseconds), encoded and written by a thread of its own, and only when the log,
too, is durable that far is the log compacted behind it. Sending: one chunk is under way per follower; its reply asks
for the next one. When a follower falls silent, the core asks again; the first chunk then finds out where it was, and a
transfer that had begun goes on there, with the same snapshot though there may be a newer one. Receiving: chunks gather
in memory; the whole is verified, made durable and decoded by the thread before the core hears of it, and the core has
the last word on whether it is installed (figure 13; it may be late).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from node.durable.disk import Disk
from node.durable.snapshots import Arrival, BadSnapshotError
from node.durable.storage import Storage
from node.machine import Machine, Saved, decode_state, digest
from node.observing.trace import Trace
from node.raft.core import Raft
from node.raft.messages import InstallSnapshot, Message, Snapshot, SnapshotReply

SNAPSHOT_BYTES_MAX = 1 << 30
"""A larger one is not accepted from a peer."""

_T = TypeVar("_T")
_log = logging.getLogger("node.snapshots")


@dataclass(frozen=True, slots=True)
class _Received:
    """A snapshot that is durable and understood: installing it takes no time."""

    snapshot: Snapshot
    saved: Saved
    state_hash: str


@dataclass(slots=True)
class _Transfer:
    """A snapshot on its way to a follower."""

    snapshot: Snapshot
    offset: int = 0
    """Of the chunk that is under way."""
    begun: bool = False
    """Whether the follower asked for more."""


class Snapshotting:
    """One node's snapshots. ``turn`` schedules a turn; ``failed`` ends the node."""

    def __init__(
        self,
        *,
        core: Raft,
        machine: Machine,
        storage: Storage,
        disk: Disk,
        trace: Trace,
        entries: int,
        send: Callable[[Message], None],
        promise: Callable[[Message], None],
        turn: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """``entries``: a snapshot is taken when this many were applied since the last one. ``promise`` sends a message
        that must not leave before what the core asked for is durable.
        """
        self._core = core
        self._machine = machine
        self._storage = storage
        self._disk = disk
        self._trace = trace
        self._entries = entries
        self._send = send
        self._promise = promise
        self._turn = turn
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshots")
        self._taking = False
        self._arrival: Arrival | None = None
        self._received: _Received | None = None
        self._sending: dict[str, _Transfer] = {}

    async def close(self) -> None:
        """Waits for the thread."""
        await self._loop.run_in_executor(None, self._thread.shutdown)

    # Taking

    def take_if_due(self, applied: Snapshot) -> None:
        """``applied`` is how far the machine got (its term and index; the configuration as of there is added here)."""
        if self._taking or applied.index - self._core.snapshot.index < self._entries:
            return
        self._taking = True
        snapshot = Snapshot.of(applied.index, applied.term, self._core.configuration_at(applied.index))
        copy = self._machine.copy()

        def save() -> str:
            state = copy.encode()
            self._storage.save_snapshot(snapshot, state)
            return digest(state)

        self._in_background(save, lambda state_hash: self._saved(snapshot, state_hash))

    def _saved(self, snapshot: Snapshot, state_hash: str) -> None:
        if self._core.snapshot.index >= snapshot.index:  # overtaken by one that was received
            self._taking = False
            return
        self._disk.run(lambda: self._storage.compact(snapshot), lambda: self._compacted(snapshot, state_hash))
        self._disk.flush()

    def _compacted(self, snapshot: Snapshot, state_hash: str) -> None:
        self._taking = False
        self._trace.snapshot("taken", snapshot, state_hash)
        if self._core.snapshot.index < snapshot.index:
            self._core.compacted(snapshot)
        _log.info("snapshot taken at index %d", snapshot.index)
        self._turn()

    # Sending

    def send_to(self, follower: str) -> None:
        """Begins to send the current snapshot, or goes on with the one that was under way."""
        transfer = self._sending.get(follower)
        if transfer is None or not transfer.begun:
            transfer = self._sending[follower] = _Transfer(self._core.snapshot)
        _log.info("sending snapshot %d to %s", transfer.snapshot.index, follower)
        self._send_chunk(follower, transfer, 0)

    def replied(self, reply: SnapshotReply) -> None:
        """A follower asks for more, or is done. The core has seen the reply already."""
        transfer = self._sending.get(reply.source)
        if transfer is None or transfer.snapshot.index != reply.index:
            return
        if reply.done:
            del self._sending[reply.source]
        elif reply.next_offset != transfer.offset:  # else that chunk is under way: a late or doubled reply
            transfer.begun = True
            self._send_chunk(reply.source, transfer, reply.next_offset)

    def _send_chunk(self, follower: str, transfer: _Transfer, offset: int) -> None:
        transfer.offset = offset
        try:
            data, done = self._storage.snapshot_chunk(transfer.snapshot, offset)
        except FileNotFoundError:  # two newer ones were taken meanwhile
            del self._sending[follower]
            if transfer.snapshot != self._core.snapshot:
                self.send_to(follower)
            return
        if not data:  # the follower has all of it and is busy making it durable
            return
        message = self._core.snapshot_chunk(follower, transfer.snapshot, offset=offset, data=data, done=done)
        if message is None:
            del self._sending[follower]
        else:
            self._send(message)

    # Receiving

    def arrived(self, chunk: InstallSnapshot) -> None:
        """Stores a chunk that the core accepted and asks for the next byte: an answer in a term that may have come with
        the chunk, and is revealed by nothing before it is durable.
        """
        if self._arrival is None or self._arrival.snapshot != chunk.snapshot:
            self._arrival = Arrival(chunk.snapshot, bytearray())
        arrival = self._arrival
        was_complete = arrival.complete
        next_offset = arrival.accept(chunk.offset, chunk.data, done=chunk.done)
        if next_offset > SNAPSHOT_BYTES_MAX:
            _log.error("snapshot %d is larger than %d bytes: given up", chunk.snapshot.index, SNAPSHOT_BYTES_MAX)
            self._arrival = None
            return
        self._promise(self._core.chunk_reply(chunk, next_offset=next_offset))
        if arrival.complete and not was_complete:
            self._in_background(lambda: self._verify(arrival), lambda loaded: self._stored(arrival, loaded))

    def _verify(self, arrival: Arrival) -> _Received | BadSnapshotError:
        try:
            loaded = self._storage.receive_snapshot(arrival.snapshot, bytes(arrival.data))
        except BadSnapshotError as error:
            return error
        return _Received(loaded.snapshot, decode_state(loaded.state), digest(loaded.state))

    def _stored(self, arrival: Arrival, received: _Received | BadSnapshotError) -> None:
        if self._arrival is arrival:
            self._arrival = None
        if isinstance(received, BadSnapshotError):
            _log.error("refused a snapshot: %s", received)
            return
        self._core.installed(received.snapshot)
        if self._core.snapshot == received.snapshot:  # else it came late, and one that waits to be installed must stay
            self._received = received
        self._turn()

    def install(self, snapshot: Snapshot) -> None:
        """The core decided that a snapshot takes the place of the state: called after the log's reset was queued on the
        disk.
        """
        received = self._received
        if received is None or received.snapshot.index != snapshot.index:
            raise RuntimeError(
                f"told to install {snapshot}, but the last one received is {received and received.snapshot}"
            )
        self._received = None
        self._machine.adopt(received.saved)
        self._trace.snapshot("installed", snapshot, received.state_hash)
        for index, configuration in self._core.configurations:
            self._trace.config(index, configuration)
        self._disk.run(lambda: self._storage.installed(snapshot), lambda: None)
        _log.info("snapshot installed at index %d", snapshot.index)

    def _in_background(self, work: Callable[[], _T], done: Callable[[_T], None]) -> None:
        """Runs ``work`` in the thread and ``done`` with its result in the loop; an error ends the node."""

        def finished(future: Future[_T]) -> None:
            try:
                done(future.result())
            except Exception as error:  # noqa: BLE001  # the edge of a callback: reported, and the node ends
                self._failed(error)

        future = self._thread.submit(work)
        future.add_done_callback(lambda future: self._loop.call_soon_threadsafe(finished, future))
