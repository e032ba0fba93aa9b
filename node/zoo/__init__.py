"""The zoo: Raft bugs that were really published, each one small override, all off unless ``--bug NAME`` says so.

They measure how well a tester detects. A row names the classes that take the place of the node's own parts; the
correct parts know nothing of it. A planted bug behaves, logs and traces like the real node: only the line at the start
says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.zoo import commit, election, membership, persistence, reads, replication, sessions, snapshot, storage
from node.zoo.bug import Bug

_KINDS = (election, persistence, replication, commit, snapshot, membership, reads, sessions, storage)

BUGS: Mapping[str, Bug] = {bug.name: bug for kind in _KINDS for bug in kind.ROWS}
"""Every planted bug by its name."""
