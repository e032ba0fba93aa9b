"""What clients ask of a node, on its way into the next turn: into the log, to the reads that wait, or answered at once.

The part of :class:`node.shell.Shell` that the service calls, in between turns. What is refused here did not happen.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from node import kv_pb2
from node.durable.compression import pack
from node.durable.disk import Disk
from node.identity import host_of
from node.machine import Machine
from node.machine.locks import LeaderClock
from node.observing.facts import Facts
from node.operation_codec import mode_of, write_command
from node.raft.core import Raft
from node.raft.messages import Message, Role, Snapshot
from node.serving.administration import Administration
from node.serving.callers import PENDING_MAX, Answer, Callers, not_leader, read_reply
from node.serving.watch import Listener, Watches


class Reception:
    """Implements :class:`node.serving.service.Operations` over what the shell owns."""

    _core: Raft
    _machine: Machine
    _callers: Callers
    _administration: Administration
    _watches: Watches
    _leader_clock: LeaderClock
    _disk: Disk
    _clock: Callable[[], int]
    _inbox: list[Message]
    _applied: Snapshot
    _durable_index: int
    _compress_bytes: int
    _stopped: bool

    def _schedule(self) -> None:
        """Has a turn follow."""
        raise NotImplementedError

    def open_session(self, answer: Answer) -> None:
        """``answer`` is called once, at the end of this or a later turn."""
        self._write(kv_pb2.Command(open_session=kv_pb2.OpenSessionRequest()).SerializeToString(), answer)

    def execute(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        """The same for an operation, which must be valid (:func:`node.serving.requests.fault_of`)."""
        mode = mode_of(request)
        if mode is None:
            self._write(write_command(request, self._stamp_ms(request)), answer)
        elif mode == kv_pb2.LOCAL:
            answer(read_reply(request, self._machine, self._applied.index))
        elif mode == kv_pb2.LINEARIZABLE:
            self._read_through(request, answer)
        elif not self._refuse(answer) and not (mode == kv_pb2.LEASE and self._read_by_lease(request, answer)):
            self._callers.read(request, answer)
            self._schedule()

    def administer(self, request: kv_pb2.AdminRequest, answer: Answer) -> None:
        """An operator's call; the membership is told by any node, as of what it has applied."""
        if request.HasField("members"):
            answer(self._administration.members(self._core, self._applied.index))
        elif self._stopped:
            answer(kv_pb2.Reply(outcome=kv_pb2.STOPPING))
        else:
            self._administration.ask(request, answer)
            self._schedule()

    def watch(self, request: kv_pb2.WatchRequest, listener: Listener) -> None:
        """``listener`` gets what happens to keys, as this node applies it, until one of both ends it."""
        if self._stopped:
            listener(kv_pb2.Reply(outcome=kv_pb2.STOPPING))
        else:
            self._watches.watch(request, listener, self._applied.index, self._clock())
            self._schedule()

    def status(self, *, state_hash: bool) -> kv_pb2.StatusReply:
        """How this node sees itself."""
        core = self._core
        return kv_pb2.StatusReply(
            name=host_of(core.name),
            identity=core.name,
            role=core.role.value,
            term=core.term,
            leader=host_of(core.leader or ""),
            commit=core.commit,
            applied=self._applied.index,
            last_index=core.last_index,
            voters=[host_of(name) for name in core.voters],
            durable_index=self._durable_index,
            snapshot_index=core.snapshot.index,
            first_index=core.first_index,
            state_hash=self._machine.state_hash() if state_hash else "",
            wall_ns=time.time_ns(),
        )

    def facts(self) -> Facts:
        """What this node is like, for those who measure it."""
        queues = {
            "operations": self._callers.waiting,
            "disk": self._disk.queued,
            "inbox": len(self._inbox),
            "watches": len(self._watches),
        }
        matches = self._core.matches() if self._core.role is Role.LEADER else {}
        return Facts(status=self.status(state_hash=False), matches=matches, queues=queues)

    def _write(self, command: bytes, answer: Answer) -> None:
        if not self._refuse(answer):
            self._callers.write(pack(command, self._compress_bytes), answer)
            self._schedule()

    def _stamp_ms(self, request: kv_pb2.ExecuteRequest) -> int:
        """The time for a command that needs it; 0 for the others. It is proposed in the next turn, under the same
        leadership or not at all.
        """
        if not request.HasField("acquire"):
            return 0
        return self._leader_clock.stamp_ms(self._core.term, self._machine.now_ms, self._clock())

    def _read_through(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        if not self._refuse(answer, anywhere=self._core.leader is not None):
            self._callers.read_through(request, answer)
            self._schedule()

    def _read_by_lease(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> bool:
        """Serves a read at once while the lease lasts *now*; False: it must be asked for.

        The clock is read after the request arrived and before the value is: what happens between them and the reply,
        however long it takes, can't make the value older than the call.
        """
        index = self._core.lease_index(self._clock())
        if index is None:
            return False
        if self._callers.is_applied(index, self._applied.index):
            answer(read_reply(request, self._machine, self._applied.index))
        else:
            self._callers.read_at(index, self._core, request, answer)
        return True

    def _refuse(self, answer: Answer, *, anywhere: bool = False) -> bool:
        """Whether the operation was refused at once, with a reply that says that nothing happened. ``anywhere``: it
        needs no leader here.
        """
        if self._stopped:
            answer(kv_pb2.Reply(outcome=kv_pb2.STOPPING))
        elif self._core.role is not Role.LEADER and not anywhere:
            answer(not_leader(self._core.leader))
        elif self._callers.full:
            answer(kv_pb2.Reply(outcome=kv_pb2.BUSY, detail=f"{PENDING_MAX} operations are under way"))
        else:
            return False
        return True
