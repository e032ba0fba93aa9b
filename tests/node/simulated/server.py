"""The shell in memory: one server process, which does the duties of each Ready in their order (:mod:`node.shell`).

Syncs take time: work queues up behind the disk. A crash loses what is queued, but for a prefix of the writes that
happened to reach the platter unacknowledged. Snapshots are stored in the background, as by a thread; one whose
storing a crash interrupted is torn, which its checksum tells: then it is as if it had never been.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from node.parts import Parts
from node.raft.core import Raft, Timing
from node.raft.messages import Configuration, Entry, InstallSnapshot, Message, Ready, Role, Snapshot, SnapshotReply
from tests.node.simulated.clock import Clock
from tests.node.simulated.disk import Disk
from tests.node.simulated.invariants import Invariants, Read
from tests.node.simulated.telling import tell_message
from tests.node.simulated.violation import Violation

SNAPSHOT_BYTES = 24
"""A simulated snapshot is the state's hash as decimal digits, padded to this."""

Later = Callable[["SimulatedServer", Callable[[], None]], None]
"""Does a piece of work when the disk gets to it, if the server is still up."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """Work for the disk: a snapshot is stored, so what it stands for may go."""

    snapshot: Snapshot


def next_state(state: int, entry: Entry) -> int:
    """The state machine: a chain of hashes (of numbers, which Python does not salt)."""
    return hash((state, entry.index, entry.term, int.from_bytes(entry.data[:8], "big")))


def standing(core: Raft) -> tuple[object, ...]:
    """What a message of an older term must not change (section 5.1)."""
    return core.role, core.term, core.vote, core.last_index, core.term_at(core.last_index), core.commit


class SimulatedServer:
    """One server process: a core, its disk, its state machine. ``core`` is None while it is down."""

    def __init__(
        self,
        name: str,
        founders: tuple[str, ...],
        *,
        parts: Parts,
        timing: Timing,
        clock: Clock,
        compact_every: int,
        chunks: int,
        stream: random.Random,
        invariants: Invariants,
        send: Callable[[Message], None],
        later: Later,
    ) -> None:
        """``founders``: the voters of the first configuration; nobody if this server joins later."""
        self.name = name
        self.founders = Configuration(voters=founders)
        self.disk = Disk()
        self.clock = clock
        self.core: Raft | None = None
        self.incarnation = 0
        self.paused_until_ns = 0
        self.disk_busy_until_ns = 0
        self._commit_seen = 0
        self._kind = parts.core
        self._callers = parts.callers()
        self._timing = timing
        self._compact_every = compact_every
        self._chunks = chunks
        self._random = stream
        self._invariants = invariants
        self._send = send
        self._later = later
        self._reset_volatile()

    def _reset_volatile(self) -> None:
        self.pending: deque[Ready | Compaction | Message] = deque()
        self.state = self.disk.state
        self.applied = self.disk.snapshot.index
        self.proposed: dict[int, int] = {}
        """index -> term of commands proposed here, while this server is up"""
        self.reads: dict[int, Read] = {}
        self._confirmed: list[tuple[int, Read]] = []
        self._next_token = 0
        self._taking = False
        self._sending: dict[str, tuple[Snapshot, int]] = {}
        self._arriving: tuple[Snapshot, bytes] | None = None
        self._received: dict[Snapshot, int] = {}
        self._led: int | None = None
        self._led_at_ready: int | None = None

    # Life and death

    def start(self, now_ns: int) -> None:
        """Starts from the disk."""
        self._reset_volatile()
        self.incarnation += 1
        self.core = self._kind(
            name=self.name,
            voters=self.founders.voters,
            recovered=self.disk.recovered(),
            timing=self._timing,
            random=random.Random(self._random.getrandbits(64)),
            now_ns=self.clock.shows(now_ns),
        )
        self._commit_seen = self.core.commit
        self._invariants.restarted(self.core, self.disk.hard_state)

    def crash(self) -> None:
        """Loses everything but the disk; of the writes under way a prefix may have arrived."""
        self.core = None
        while self.pending:
            job = self.pending.popleft()
            if self._random.random() < 0.5:
                if isinstance(job, Ready):
                    self._write(job, records=self._random.randint(0, 3))
                break
            if isinstance(job, Ready):
                self._write(job)
        self.pending.clear()

    # What goes in

    def tick(self, now_ns: int) -> None:
        """Its timer."""
        if self.core is not None:
            self.core.tick(self.clock.shows(now_ns))

    def receive(self, message: Message, now_ns: int) -> None:
        """One message from the network."""
        core = self.core
        if core is None:
            return
        before = standing(core) if message.term < core.term else None
        core.receive(message, self.clock.shows(now_ns))
        if before is not None and standing(core) != before:
            raise Violation(
                f"stale message: {before} became {standing(core)} at {self.name} by {tell_message(message)}"
            )
        if isinstance(message, SnapshotReply):
            self._snapshot_answered(core, message)

    def propose(self, commands: list[bytes]) -> bool:
        """A client's writes; False if this server refuses them."""
        accepted = self.core.propose(commands) if self.core is not None else None
        if accepted is None:
            return False
        first, term = accepted
        self.proposed.update((first + offset, term) for offset in range(len(commands)))
        return True

    def backlog(self) -> int:
        """Uncommitted entries."""
        return self.core.last_index - self.core.commit if self.core is not None else 0

    def read(self, mode: str, now_ns: int, *, excused: bool = False) -> None:
        """A client's linearizable read: by the "leader", by anyone who asks the leader ("follower"), or by "lease"."""
        core = self.core
        if core is None:
            return
        shown_ns = self.clock.shows(now_ns)
        read = Read(mode=mode, floor=self._invariants.commit_max, excused=excused and mode == "lease")
        if mode == "lease":
            index = core.lease_index(shown_ns)
            if index is not None:
                self._confirmed.append((index, read))
            self._serve_reads()
            return
        self._next_token += 1
        self.reads[self._next_token] = read
        (core.read if mode == "leader" else core.read_through)(self._next_token, shown_ns)

    def look(self) -> None:
        """Lets the observer see what an event has made of the core."""
        core = self.core
        if core is None:
            return
        if core.role is Role.LEADER and self._led != core.term:
            self._led = core.term
            self._invariants.leads(core, self.incarnation)
        if core.commit != self._commit_seen:
            self._invariants.commits(core, self._commit_seen, led=self._led == core.term)
            self._commit_seen = core.commit

    # The duties of a Ready

    def drain(self) -> None:
        """Takes all Readies that the core has: duties 1, 5 and 6 at once, the others when the disk is done."""
        core = self.core
        while core is not None and core.has_ready():
            ready = core.ready()
            leads = core.term if core.role is Role.LEADER else None
            self._invariants.told(core, ready, led=leads is not None and leads == self._led_at_ready)
            self._led_at_ready = leads
            for message in ready.messages_now:
                self._send(message)
            self._persist(ready)
            self._obey(core, ready)

    def _persist(self, ready: Ready) -> None:
        """What promises nothing new waits only for the promises before it."""
        if ready.entries or ready.hard_state or ready.truncate_from is not None or ready.install or self.pending:
            self._queue(ready)
        else:
            for message in ready.messages_after_persist:
                self._send(message)

    def _queue(self, job: Ready | Compaction | Message) -> None:
        self.pending.append(job)
        self._later(self, self.sync)

    def sync(self) -> None:
        """The disk is done with its oldest job."""
        core = self.core
        if core is None or not self.pending:
            return
        job = self.pending.popleft()
        if isinstance(job, Compaction):
            self._compacted(core, job.snapshot)
        elif isinstance(job, Message):
            self._send(job)
        else:
            self._persisted(core, job)

    def _persisted(self, core: Raft, job: Ready) -> None:
        self._write(job)
        if job.entries:
            core.persisted(job.entries[-1].index, job.entries[-1].term)
        for message in job.messages_after_persist:
            self._send(message)

    def _write(self, ready: Ready, *, records: int | None = None) -> None:
        self.disk.write(ready, records=records)
        if ready.truncate_from is not None:
            self._invariants.cut()

    def _obey(self, core: Raft, ready: Ready) -> None:
        if ready.install is not None:
            self._install(ready.install)
        for entry in ready.committed:
            self._apply(entry)
        for state in ready.reads:
            read = self.reads.pop(state.token)
            if state.index is None:
                self._invariants.sometimes["read refused"] += 1
            else:
                self._confirmed.append((state.index, read))
        self._serve_reads()
        for target in ready.snapshots_wanted:
            # One snapshot from the first chunk to the last: switching to a newer one in between might go on for ever.
            self._sending[target] = self.disk.snapshot, self.disk.state
            self._send_chunk(core, target, 0)
        for chunk in ready.chunks:
            self._store_chunk(core, chunk)
        if ready.committed:
            self._compact_if_due(core)

    def _apply(self, entry: Entry) -> None:
        self.state = next_state(self.state, entry)
        self.applied = entry.index
        self._invariants.applies(self.name, entry, self.state)
        if self.proposed and self.proposed.pop(entry.index, None) == entry.term:
            self._invariants.sometimes["write acknowledged"] += 1

    def _serve_reads(self) -> None:
        if not self._confirmed:
            return
        waiting = []
        for index, read in self._confirmed:
            if self._callers.is_applied(index, self.applied):
                self._invariants.read(self.name, read, self.applied)
            else:
                waiting.append((index, read))
        self._confirmed = waiting

    # Snapshots taken

    def _compact_if_due(self, core: Raft) -> None:
        if self._taking or self.applied - core.snapshot.index < self._compact_every:
            return
        self._taking = True
        term = self._invariants.applied[self.applied][0]
        snapshot = Snapshot.of(self.applied, term, core.configuration_at(self.applied))
        self._invariants.configurations.snapshot(self.name, snapshot)
        self._later(self, partial(self._taken, snapshot, self.state))

    def _taken(self, snapshot: Snapshot, state: int) -> None:
        if self.core is None or self.core.snapshot.index >= snapshot.index:
            self._taking = False
            return
        self.disk.store(snapshot, state)
        self._queue(Compaction(snapshot))

    def _compacted(self, core: Raft, snapshot: Snapshot) -> None:
        self._taking = False
        if core.snapshot.index < snapshot.index:
            core.compacted(snapshot)
            self.disk.forget_below(core.first_index)

    # Snapshots on the wire

    def _snapshot_answered(self, core: Raft, reply: SnapshotReply) -> None:
        sending = self._sending.get(reply.source)
        if sending is None or sending[0].index != reply.index:
            return
        if reply.done:
            del self._sending[reply.source]
        elif reply.next_offset < SNAPSHOT_BYTES:
            self._send_chunk(core, reply.source, reply.next_offset)

    def _send_chunk(self, core: Raft, target: str, offset: int) -> None:
        snapshot, state = self._sending[target]
        data = b"%*d" % (SNAPSHOT_BYTES, state)
        end = min(offset + SNAPSHOT_BYTES // self._chunks, SNAPSHOT_BYTES)
        message = core.snapshot_chunk(
            target, snapshot, offset=offset, data=data[offset:end], done=end == SNAPSHOT_BYTES
        )
        if message is not None:
            self._send(message)

    def _store_chunk(self, core: Raft, chunk: InstallSnapshot) -> None:
        snapshot, have = self._arriving or (chunk.snapshot, b"")
        if snapshot != chunk.snapshot:
            have = b""
        was_complete = len(have) == SNAPSHOT_BYTES
        if chunk.offset == len(have):
            have += chunk.data
        self._arriving = chunk.snapshot, have
        self._queue(core.chunk_reply(chunk, next_offset=len(have)))
        if len(have) == SNAPSHOT_BYTES and not was_complete:
            self._later(self, partial(self._stored, chunk.snapshot, int(have)))

    def _stored(self, snapshot: Snapshot, state: int) -> None:
        if self._arriving is not None and self._arriving[0] == snapshot:
            self._arriving = None
        self.disk.store(snapshot, state)
        self._received[snapshot] = state
        if self.core is not None:
            self.core.installed(snapshot)

    def _install(self, snapshot: Snapshot) -> None:
        """After a crash in the midst of it, the machine was built from this snapshot already."""
        if snapshot.index > self.applied or snapshot in self._received:
            self.state = self._received.get(snapshot, self.disk.state)
            self.applied = snapshot.index
            self._invariants.reaches(self.name, snapshot.index, snapshot.term, self.state)
        self._received.clear()
