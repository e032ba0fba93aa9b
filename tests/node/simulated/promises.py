"""Whatever a server has said it must stand by, after a crash too (figure 2: "before responding to RPCs")."""

from __future__ import annotations

from typing import Protocol

from node.raft.core import Raft
from node.raft.messages import AppendReply, Configuration, HardState, Message, RequestVote, VoteReply
from tests.node.simulated.disk import Disk
from tests.node.simulated.violation import Violation


class Durable(Protocol):
    """Who has a disk."""

    disk: Disk
    founders: Configuration
    """Whom it was told at its first start; nobody if it joins."""


class Promises:
    """What one server after another has let out."""

    def __init__(self) -> None:
        self.votes: dict[tuple[str, int], str] = {}
        """(voter, term) -> candidate"""
        self.terms: dict[str, int] = {}
        """The newest term in which a server spoke."""

    def sent(self, message: Message, disk: Disk) -> None:
        """Checks *one vote a term*, *terms never fall* and *durable before said*."""
        if isinstance(message, RequestVote):
            if message.pre:
                return
            self._voted(message.source, message.term, message.source, disk)
        elif isinstance(message, VoteReply):
            if message.pre:
                return
            if message.granted:
                self._voted(message.source, message.term, message.target, disk)
        elif isinstance(message, AppendReply) and message.success:
            self._accepted(message, disk)
        self._spoke(message.source, message.term, disk)

    def _spoke(self, source: str, term: int, disk: Disk) -> None:
        before = self.terms.get(source, 0)
        if term == before:
            return
        if term < before:
            raise Violation(f"terms fall: {source} spoke in {before}, then in {term}")
        if disk.hard_state.term < term:
            raise Violation(f"durable before said: {source} speaks in {term}; its disk has {disk.hard_state}")
        self.terms[source] = term

    def _voted(self, voter: str, term: int, candidate: str, disk: Disk) -> None:
        before = self.votes.setdefault((voter, term), candidate)
        if before != candidate:
            raise Violation(f"one vote a term: in term {term} {voter} voted for {before} and for {candidate}")
        if disk.hard_state.term == term and disk.hard_state.vote != candidate:
            raise Violation(f"durable before said: {voter} votes for {candidate}; its disk has {disk.hard_state}")

    def _accepted(self, reply: AppendReply, disk: Disk) -> None:
        """Unless the disk knows of a newer term, whose leader may have cut, in the same turn, what was accepted."""
        end = max(disk.snapshot.index, disk.entries[-1].index if disk.entries else 0)
        if reply.match > end and reply.term == disk.hard_state.term:
            raise Violation(f"durable before said: {reply.source} accepts up to {reply.match}; its disk ends at {end}")

    def voters_for(self, candidate: str, term: int) -> set[str]:
        """Whose votes it was really given."""
        return {voter for (voter, in_term), chosen in self.votes.items() if in_term == term and chosen == candidate}

    def restarted(self, core: Raft, disk: HardState) -> None:
        """Checks that what was revealed before a crash is remembered after it."""
        if core.term < self.terms.get(core.name, 0):
            raise Violation(f"terms fall: {core.name} restarts in {core.term} from {disk}")
        vote = self.votes.get((core.name, core.term))
        if vote is not None and core.vote != vote:
            raise Violation(f"one vote a term: {core.name} restarts in {core.term} and forgot its vote for {vote}")
