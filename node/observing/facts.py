"""What a node is like at one moment, for those who measure it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node import kv_pb2


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Looked at in the node's event loop."""

    status: kv_pb2.StatusReply
    matches: Mapping[str, int]
    """Up to which index each follower agrees; only a leader's."""
    queues: Mapping[str, int]
    """How much waits, by the name of the queue."""
