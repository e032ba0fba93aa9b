"""What a node is made of. Any part can be replaced by another class: a planted bug is just that (:mod:`node.zoo`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from node.durable.snapshotting import Snapshotting
from node.durable.storage import Storage
from node.machine import Machine
from node.raft.core import Raft
from node.serving.callers import Callers
from node.shell import Shell


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The classes that :mod:`node.running` builds a node from."""

    core: type[Raft] = Raft
    machine: type[Machine] = Machine
    storage: type[Storage] = Storage
    """Its attributes name the log and the snapshot store that it writes."""
    shell: type[Shell] = Shell
    callers: type[Callers] = Callers
    snapshotting: type[Snapshotting] = Snapshotting
    clock: Callable[[], int] = time.monotonic_ns
    """Nanoseconds: the node's only measure of time that passes."""
