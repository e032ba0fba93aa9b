"""Snapshots in motion: taking them beside the running node, sending them to followers in chunks, receiving them.

Taking: the state is copied in a turn (microseconds), encoded and written by a thread of its own, and only when the log,
too, is durable that far is the log compacted behind it. Sending: one chunk is under way per follower; its reply asks
for the next one. When a follower falls silent, the core asks again; the first chunk then finds out where it was, and a
transfer that had begun goes on there, with the same snapshot though there may be a newer one; as long as the follower
answers, its file stays, and the log behind it (:mod:`node.raft.catchup`). The file is read once as a whole meanwhile: a
bad one is put aside, and another sent; and so is the newest to a follower that was sent all and begins anew, because it
does not say what it thought of it. Receiving: chunks gather in memory; the whole is verified, decoded and made durable
by the thread before the core hears of it, and the core has the last word on whether it is installed (figure 13; it may
be late).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from node.durable.disk import Disk
from node.durable.snapshots import CHUNK_BYTES, Arrival, BadSnapshotError, Loaded
from node.durable.storage import Storage
from node.machine import BadStateError, Machine, Saved, decode_state, digest
from node.observing.trace import Trace
from node.raft.core import Raft
from node.raft.messages import InstallSnapshot, Message, Snapshot, SnapshotReply

LOG_BYTES = 64 << 20
"""A snapshot is due when this much was applied since the last one, however few entries it was: or the log would grow
without a bound, in memory and on disk. More if the state is larger: the disk is not to write it many times over for
what is written once.
"""

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
    """Whether the follower asked for more, and got it."""
    ended: bool = False
    """Whether the last chunk was sent."""


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
        """``entries``: a snapshot is taken when this many were applied since the last one, or :data:`LOG_BYTES`.
        ``promise`` sends a message that must not leave before what the core asked for is durable.
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
        self._applied = core.snapshot
        """What the machine's state is of."""
        self._applied_bytes = 0
        """Since the last snapshot."""
        self._state_bytes = 0
        """Of the last one that was taken here."""
        self._sound: Snapshot | None = None
        """The last one whose file was read to see whether it is as it was written."""
        self._arrival: Arrival | None = None
        self._received: _Received | None = None
        self._sending: dict[str, _Transfer] = {}

    async def close(self) -> None:
        """Waits for the thread."""
        await self._loop.run_in_executor(None, self._thread.shutdown)

    # Taking

    def take_if_due(self, applied: Snapshot, size: int) -> None:
        """``applied`` is how far the machine got (its term and index; the configuration as of there is added here);
        ``size``: the bytes of what was applied since this was last called.
        """
        self._applied = applied
        self._applied_bytes += size
        if not self._taking and (
            applied.index - self._core.snapshot.index >= self._entries
            or self._applied_bytes >= max(LOG_BYTES, self._state_bytes)
        ):
            self._take(applied)

    def _take(self, applied: Snapshot) -> None:
        self._taking = True
        self._applied_bytes = 0
        snapshot = Snapshot.of(applied.index, applied.term, self._core.configuration_at(applied.index))
        copy = self._machine.copy()

        def save() -> tuple[str, int]:
            state = copy.encode()
            self._storage.save_snapshot(snapshot, state)
            return digest(state), len(state)

        self._in_background(save, lambda saved: self._saved(snapshot, *saved))

    def _saved(self, snapshot: Snapshot, state_hash: str, state_bytes: int) -> None:
        self._state_bytes = state_bytes
        if self._core.snapshot.index >= snapshot.index:  # overtaken by one that was received, or its file written again
            self._taking = False
            return
        sending = [
            transfer.snapshot for follower, transfer in self._sending.items() if self._core.awaits_snapshot(follower)
        ]
        self._disk.run(lambda: self._storage.compact(snapshot, sending), lambda: self._compacted(snapshot, state_hash))
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
        if anew := transfer is None or not transfer.begun:
            transfer = self._sending[follower] = _Transfer(self._core.snapshot)
        _log.info("sending snapshot %d to %s", transfer.snapshot.index, follower)
        self._send_chunk(follower, transfer, 0)
        if anew:
            self._check(transfer.snapshot)

    def replied(self, reply: SnapshotReply) -> None:
        """A follower asks for more, or is done. The core has seen the reply already."""
        transfer = self._sending.get(reply.source)
        if transfer is None or transfer.snapshot.index != reply.index:
            return
        if reply.done:
            del self._sending[reply.source]
        elif reply.next_offset == transfer.offset:
            pass  # that chunk is under way: a late or doubled reply
        elif transfer.ended and reply.next_offset <= CHUNK_BYTES:  # it refused what it got, or restarted
            del self._sending[reply.source]
            self._sound = None
            self.send_to(reply.source)
        else:
            self._send_chunk(reply.source, transfer, reply.next_offset)

    def _send_chunk(self, follower: str, transfer: _Transfer, offset: int) -> None:
        transfer.offset = offset
        try:
            data, done = self._storage.snapshot_chunk(transfer.snapshot, offset)
        except FileNotFoundError:  # two newer ones were taken while the follower was silent
            del self._sending[follower]
            if transfer.snapshot != self._core.snapshot:
                self.send_to(follower)
            return
        if not data:  # the follower has all of it and is busy making it durable
            return
        transfer.begun = transfer.begun or offset > 0
        transfer.ended = transfer.ended or (done and offset > 0)
        message = self._core.snapshot_chunk(follower, transfer.snapshot, offset=offset, data=data, done=done)
        if message is None:
            del self._sending[follower]
        else:
            self._send(message)

    def _check(self, snapshot: Snapshot) -> None:
        """Reads the file beside its first chunks: a follower would refuse a bad one, and say nothing."""
        if self._sound != snapshot:
            self._sound = snapshot
            self._in_background(
                lambda: self._storage.check_snapshot(snapshot), lambda damage: self._checked(snapshot, damage)
            )

    def _checked(self, snapshot: Snapshot, damage: str | None) -> None:
        """Another takes the place of a bad one: if there is none, the state as it is now."""
        if damage is None:
            return
        _log.error("put a bad snapshot aside: %s", damage)
        self._sound = None
        misled = [follower for follower, transfer in self._sending.items() if transfer.snapshot == snapshot]
        for follower in misled:
            del self._sending[follower]
            if self._core.snapshot != snapshot:
                self.send_to(follower)
        if self._core.snapshot == snapshot and not self._taking:
            self._take(self._applied)
        self._turn()

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
            return self._storage.receive_snapshot(arrival.snapshot, bytes(arrival.data), _understand)
        except BadSnapshotError as error:
            return error

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
        self._applied = snapshot
        self._applied_bytes = 0
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


def _understand(loaded: Loaded) -> _Received:
    """Raises BadSnapshotError if the state is none of this program's version: the leader's may be newer."""
    try:
        saved = decode_state(loaded.state)
    except BadStateError as error:
        raise BadSnapshotError(f"snapshot {loaded.snapshot.index} from a peer: {error}") from None
    return _Received(loaded.snapshot, saved, digest(loaded.state))
