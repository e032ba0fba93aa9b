"""How much the state may hold: limits that are part of the machine's definition, the same on all nodes, so no options.

The first group is asked of requests, before anything reaches the log (:mod:`node.serving.requests`); the second of the
state, when a command is applied.
"""

from __future__ import annotations

KEY_BYTES_MAX = 1024
VALUE_BYTES_MAX = 1 << 20
"""Of a register; no append makes it longer."""
ELEMENT_BYTES_MAX = 64 << 10
OWNER_BYTES_MAX = 256
LEASE_MS_MAX = 24 * 3600 * 1000
FENCE_MAX = (1 << 63) - 1
"""Of fences, and of tokens that are shown: replies tell them as signed numbers of 64 bits."""
STEPS_MAX = 128
"""Of one transaction."""
TRANSACTION_BYTES_MAX = 1 << 20
"""What the steps of one transaction may write."""

SESSIONS_MAX = 10_000
SESSION_BYTES_MAX = 64 << 20
"""What all sessions remember; beyond either, the one whose last use lies furthest back in the log is forgotten."""
COLLECTION_BYTES_MAX = 4 << 20
"""Of one set or list, each element counted with eight bytes more. To read the largest (260 000 elements of 8 bytes)
holds the event loop up for a tenth of a second.
"""
READ_BYTES_MAX = 4 << 20
"""What the reads of one transaction may find."""
STATE_BYTES_MAX = 768 << 20
"""All keys, values and fences, each key counted with sixteen bytes more: about what they take in a snapshot, of which a
peer takes 1 GiB at most.
"""
COUNTER_MAX = (1 << 63) - 1
COUNTER_MIN = -(1 << 63)
