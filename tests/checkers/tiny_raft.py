"""A tiny Raft that is correct by construction and leaves traces: the source of histories that no invariant may refuse.

Nodes live in one Python process and every step is a whole exchange of messages, so nothing here is a protocol: only its
effects on terms, votes, logs and disks. The disk is a list of operations since the last sync, of which a kill keeps a
random prefix; the clock ticks once a line. Lines since the last message may be lost with it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from checkers.raft.traces import Trace, parse_trace


def digest(*parts: object) -> str:
    """16 hex digits, as traces tell hashes."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


@dataclass
class Disk:
    """What is synced, and what would survive if the kill is kind."""

    term: int = 0
    vote: str | None = None
    snapshot: tuple[int, int, str] = (0, 0, "")
    log: list[tuple[int, int, str]] = field(default_factory=list)  # entries behind the snapshot
    unsynced: list[tuple[Any, ...]] = field(default_factory=list)

    def perform(self, count: int, *, rest_survives: bool = False) -> None:
        for kind, *values in self.unsynced[:count]:
            if kind == "hard":
                self.term, self.vote = values
            elif kind == "append":
                self.log.append(values[0])
            elif kind == "truncate":
                self.log = [entry for entry in self.log if entry[0] < values[0]]
            else:
                self.snapshot, keep = values
                self.log = [entry for entry in self.log if entry[0] > self.snapshot[0]] if keep else []
        del self.unsynced[: count if rest_survives else None]


class Node:
    """One server: volatile state, disk, and the lines of its trace."""

    def __init__(self, name: str, cluster: Cluster) -> None:
        self.name, self.cluster, self.disk, self.lines, self.flushed = name, cluster, Disk(), [], 0
        self.start()

    def trace(self, event: str, **fields: Any) -> None:
        self.cluster.clock += 1000
        stamp = {"time": self.cluster.clock, "wall": 10**18 + self.cluster.clock, "node": self.name}
        self.lines.append(json.dumps({**stamp, "event": event, **fields}) + "\n")

    def flush(self) -> None:
        """A message leaves: what was traced so far is in the file."""
        self.flushed = len(self.lines)

    def start(self) -> None:
        disk = self.disk
        self.alive, self.role, self.leader = True, "follower", None
        self.term, self.vote, self.log, self.snapshot = disk.term, disk.vote, list(disk.log), disk.snapshot
        self.commit = self.applied = self.snapshot[0]
        self.state = self.snapshot[2]
        self.match: dict[str, int] = {}
        self.trace(
            "start",
            term=self.term,
            vote=self.vote,
            last_index=self.last,
            last_term=self.term_at(self.last),
            snapshot_index=self.snapshot[0],
            snapshot_term=self.snapshot[1],
            voters=list(self.cluster.names),
        )
        if self.cluster.random.random() < 0.5:
            self.trace("config", index=self.snapshot[0], voters=list(self.cluster.names))

    @property
    def last(self) -> int:
        return self.log[-1][0] if self.log else self.snapshot[0]

    def term_at(self, index: int) -> int:
        return self.snapshot[1] if index == self.snapshot[0] else self.log[index - self.snapshot[0] - 1][1]

    def entries(self, first: int, count: int) -> list[tuple[int, int, str]]:
        place = first - self.snapshot[0] - 1
        return self.log[place : place + count]

    def turn(self, role: str, leader: str | None = None) -> None:
        if (role, leader) != (self.role, self.leader) or role == "candidate":
            self.role, self.leader = role, leader
            self.trace("role", role=role, term=self.term, leader=leader)

    def meet_term(self, term: int) -> None:
        if term > self.term:
            self.term, self.vote = term, None
            self.disk.unsynced.append(("hard", self.term, self.vote))
            self.trace("term", term=term)
            self.turn("follower")

    def give_vote(self, candidate: str) -> None:
        self.vote = candidate
        self.disk.unsynced.append(("hard", self.term, self.vote))
        self.trace("vote", term=self.term, **{"for": candidate})

    def append(self, entries: list[tuple[int, int, str]]) -> None:
        self.log.extend(entries)
        self.disk.unsynced.extend(("append", entry) for entry in entries)
        self.trace("append", entries=entries)

    def truncate(self, index: int) -> None:
        self.log = [entry for entry in self.log if entry[0] < index]
        self.disk.unsynced.append(("truncate", index))
        self.trace("truncate", **{"from": index})

    def sync(self) -> None:
        self.disk.perform(len(self.disk.unsynced))
        self.trace("durable", term=self.term, vote=self.vote, index=self.last)
        self.match[self.name] = self.last

    def commit_to(self, index: int) -> None:
        if index > self.commit:
            self.commit = index
            self.trace("commit", index=index, term=self.term)

    def apply(self) -> None:
        applied = []
        for index, term, command in self.entries(self.applied + 1, self.commit - self.applied):
            self.state = digest(self.state, command)
            applied.append((index, term, command, digest("result", self.state)))
        if applied:
            self.applied = self.commit
            self.trace("apply", entries=applied)

    def take_snapshot(self) -> None:
        if self.applied > self.snapshot[0] and not self.disk.unsynced:
            taken = (self.applied, self.term_at(self.applied), self.state)
            self.log = [entry for entry in self.log if entry[0] > self.applied]
            self.snapshot = taken
            self.disk.unsynced.append(("snapshot", taken, True))
            self.disk.perform(1)
            self.trace("snapshot", action="taken", index=taken[0], term=taken[1], hash=taken[2])

    def install(self, snapshot: tuple[int, int, str]) -> None:
        keep = snapshot[0] <= self.last and snapshot[0] > self.snapshot[0] and self.term_at(snapshot[0]) == snapshot[1]
        self.log = [entry for entry in self.log if entry[0] > snapshot[0]] if keep else []
        self.disk.unsynced.append(("snapshot", snapshot, keep))
        if not keep and self.cluster.random.random() < 0.5:  # some systems tell the cut and the commit first
            self.trace("truncate", **{"from": snapshot[0] + 1})
            self.trace("commit", index=snapshot[0], term=self.term)
        self.snapshot, self.state = snapshot, snapshot[2]
        self.commit = self.applied = snapshot[0]
        self.trace("snapshot", action="installed", index=snapshot[0], term=snapshot[1], hash=snapshot[2])


class Cluster:
    """The nodes and what can happen to them; every choice is the random stream's."""

    def __init__(self, seed: int, size: int = 3, *, tears: bool = True) -> None:
        self.tears = tears
        self.random, self.clock, self.commands = Random(seed), 10**12, 0
        self.names = [f"n{number}" for number in range(1, size + 1)]
        self.nodes = {name: Node(name, self) for name in self.names}

    def run(self, steps: int) -> Cluster:
        weights = {
            **{self.election: 3, self.propose: 12, self.replicate: 24, self.advance: 10, self.sync: 5},
            **{self.kill: 2, self.restart: 4, self.snapshot: 2},
        }
        for action in self.random.choices(list(weights), list(weights.values()), k=steps):
            action()
        return self

    def traces(self) -> dict[str, Trace]:
        return {
            name: parse_trace("".join(node.lines).encode(), name=name, node=name) for name, node in self.nodes.items()
        }

    def living(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.alive]

    def leaders(self) -> list[Node]:
        return [node for node in self.living() if node.role == "leader"]

    def majority(self, count: int) -> bool:
        return 2 * count > len(self.names)

    def election(self) -> None:
        candidates = self.living()
        if not candidates:
            return
        candidate = self.random.choice(candidates)
        candidate.term += 1
        candidate.trace("term", term=candidate.term)
        candidate.turn("candidate")
        candidate.give_vote(candidate.name)
        candidate.sync()
        candidate.flush()
        votes = 1 + sum(self.ask(voter, candidate) for voter in self.random.sample(candidates, len(candidates)))
        if self.majority(votes) and candidate.role == "candidate":
            candidate.turn("leader", candidate.name)
            candidate.match = {candidate.name: candidate.last}
            candidate.append([(candidate.last + 1, candidate.term, digest("noop", candidate.term))])

    def ask(self, voter: Node, candidate: Node) -> bool:
        if voter is candidate or self.random.random() < 0.2:
            return False
        voter.meet_term(candidate.term)
        newer = (candidate.term_at(candidate.last), candidate.last) >= (voter.term_at(voter.last), voter.last)
        if voter.term > candidate.term or voter.vote not in (None, candidate.name) or not newer:
            candidate.meet_term(voter.term)
            return False
        voter.give_vote(candidate.name)
        if self.random.random() < 0.1:
            self.die(voter)  # after the line, before the sync: nobody hears of this vote
            return False
        voter.sync()
        voter.flush()
        return True

    def propose(self) -> None:
        for leader in self.leaders():
            if self.random.random() < 0.8:
                new = []
                for place in range(self.random.randint(1, 3)):
                    self.commands += 1
                    new.append((leader.last + 1 + place, leader.term, digest("command", self.commands)))
                leader.append(new)

    def sync(self) -> None:
        for node in self.leaders():
            node.sync()

    def replicate(self) -> None:
        for leader in self.leaders():
            others = [node for node in self.living() if node is not leader]
            for follower in self.random.sample(others, self.random.randint(0, len(others))):
                if leader.role == "leader":
                    self.send(leader, follower)

    def send(self, leader: Node, follower: Node) -> None:
        leader.flush()
        leader.meet_term(follower.term)
        if leader.role != "leader":
            leader.sync()
            return
        follower.meet_term(leader.term)
        follower.turn("follower", leader.name)
        start = max(leader.snapshot[0], follower.snapshot[0])
        if follower.commit < leader.snapshot[0] and (self.lags(leader, follower) or self.random.random() < 0.05):
            follower.install(leader.snapshot)
            match = leader.snapshot[0]
        else:
            while start < min(leader.last, follower.last) and self.same(leader, follower, start + 1):
                start += 1
            match = self.overwrite(leader, follower, start)
        if self.random.random() < 0.05:
            self.die(follower)
            return
        follower.sync()
        if self.random.random() < 0.05:
            self.die(follower)  # on disk, but neither traced nor answered
            return
        follower.flush()
        leader.match[follower.name] = max(match, leader.match.get(follower.name, 0))
        if self.random.random() < 0.2:
            known = {name: index for name, index in leader.match.items() if name != leader.name}
            leader.trace("match", term=leader.term, match=known)
        follower.commit_to(min(leader.commit, match))
        if self.random.random() < 0.9:
            follower.apply()

    def same(self, leader: Node, follower: Node, index: int) -> bool:
        return leader.term_at(index) == follower.term_at(index)

    def lags(self, leader: Node, follower: Node) -> bool:
        return follower.last < leader.snapshot[0] or not self.same(leader, follower, leader.snapshot[0])

    def overwrite(self, leader: Node, follower: Node, start: int) -> int:
        told = (len(follower.disk.unsynced), follower.vote, follower.last, follower.term)
        entries = leader.entries(start + 1, self.random.randint(1, 4))
        if entries and start < follower.last:
            follower.truncate(start + 1)
        if entries:
            follower.append(entries)
        self.tell_late(follower, told)
        return start + len(entries)

    def tell_late(self, node: Node, told: tuple[int, int | str | None, int, int]) -> None:
        """Sometimes the sync of what was there before reports only now: its line speaks of a log that has been cut."""
        unsynced, vote, index, term = told
        if self.random.random() < 0.3:
            node.disk.perform(unsynced, rest_survives=True)
            node.trace("durable", term=term, vote=vote, index=index)

    def advance(self) -> None:
        for leader in self.leaders():
            matches = sorted((leader.match.get(name, 0) for name in self.names), reverse=True)
            index = matches[len(self.names) // 2]
            if index > leader.commit and leader.term_at(index) == leader.term:
                leader.commit_to(index)
                first = leader.applied + 1
                leader.apply()
                for acknowledged in range(first, leader.applied + 1):
                    if leader.term_at(acknowledged) == leader.term and self.random.random() < 0.8:
                        leader.trace("ack", index=acknowledged, term=leader.term)
                leader.flush()

    def kill(self) -> None:
        living = self.living()
        if living:
            self.die(self.random.choice(living))

    def die(self, node: Node) -> None:
        """A kill at any place: unsynced operations survive up to a random one, and the last line may be torn."""
        node.disk.perform(self.random.randint(0, len(node.disk.unsynced)))
        node.alive = False
        del node.lines[self.random.randint(min(node.flushed, len(node.lines)), len(node.lines)) :]
        if self.tears and node.lines and node.lines[-1].endswith("}\n") and self.random.random() < 0.3:
            torn = node.lines[-1]
            node.lines.append(torn[: self.random.randint(1, len(torn) - 3)])

    def restart(self) -> None:
        for node in self.nodes.values():
            if not node.alive and self.random.random() < 0.7:
                if node.lines and not node.lines[-1].endswith("\n") and self.random.random() < 0.5:
                    node.lines.append("\n")  # some systems end a torn line before they begin theirs
                node.start()

    def snapshot(self) -> None:
        for node in self.living():
            if self.random.random() < 0.3:
                node.take_snapshot()
