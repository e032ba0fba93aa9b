"""One step ahead: a committed entry must be safe in every future, not only in the one that comes.

Leader completeness says that no leader will ever lack a committed entry. So if everyone crashed now, and a server whose
disk lacks the entry asked for votes, it must not find a quorum among what is on the disks: its own configuration,
section 5.4.1's comparison, nothing else. Such an election may be many unlikely steps away; that it is possible at
all is the violation. (In the words of the paper's figure 8: the entry of (c) is not committed because (d) can follow.)
"""

from __future__ import annotations

from collections.abc import Mapping

from node.raft.messages import Configuration
from tests.node.simulated.configurations import configuration_in, is_quorum
from tests.node.simulated.disk import Disk
from tests.node.simulated.promises import Durable
from tests.node.simulated.violation import Violation


class Future:
    """Looks at all disks."""

    def __init__(self, servers: Mapping[str, Durable]) -> None:
        self._servers = servers

    def holders(self, index: int, term: int) -> set[str]:
        """Whose disk has that entry (or a snapshot over it)."""
        return {name for name, server in self._servers.items() if server.disk.holds(index, term)}

    def cannot_lose(self, index: int, term: int) -> None:
        """Checks that no election can lose that entry, which is committed."""
        for name, server in self._servers.items():
            disk = server.disk
            if disk.holds(index, term):
                continue
            configuration = configuration_on(disk, server.founders)
            supporters = self._supporters(disk)
            if is_quorum(configuration, supporters) and name in configuration.electorate:
                raise Violation(
                    f"leader completeness: {name} could be elected by {sorted(supporters)} without entry {index} of "
                    f"term {term}, which is committed"
                )

    def _supporters(self, disk: Disk) -> set[str]:
        last = disk.last()
        return {name for name, server in self._servers.items() if server.disk.last() <= last}


def configuration_on(disk: Disk, founders: Configuration) -> Configuration:
    """The one that a server would go by after a crash."""
    return configuration_in(disk.entries if disk.survives() else (), disk.snapshot, founders)
