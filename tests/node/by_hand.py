"""Cores driven by hand: an instant disk, a network that a test empties as it likes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from node.raft.core import Raft, Timing
from node.raft.messages import (
    AppendEntries,
    AppendReply,
    Entry,
    EntryKind,
    HardState,
    Message,
    ReadState,
    Ready,
    Recovered,
    Role,
    Snapshot,
    VoteReply,
)
from node.raft.timing import MS

FOREVER_NS = 10**15


def log_of(terms: Sequence[int], *, first: int = 1) -> tuple[Entry, ...]:
    """A log whose entries have these terms; the data tell index and term, as log matching has it."""
    return tuple(
        Entry(index, term, EntryKind.COMMAND, f"{index}.{term}".encode()) for index, term in enumerate(terms, first)
    )


def terms_of(core: Raft) -> list[int]:
    """The terms of a core's entries, first to last."""
    return [core.term_at(index) or 0 for index in range(core.first_index, core.last_index + 1)]


class ByHand:
    """One core, and all that came out of it."""

    def __init__(
        self,
        name: str = "a",
        *,
        voters: Sequence[str] = ("a", "b", "c"),
        log: Sequence[int] = (),
        term: int = 0,
        vote: str | None = None,
        snapshot: Snapshot | None = None,
        timing: Timing | None = None,
        kind: type[Raft] = Raft,
        restarted: bool = False,
        started_ns: int = 0,
    ) -> None:
        """``restarted``: a moment ago, so that it must reckon with a leader that it has forgotten; else it has been up
        for a while without hearing from any."""
        snapshot = snapshot or Snapshot()
        entries = log_of(log, first=snapshot.index + 1)
        self.now_ns = started_ns
        self.sent: list[Message] = []
        self.applied: list[Entry] = []
        self.reads: dict[int, int | None] = {}
        self.readies: list[Ready] = []
        self.disk_is_stuck = False
        self.core = kind(
            name=name,
            voters=tuple(voters),
            recovered=Recovered(hard_state=HardState(term=term, vote=vote), snapshot=snapshot, entries=entries),
            timing=timing or Timing(),
            random=random.Random(name),
            now_ns=started_ns,
        )
        if not restarted:
            self.core.leader_contact_ns = -self.core.timing.election_ns_min

    def take(self) -> list[Message]:
        """Does the duties of all Readies; returns (and forgets) what was sent."""
        while self.core.has_ready():
            ready = self.core.ready()
            self.readies.append(ready)
            self.sent.extend(ready.messages_now)
            if not self.disk_is_stuck:
                self.core.persisted(self.core.last_index, self.core.term_at(self.core.last_index) or 0)
                self.sent.extend(ready.messages_after_persist)
            self.applied.extend(ready.committed)
            self.reads.update((read.token, read.index) for read in ready.reads if isinstance(read, ReadState))
        sent, self.sent = self.sent, []
        return sent

    def hear(self, *messages: Message) -> list[Message]:
        """Takes messages in; returns what it answers."""
        for message in messages:
            self.core.receive(message, self.now_ns)
        return self.take()

    def after(self, ms: float) -> list[Message]:
        """Lets time pass and one time-out fire, if it is due."""
        self.now_ns += int(ms * MS)
        self.core.tick(self.now_ns)
        return self.take()

    def time_out(self) -> list[Message]:
        """Jumps to the next deadline."""
        self.now_ns = max(self.now_ns, self.core.next_deadline_ns())
        self.core.tick(self.now_ns)
        return self.take()

    def propose(self, *commands: bytes) -> list[Message]:
        """A client's commands to a leader."""
        assert self.core.propose(list(commands)) is not None
        return self.take()

    def lead(self) -> list[Message]:
        """Becomes leader by the votes of all others; returns its first appends."""
        self.time_out()
        self._grant(pre=True)
        sent = self._grant(pre=False)
        assert self.core.role is Role.LEADER
        return sent

    def _grant(self, *, pre: bool) -> list[Message]:
        term = self.core.term + 1 if pre else self.core.term
        return self.hear(
            *(
                VoteReply(source=peer, target=self.core.name, term=term, granted=True, pre=pre)
                for peer in self.core.peers
            )
        )

    def acknowledged(self, by: str, match: int, *, read_round: int = 0) -> list[Message]:
        """A follower's success."""
        return self.hear(
            AppendReply(
                source=by, target=self.core.name, term=self.core.term, success=True, match=match, read_round=read_round
            )
        )

    def refused(self, by: str, at: int, *, index: int, term: int) -> list[Message]:
        """A follower's refusal of the entry before ``at + 1``, with its hint."""
        return self.hear(
            AppendReply(
                source=by,
                target=self.core.name,
                term=self.core.term,
                success=False,
                refused_index=at,
                conflict_index=index,
                conflict_term=term,
            )
        )


def append(
    to: str = "a",
    *,
    by: str = "b",
    term: int,
    prev: tuple[int, int] = (0, 0),
    terms: Sequence[int] = (),
    commit: int = 0,
    read_round: int = 0,
    patience_ns: int = 0,
) -> AppendEntries:
    """An AppendEntries with entries of these terms behind ``prev`` (index, term)."""
    return AppendEntries(
        source=by,
        target=to,
        term=term,
        prev_index=prev[0],
        prev_term=prev[1],
        entries=log_of(terms, first=prev[0] + 1),
        commit=commit,
        read_round=read_round,
        patience_ns=patience_ns,
    )


class Cluster:
    """Several cores on a network without delay; links in ``cut`` lose everything."""

    def __init__(self, members: Iterable[ByHand]) -> None:
        self.members = {member.core.name: member for member in members}
        self.cut: Callable[[Message], bool] = lambda message: False  # noqa: ARG005

    def deliver(self, messages: Iterable[Message], *, rounds_max: int = 1000) -> None:
        """Delivers these, and whatever they cause, until silence."""
        queue = list(messages)
        for _ in range(rounds_max):
            if not queue:
                return
            message = queue.pop(0)
            if not self.cut(message) and message.target in self.members:
                queue.extend(self.members[message.target].hear(message))
        raise AssertionError(f"no silence after {rounds_max} messages; next is {queue[0]}")

    def isolate(self, *names: str) -> None:
        """Cuts every link between these and the rest."""
        self.cut = lambda message: (message.source in names) != (message.target in names)

    def elect(self, name: str) -> None:
        """Lets a server's election time-out pass, others having lost their leader."""
        for member in self.members.values():
            member.now_ns += 5_000 * MS
            member.core.observe_time(member.now_ns)
        self.deliver(self.members[name].time_out())
