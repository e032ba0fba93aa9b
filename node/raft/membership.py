"""Who belongs to the cluster, and what a quorum is: section 6 of the paper, chapter 4 of the thesis.

A configuration is in force from the moment its entry stands in the log, committed or not, and is rolled back when that
entry is cut. So the configurations of a log are a history of their own: its first is the snapshot's (or the one that
the cluster was founded with), the others are the log's CONFIG entries, the last is in force. Every quorum of every
layer (votes, commit, read rounds, CheckQuorum) is counted here. While a configuration is joint, that takes a majority
of both sets.

Whom a server talks to never depends on its own configuration: it answers whoever asks (thesis 4.1), for it may be the
one that lags. Whose answer *counts* does.

Names are identities (:mod:`node.identity`): a server that was removed, emptied and joins again is somebody else.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence

from google.protobuf.message import DecodeError

from node import log_pb2
from node.raft.messages import Adoption, Configuration, Entry, EntryKind, Recovered, Snapshot
from node.raft.server import Server
from node.raft.timing import Timing


def encode_configuration(configuration: Configuration) -> bytes:
    """The data of a CONFIG entry."""
    return log_pb2.Configuration(
        voters=configuration.voters, outgoing=configuration.outgoing, learners=configuration.learners
    ).SerializeToString(deterministic=True)


def decode_configuration(data: bytes) -> Configuration:
    """The inverse. Raises :class:`ValueError`: such an entry never was in a log."""
    try:
        proto = log_pb2.Configuration.FromString(data)
    except DecodeError as error:
        raise ValueError(f"not a configuration: {error}") from None
    return Configuration(voters=tuple(proto.voters), outgoing=tuple(proto.outgoing), learners=tuple(proto.learners))


class Membership(Server):
    """The configurations of this server's log."""

    def __init__(
        self,
        *,
        name: str,
        voters: tuple[str, ...],
        recovered: Recovered,
        timing: Timing,
        random: random.Random,
        now_ns: int,
    ) -> None:
        """``voters``: those that the cluster was founded with; nobody if this server joins one."""
        founded = Configuration(voters=voters)
        first = recovered.snapshot.configuration if recovered.snapshot.voters else founded
        self.configurations: list[tuple[int, Configuration]] = [(recovered.snapshot.index, first)]
        """(index, configuration) from the snapshot's on, ascending; the last one is in force."""
        super().__init__(name=name, recovered=recovered, timing=timing, random=random, now_ns=now_ns)
        self._note_configurations(self.log.slice(self.snapshot.index + 1, self.log.last_index))
        self.outbox.configurations.clear()

    # In force

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self.configurations[-1][1]

    @property
    def configuration_index(self) -> int:
        """The index of its entry (or of the snapshot that it comes from)."""
        return self.configurations[-1][0]

    @property
    def voters(self) -> tuple[str, ...]:
        """The voters in force; of a joint configuration the new ones."""
        return self.configuration.voters

    @property
    def peers(self) -> list[str]:
        """The other voters, of a joint configuration those of both sets."""
        return [name for name in self.configuration.electorate if name != self.name]

    @property
    def others(self) -> list[str]:
        """Everybody else who is sent the log: voters and learners."""
        return [name for name in self.configuration.members if name != self.name]

    def configuration_at(self, index: int) -> Configuration:
        """The one as of the entry at ``index``: what a snapshot up to there must hold."""
        return next(one for since, one in reversed(self.configurations) if since <= index or since == self._oldest)

    @property
    def _oldest(self) -> int:
        return self.configurations[0][0]

    # Quorums

    def quorum_size(self, voters: Sequence[str]) -> int:
        """How many of these voters make a majority."""
        return len(voters) // 2 + 1

    def is_quorum(self, names: Collection[str]) -> bool:
        """Whether these servers (voters or not, each counted once) contain a majority of each set of voters."""
        return all(
            sum(1 for voter in voters if voter in names) >= self.quorum_size(voters)
            for voters in self.configuration.sets
        )

    def hears_majority(self, heard: Collection[str]) -> bool:
        """Whether a leader that heard these followers, and itself, may take itself for the leader still.

        The one place that ReadIndex (thesis 6.4) and stepping down (thesis 6.2) rest on.
        """
        return self.is_quorum({self.name, *heard})

    # The log, whose CONFIG entries are all that changes a configuration

    def extend_log(self, entries: Sequence[Entry]) -> None:
        """Appends to the log; a configuration among the entries is in force at once (section 6)."""
        self.log.extend(entries)
        self._note_configurations(entries)

    def truncate_log(self, index: int) -> None:
        """Cuts the log from ``index`` on, and with it the configurations that stood there."""
        self.log.truncate(index)
        self.roll_back(index)

    def roll_back(self, index: int) -> None:
        """The entries from ``index`` on are gone: the configuration in force is the last that stands before them."""
        if self.configuration_index >= index and len(self.configurations) > 1:
            self.configurations = [one for one in self.configurations if one[0] < index] or self.configurations[:1]
            self.configuration_changes()

    def adopt_configurations_of(self, snapshot: Snapshot) -> None:
        """A received snapshot stands for all entries up to its index. Configurations behind it stay if their entries
        did.
        """
        kept = [one for one in self.configurations if snapshot.index < one[0] <= self.log.last_index]
        first = snapshot.configuration if snapshot.voters else self.configuration_at(snapshot.index)
        self.configurations = [(snapshot.index, first), *kept]
        self.outbox.configurations.clear()

    def forget_configurations_below(self, index: int) -> None:
        """A snapshot up to ``index`` was taken: nobody asks for older ones."""
        self.configurations = [(index, self.configuration_at(index))] + [
            one for one in self.configurations if one[0] > index
        ]

    def _note_configurations(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.kind is EntryKind.CONFIG:
                self.configurations.append((entry.index, decode_configuration(entry.data)))
                self.configuration_changes()

    def configuration_changes(self) -> None:
        """Called whenever another configuration has come into force."""
        commit = self.commit if self.commit != self._commit_told else None
        self.outbox.configurations.append(Adoption(*self.configurations[-1], commit))
