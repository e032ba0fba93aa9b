"""The shell in memory: a disk that loses what was not synced, and the duties of a Ready in their order.

Syncs take time: Readies queue up behind the disk, as they may with a real shell that syncs in a thread. A crash loses
what is queued, but for a prefix of the writes that happened to reach the platter unacknowledged.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from node.core import Raft, Timing
from node.messages import (
    Entry,
    HardState,
    InstallSnapshot,
    Message,
    Ready,
    Recovered,
    Snapshot,
    SnapshotReply,
)
from tests.node.invariants import Invariants

SNAPSHOT_BYTES = 24
"""A simulated snapshot is the state's hash as decimal digits, padded to this; it travels in chunks of a third."""


@dataclass
class Disk:
    """What survives a crash."""

    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot = field(default_factory=Snapshot)
    state: int = 0
    """The state machine's state in the snapshot."""
    entries: list[Entry] = field(default_factory=list)

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry (or a snapshot over it) is durable."""
        if index <= self.snapshot.index:
            return True
        if not self.entries:
            return False
        position = index - self.entries[0].index
        return 0 <= position < len(self.entries) and self.entries[position].term == term

    def write(self, ready: Ready, *, records: int | None = None) -> None:
        """A Ready's step 2; or, torn by a crash, only its first ``records`` records."""
        for record in self._records(ready)[:records]:
            record()

    def _records(self, ready: Ready) -> list[Callable[[], None]]:
        records: list[Callable[[], None]] = []
        if ready.hard_state is not None:
            records.append(partial(setattr, self, "hard_state", ready.hard_state))
        if ready.truncate_from is not None:
            records.append(partial(self.cut, ready.truncate_from))
        if ready.install is not None:
            records.append(partial(self.forget_below, ready.install.index + 1))
        records.extend(partial(self.entries.append, entry) for entry in ready.entries)
        return records

    def cut(self, index: int) -> None:
        """Drops entries from ``index`` on."""
        while self.entries and self.entries[-1].index >= index:
            self.entries.pop()

    def store(self, snapshot: Snapshot, state: int) -> None:
        """Makes a snapshot durable; a shell recovers from the newest, so an older one is of no consequence."""
        if snapshot.index > self.snapshot.index:
            self.snapshot, self.state = snapshot, state

    def forget_below(self, index: int) -> None:
        """Compaction: entries below ``index`` go."""
        self.entries[:] = [entry for entry in self.entries if entry.index >= index]

    def recovered(self) -> Recovered:
        """What a start finds."""
        return Recovered(hard_state=self.hard_state, snapshot=self.snapshot, entries=tuple(self.entries))


def next_state(state: int, entry: Entry) -> int:
    """The state machine: a chain of hashes (of numbers, which Python does not salt)."""
    return hash((state, entry.index, entry.term, int.from_bytes(entry.data, "big")))


class SimulatedServer:
    """One server process: a core, its disk, its state machine. ``core`` is None while it is down."""

    def __init__(
        self,
        name: str,
        voters: tuple[str, ...],
        *,
        kind: type[Raft],
        timing: Timing,
        compact_every: int,
        stream: random.Random,
        invariants: Invariants,
        send: Callable[[Message], None],
    ) -> None:
        self.name = name
        self.disk = Disk()
        self.core: Raft | None = None
        self.incarnation = 0
        self.paused_until_ns = 0
        self.proposed: dict[int, int] = {}
        """index -> term of commands proposed here, while this server is up"""
        self._voters = voters
        self._kind = kind
        self._timing = timing
        self._compact_every = compact_every
        self._random = stream
        self._invariants = invariants
        self._send = send
        self._reset_volatile()

    def _reset_volatile(self) -> None:
        self.pending: deque[Ready] = deque()
        self.state = self.disk.state
        self.applied = self.disk.snapshot.index
        self.proposed = {}
        self.reads: dict[int, int] = {}
        self._next_token = 0
        self._sending: dict[str, tuple[Snapshot, int]] = {}
        self._partial: dict[Snapshot, bytes] = {}
        self._received: dict[Snapshot, int] = {}
        self._commit_seen = 0

    # Life and death

    def start(self, now_ns: int) -> None:
        """Starts from the disk."""
        self._reset_volatile()
        self.incarnation += 1
        self.core = self._kind(
            name=self.name,
            voters=self._voters,
            recovered=self.disk.recovered(),
            timing=self._timing,
            random=random.Random(self._random.getrandbits(64)),
            now_ns=now_ns,
        )
        self._invariants.restarted(self.core, self.disk.hard_state)

    def crash(self) -> None:
        """Loses everything but the disk; of the writes under way a prefix may have arrived."""
        self.core = None
        while self.pending:
            ready = self.pending.popleft()
            if self._random.random() < 0.5:
                self.disk.write(ready, records=self._random.randint(0, 3))
                break
            self.disk.write(ready)
        self.pending.clear()

    # What goes in

    def receive(self, message: Message, now_ns: int) -> None:
        """One message from the network."""
        core = self.core
        if core is None:
            return
        core.receive(message, now_ns)
        if isinstance(message, SnapshotReply) and not message.done and self._is_sent_to(message):
            self._send_chunk(core, message.source, message.next_offset)

    def propose(self, commands: list[bytes]) -> None:
        """A client's writes."""
        accepted = self.core.propose(commands) if self.core is not None else None
        if accepted is not None:
            first, term = accepted
            self.proposed.update((first + offset, term) for offset in range(len(commands)))

    def backlog(self) -> int:
        """Uncommitted entries."""
        return self.core.last_index - self.core.commit if self.core is not None else 0

    def read(self, now_ns: int) -> None:
        """A client's linearizable read."""
        if self.core is not None:
            self._next_token += 1
            self.reads[self._next_token] = self._invariants.commit_max
            self.core.read(self._next_token, now_ns)

    # The duties of a Ready

    def drain(self) -> int:
        """Takes all Readies that the core has; returns how many now wait for the disk."""
        core = self.core
        before = len(self.pending)
        while core is not None and core.has_ready():
            ready = core.ready()
            self._invariants.told(core, self.incarnation, self._commit_seen, ready)
            self._commit_seen = core.commit
            for message in ready.messages_now:
                self._send(message)
            self.pending.append(ready)
        return len(self.pending) - before

    def sync(self) -> None:
        """The disk is done with the oldest Ready: steps 2-6."""
        core = self.core
        if core is None or not self.pending:
            return
        ready = self.pending.popleft()
        self.disk.write(ready)
        if ready.entries:
            core.persisted(ready.entries[-1].index, ready.entries[-1].term)
        for message in ready.messages_after_persist:
            self._send(message)
        self._apply(core, ready)
        for target in ready.snapshots_wanted:
            # One snapshot from the first chunk to the last: switching to a newer one in between might go on for ever.
            self._sending[target] = self.disk.snapshot, self.disk.state
            self._send_chunk(core, target, 0)
        for chunk in ready.chunks:
            self._store_chunk(core, chunk)

    def _apply(self, core: Raft, ready: Ready) -> None:
        if ready.install is not None:
            self.state, self.applied = self._received.pop(ready.install, self.disk.state), ready.install.index
            self._invariants.apply(self.name, ready.install.index, ready.install.term, self.state)
        for entry in ready.committed:
            self.state = next_state(self.state, entry)
            self.applied = entry.index
            self._invariants.apply(self.name, entry.index, entry.term, self.state)
            if self.proposed.pop(entry.index, None) == entry.term:
                self._invariants.sometimes["write acknowledged"] += 1
        for read in ready.reads:
            floor = self.reads.pop(read.token)
            if read.index is None:
                self._invariants.sometimes["read refused"] += 1
            else:
                self._invariants.read(self.name, floor, read.index)
        if self.applied - self.disk.snapshot.index >= self._compact_every:
            self._compact(core, ready)

    def _compact(self, core: Raft, ready: Ready) -> None:
        term = core.term_at(self.applied)
        if term is None or not ready.committed or ready.committed[-1].index != self.applied:
            return
        snapshot = Snapshot(index=self.applied, term=ready.committed[-1].term, voters=self._voters)
        self.disk.store(snapshot, self.state)
        core.compacted(snapshot)
        self.disk.forget_below(core.first_index)

    # Snapshots on the wire

    def _is_sent_to(self, reply: SnapshotReply) -> bool:
        return reply.source in self._sending and self._sending[reply.source][0].index == reply.index

    def _send_chunk(self, core: Raft, target: str, offset: int) -> None:
        snapshot, state = self._sending[target]
        data = b"%*d" % (SNAPSHOT_BYTES, state)
        end = min(offset + SNAPSHOT_BYTES // 3, SNAPSHOT_BYTES)
        message = core.snapshot_chunk(
            target, snapshot, offset=offset, data=data[offset:end], done=end == SNAPSHOT_BYTES
        )
        if message is not None:
            self._send(message)

    def _store_chunk(self, core: Raft, chunk: InstallSnapshot) -> None:
        have = self._partial.get(chunk.snapshot, b"")
        if chunk.offset == len(have):
            have += chunk.data
            self._partial[chunk.snapshot] = have
        if len(have) == SNAPSHOT_BYTES:
            self.disk.store(chunk.snapshot, int(have))
            self._received[chunk.snapshot] = int(have)
            self._partial.clear()
            core.installed(chunk.snapshot)
        else:
            self._send(core.chunk_reply(chunk, next_offset=len(have)))
