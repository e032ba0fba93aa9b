"""The shell around the core: one node's event loop, in turns. What arrived since the last turn goes into the core; what
the core says is done.

A turn is one synchronous function (:meth:`Shell._turn`), so nothing can interleave with it: feed the core, carry out
its Readies, then let things out in this order: trace, messages, disk work, replies. The trace goes first because it
must tell of an event before anybody can hear of it. Everything that arrives during a turn, or while a sync is under
way, is one batch of the next: one proposal, one AppendEntries per follower, one frame of the log.

Duties of :class:`node.raft.messages.Ready` and where they are done: 1 (send now) and 5 (apply) in the turn itself; 2
(persist) is queued on :class:`node.durable.disk.Disk`, which reports back in order, and then 3 and 4 follow in a later
turn. Applying does not wait for this node's own sync: what is committed is durable on a majority, and the state machine
is rebuilt from the log anyway.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.durable.disk import Disk
from node.durable.entries import size_of
from node.durable.snapshotting import Snapshotting
from node.durable.storage import Change, Storage
from node.identity import host_of
from node.machine import Machine, Result, ResultKind
from node.machine.locks import LeaderClock
from node.network.transport import Transport
from node.observing.trace import Trace
from node.raft.core import NOTHING, Raft
from node.raft.messages import Entry, EntryKind, Message, Ready, Role, Snapshot, SnapshotReply, TimeoutNow, VoteReply
from node.serving.administration import Administration
from node.serving.callers import Callers
from node.serving.reception import Reception
from node.serving.watch import History, Watches

_NOTHING = Result(ResultKind.OK)
_log = logging.getLogger("node")


@dataclass(frozen=True, slots=True)
class _Synced:
    """A Ready whose work on the disk is done: duties 3 and 4 are left."""

    change: Change | None
    messages: Sequence[Message]


class Shell(Reception):
    """One running node. ``failed`` is called, once, with the error after which the node must end; it then says and does
    nothing more.
    """

    def __init__(
        self,
        *,
        core: Raft,
        machine: Machine,
        storage: Storage,
        trace: Trace,
        transport_of: Callable[[Callable[[Message], None]], Transport],
        snapshot_entries: int,
        compress_bytes: int = 0,
        failed: Callable[[BaseException], None],
        callers: Callers | None = None,
        snapshotting_of: type[Snapshotting] = Snapshotting,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Must be called in a running loop, with a machine that holds the state of the core's snapshot."""
        self._core = core
        self._machine = machine
        self._trace = trace
        self._report = failed
        self._compress_bytes = compress_bytes
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._transport = transport_of(self.receive)
        self._storage = storage
        self._disk = Disk(storage, self._loop, self._disk_failed)
        self._callers = callers or Callers()
        self._administration = Administration(recovered=core.configuration_index)
        self._leader_clock = LeaderClock()
        self._watches = Watches(History(core.snapshot.index + 1))
        self._snapshotting = snapshotting_of(
            core=core,
            machine=machine,
            storage=storage,
            disk=self._disk,
            trace=trace,
            entries=snapshot_entries,
            send=self._transport.send,
            promise=lambda message: self._promise((message,)),
            turn=self._schedule,
            failed=self._snapshots_failed,
        )
        self._inbox: list[Message] = []
        self._synced: list[_Synced] = []
        self._scheduled = False
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._applied = core.snapshot
        self._asked = self._durable = storage.recovered.hard_state
        """The hard state that the core asked for last, and the one that is synced."""
        self._durable_index = core.last_index

    # Life

    async def start(self) -> None:
        """Tells the trace what was recovered, listens to peers, takes the first turn. Raises OSError if the address
        can't be used.
        """
        core = self._core
        self._trace.start(
            identity=core.name,
            term=core.term,
            vote=core.vote,
            last=(core.last_index, core.term_at(core.last_index) or 0),
            snapshot=core.snapshot,
            voters=core.configurations[0][1].voters,
        )
        for index, configuration in core.configurations:
            self._trace.config(index, configuration)
        self._trace.durable(self._durable.term, self._durable.vote, self._durable_index)
        self._trace.flush()
        await self._transport.start()
        self._schedule()

    async def stop(self) -> None:
        """Answers what waits and ends all threads. Nothing is saved: a clean stop is a crash with better manners."""
        if not self._stopped:
            self._stopped = True
            self._trace.flush()
            self._take_leave()
        if self._timer is not None:
            self._timer.cancel()
        await self._transport.close()
        await self._disk.close()
        await self._snapshotting.close()

    # What arrives

    def receive(self, message: Message) -> None:
        """A message from a peer."""
        self._inbox.append(message)
        self._schedule()

    def tell_lag(self, max_ms: float) -> None:
        """Puts the event loop's worst lag of the last second into the trace; a leader's match indexes too, because once
        a second costs nothing and a line for every answer would.
        """
        self._trace.lag(max_ms)
        if self._core.role is Role.LEADER:
            self._trace.match(self._core.term, self._core.matches())
        self._schedule()

    def rate(self, health: int) -> None:
        """How healthy this node is (:mod:`node.observing.health`), as followers tell their leader."""
        self._core.rate(health)

    # The turn

    def _schedule(self) -> None:
        if not self._scheduled and not self._stopped:
            self._scheduled = True
            self._loop.call_soon(self._guarded_turn)

    def _guarded_turn(self) -> None:
        """The edge of the node's own code: whatever goes wrong in a turn ends the node, because the rest of the turn
        was not done.
        """
        self._scheduled = False
        if self._stopped:
            return
        try:
            self._turn()
        except Exception as error:  # noqa: BLE001  # reported, and the process ends
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._stopped:
            self._stopped = True
            self._report(error)

    def _disk_failed(self, error: BaseException) -> None:
        """The end: nobody knows what is on a disk that refused something, and followers may already have entries that
        this node has not. To try again would be worse: after a failed sync the kernel may call the next one a success
        though the data is gone. What is durable, the next start finds out from the log.
        """
        if not self._stopped:
            self._stopped = True
            self._take_leave()
            self._report(error)

    def _snapshots_failed(self, error: BaseException) -> None:
        """A disk that refuses a snapshot will not take the log for long."""
        if isinstance(error, OSError):
            self._disk_failed(error)
        else:
            self._fail(error)

    def _take_leave(self) -> None:
        """Last words, between two turns. None of them promises anything, so none needs a disk: a leader has the voter
        that knows most stand for election, instead of leaving all to wait for their time-outs (thesis 3.10); callers
        are told what did not happen and what is in doubt.
        """
        successor = self._core.best_successor() if self._core.role is Role.LEADER else None
        if successor is not None:
            _log.info("handing over to %s", host_of(successor))
            self._transport.send(TimeoutNow(source=self._core.name, target=successor, term=self._core.term))
            self._transport.flush()
        self._callers.stop()
        self._watches.stop()
        self._administration.stop()
        self._callers.let_replies_go()

    def _turn(self) -> None:
        now_ns = self._clock()
        self._feed_synced()
        self._feed_messages(now_ns)
        self._callers.feed(self._core, now_ns)
        self._administration.feed(self._core)
        self._core.tick(now_ns)
        while (ready := self._core.ready()) is not NOTHING:
            self._obey(ready)
        self._administration.standing(self._core)
        if self._callers.acknowledged:
            self._trace.ack(self._callers.acknowledged, self._core.term)
            self._callers.acknowledged = 0
        self._trace.flush()
        self._transport.flush()
        self._disk.flush()
        self._callers.let_replies_go()
        self._watches.flush(self._applied.index, now_ns)
        self._arm_timer(now_ns)

    def _feed_synced(self) -> None:
        """Duties 3 and 4 of the Readies whose sync is done."""
        synced, self._synced = self._synced, []
        for one in synced:
            if one.change is not None:
                self._note_durable(one.change)
            self._send(one.messages)
        if any(one.change is not None for one in synced):
            self._trace.durable(self._durable.term, self._durable.vote, self._durable_index)

    def _note_durable(self, change: Change) -> None:
        self._durable = change.hard_state or self._durable
        if change.truncate_from is not None:
            self._durable_index = min(self._durable_index, change.truncate_from - 1)
        if change.install is not None:
            self._durable_index = max(self._durable_index, change.install.index)
        if change.entries:
            last = change.entries[-1]
            self._durable_index = last.index
            self._core.persisted(last.index, last.term)

    def _feed_messages(self, now_ns: int) -> None:
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            self._core.receive(message, now_ns)
            if isinstance(message, SnapshotReply):
                self._snapshotting.replied(message)

    def _arm_timer(self, now_ns: int) -> None:
        """Wakes up for the core's next deadline. A timer for a deadline that has moved on stays: it costs one empty
        turn.
        """
        deadline_ns = self._core.next_deadline_ns()
        if self._timer is not None:
            if self._timer_ns <= deadline_ns:
                return
            self._timer.cancel()
        self._timer_ns = deadline_ns
        self._timer = self._loop.call_later(max(deadline_ns - now_ns, 0) / 1e9, self._wake)

    def _wake(self) -> None:
        """The timer is spent, even if it fired a little early (the loop counts in milliseconds): the turn arms
        another.
        """
        self._timer = None
        self._schedule()

    # Carrying out a Ready

    def _obey(self, ready: Ready) -> None:
        self._tell(ready)
        self._send(ready.messages_now)
        self._persist(ready)
        if ready.install is not None:
            self._install(ready.install)
        if ready.committed:
            self._apply(ready.committed)
        for state in ready.reads:
            self._callers.confirmed(state, self._core)
        self._callers.serve_reads(self._applied.index, self._machine)
        if ready.role is not None:
            self._callers.leadership(self._core.term if self._core.role is Role.LEADER else None)
        for follower in ready.snapshots_wanted:
            self._snapshotting.send_to(follower)
        for chunk in ready.chunks:
            self._snapshotting.arrived(chunk)

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._transport.send(message)

    def _tell(self, ready: Ready) -> None:
        """The trace and the log of what the core decided."""
        trace, state, asked = self._trace, ready.hard_state, self._asked
        if state is not None:
            for term, candidate in _votes_in(ready):  # given in terms that were passed by within the turn
                if asked.term <= term < state.term and (term, candidate) != (asked.term, asked.vote):
                    trace.vote(term, candidate)
            if state.term != asked.term:
                trace.term(state.term)
            if state.vote is not None and state != asked:
                trace.vote(state.term, state.vote)
            self._asked = state
        if ready.role is not None:
            trace.role(ready.role, self._core.term, ready.leader)
            _log.info("%s in term %d, leader %s", ready.role.value, self._core.term, ready.leader or "unknown")
        if ready.truncate_from is not None:
            trace.truncate(ready.truncate_from)
        if ready.entries:
            trace.append(ready.entries)
        self._tell_commits(ready)

    def _tell_commits(self, ready: Ready) -> None:
        """In the order in which they came: a leader counts by the configuration that is in force just then."""
        told: int | None = None
        for index, configuration, commit in () if ready.install else ready.configurations:  # behind one, they follow it
            if commit is not None and commit != told:
                self._trace.commit(commit, self._core.term)
                told = commit
            self._trace.config(index, configuration)
        if ready.commit is not None and ready.commit != told:
            self._trace.commit(ready.commit, self._core.term)

    def _persist(self, ready: Ready) -> None:
        """Duty 2. What promises nothing new still waits for the promises before it."""
        change = Change.of(ready)
        if change != _NO_CHANGE:
            self._disk.persist(change, lambda: self._after_sync(_Synced(change, ready.messages_after_persist)))
        else:
            self._promise(ready.messages_after_persist)

    def _promise(self, messages: Sequence[Message]) -> None:
        """Duty 3 for messages without work of their own: they leave once all that was asked for before is durable."""
        if self._disk.idle and not self._synced:
            self._send(messages)
        elif messages:
            self._disk.persist(None, lambda: self._after_sync(_Synced(None, messages)))

    def _after_sync(self, synced: _Synced) -> None:
        self._synced.append(synced)
        self._schedule()

    def _install(self, snapshot: Snapshot) -> None:
        """Duty 5, first half. After a crash in the midst of it, the machine was built from this snapshot already."""
        if snapshot.index > self._applied.index:
            self._snapshotting.install(snapshot)
            self._watches.reset(snapshot.index)
            self._applied = snapshot

    def _apply(self, entries: Sequence[Entry]) -> None:
        """Duty 5: through the state machine, and back to those who wait."""
        results = [(entry, self._apply_one(entry)) for entry in entries]
        self._trace.apply(results)
        if self._callers.await_entries:
            for entry, result in results:
                self._callers.applied(entry, result)
        if self._administration.await_entries:
            for entry in entries:
                self._administration.applied(entry, self._core)
        self._applied = Snapshot(index=entries[-1].index, term=entries[-1].term)
        self._snapshotting.take_if_due(self._applied, size_of(entries))

    def _apply_one(self, entry: Entry) -> Result:
        if entry.kind is not EntryKind.COMMAND:
            return _NOTHING
        result = self._machine.apply(entry.index, entry.data)
        if events := self._machine.events:
            self._watches.applied(events)
        return result


_NO_CHANGE = Change()


def _votes_in(ready: Ready) -> list[tuple[int, str]]:
    """The votes that a Ready tells others of: (term, candidate)."""
    replies = [message for message in ready.messages_after_persist if isinstance(message, VoteReply)]
    return [(reply.term, reply.target) for reply in replies if reply.granted and not reply.pre]
