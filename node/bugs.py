"""The zoo: Raft bugs that were really published, each one small override, all off unless ``--bug NAME`` says so.

They measure how well a tester detects. A row names the classes that take the place of the node's own parts; the
correct parts know nothing of it. A planted bug behaves, logs and traces like the real node: only the line at the start
says what it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from node.core import Raft


@dataclass(frozen=True, kw_only=True)
class Bug:
    """One row: what it is, where it was published, and what replaces the correct part."""

    name: str
    what: str
    """What is wrong, in one sentence."""
    provoked_by: str
    observer: str
    """Who is to see it: LIN, DUR, INV, CONV, LIVE or CRASH."""
    source: str
    """Where it happened in public."""
    core: type[Raft] = Raft
    """The consensus core to run."""


class LocalRead(Raft):
    """local-read (R1): the leader takes for granted that it hears a majority.

    Published as etcd-io/etcd#741 and hashicorp/consul#54.
    """

    def hears_majority(self, heard: Collection[str]) -> bool:  # noqa: ARG002
        """Nobody needs to be asked: neither before a read is served, nor whether to step down."""
        return True


BUGS: Mapping[str, Bug] = {
    bug.name: bug
    for bug in (
        Bug(
            name="local-read",
            what="the leader takes for granted that it hears a majority: it serves reads and goes on leading alone",
            provoked_by="isolate the leader",
            observer="LIN",
            source="etcd-io/etcd#741, hashicorp/consul#54",
            core=LocalRead,
        ),
    )
}
"""Every planted bug by its name."""
