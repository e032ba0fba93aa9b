"""Who belongs to the cluster, as servers, disks and logs have it."""

from __future__ import annotations

from collections.abc import Collection

from node.messages import Configuration


def is_majority(members: Collection[str], names: Collection[str]) -> bool:
    """More than half of ``members``; written anew, so that the core is not measured with its own yardstick."""
    return 2 * sum(member in names for member in members) > len(members)


def is_quorum(configuration: Configuration, names: Collection[str]) -> bool:
    """Section 6: a majority, and of both halves while they overlap."""
    return all(is_majority(voters, names) for voters in (configuration.voters, configuration.outgoing) if voters)
