"""Who belongs to the cluster, as servers, disks and logs have it; and what a change of that must keep to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import combinations

from node.raft.core import Raft
from node.raft.membership import decode_configuration
from node.raft.messages import Configuration, Entry, EntryKind, Snapshot
from tests.node.simulated.violation import Violation


def is_majority(members: Collection[str], names: Collection[str]) -> bool:
    """More than half of ``members``; written anew, so that the core is not measured with its own yardstick."""
    return 2 * sum(member in names for member in members) > len(members)


def is_quorum(configuration: Configuration, names: Collection[str]) -> bool:
    """Section 6: a majority, and of both halves while they overlap."""
    return is_majority(configuration.voters, names) and (
        not configuration.outgoing or is_majority(configuration.outgoing, names)
    )


def can_part(one: Configuration, other: Configuration) -> bool:
    """Whether both could decide without having anyone in common."""
    everybody = {*one.electorate, *other.electorate}
    return any(
        is_quorum(one, side) and is_quorum(other, everybody.difference(side))
        for size in range(1, len(everybody) + 1)
        for side in combinations(sorted(everybody), size)
    )


def configuration_in(entries: Iterable[Entry], snapshot: Snapshot, founders: Configuration) -> Configuration:
    """The last one of a log: of its entries, else of its snapshot, else the one that the cluster was founded with."""
    found = snapshot.configuration if snapshot.voters else founders
    for entry in entries:
        if entry.kind is EntryKind.CONFIG and entry.index > snapshot.index:
            found = decode_configuration(entry.data)
    return found


class ConfigurationBook:
    """Every configuration that was ever committed."""

    def __init__(self, founders: tuple[str, ...]) -> None:
        self.committed: dict[int, Configuration] = {0: Configuration(voters=founders)}
        """By the index of its entry."""

    @property
    def latest(self) -> Configuration:
        """The last that was committed."""
        return self.committed[max(self.committed)]

    def as_of(self, index: int) -> Configuration:
        """What was in force at a committed entry."""
        return self.committed[max(since for since in self.committed if since <= index)]

    def in_force(self, core: Raft, founders: Configuration) -> None:
        """Checks that a server goes by the last configuration of its log, committed or not (section 6)."""
        entries = (core.entry(index) for index in range(core.first_index, core.last_index + 1))
        expected = configuration_in(filter(None, entries), core.snapshot, founders)
        if core.configuration != expected:
            raise Violation(f"configuration: {core.name} goes by {core.configuration}, but its log says {expected}")

    def proposed(self, core: Raft, entry: Entry, founders: Configuration) -> None:
        """Checks what a leader puts after the configuration before: their quorums must have somebody in common."""
        entries = (core.entry(index) for index in range(core.first_index, entry.index))
        before, after = (
            configuration_in(filter(None, entries), core.snapshot, founders),
            decode_configuration(entry.data),
        )
        if can_part(before, after):
            raise Violation(f"disjoint quorums: {core.name} changes {before} to {after}")

    def applied(self, entry: Entry) -> None:
        """A committed entry that may change it."""
        if entry.kind is EntryKind.CONFIG:
            self.committed[entry.index] = decode_configuration(entry.data)

    def snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Checks that a snapshot tells the configuration as of its last entry; or none, if it ends before the first
        entry that would have told it to a server that joined.
        """
        if snapshot.voters and snapshot.configuration != self.as_of(snapshot.index):
            raise Violation(
                f"configuration: {name} takes a snapshot up to {snapshot.index} with {snapshot.configuration}; "
                f"there it was {self.as_of(snapshot.index)}"
            )
