"""The replicas' states, asked when nobody writes any more: each node is asked until all have told and stand at the same
index, or the patience is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness.systems.protocol import Session, StateHash

PATIENCE_S = 4.0
POLL_S = 0.1
STATE_TIMEOUT_S = 1.0


async def settled_states(session: Session, nodes: Sequence[str], *, wanted: Collection[str]) -> Mapping[str, Any]:
    """What each node told last (``run.json``, ``states``); nodes that told nothing are left out. ``wanted`` are those
    that should tell something.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    states: dict[str, StateHash] = {}
    while True:
        answers = await asyncio.gather(*(session.state(node, timeout_s=STATE_TIMEOUT_S) for node in nodes))
        states = {node: state for node, state in zip(nodes, answers, strict=True) if state is not None}
        settled = states.keys() >= set(wanted) and len({state.applied for state in states.values()}) <= 1
        if settled or loop.time() >= deadline:
            return {node: {"applied": state.applied, "hash": state.hash} for node, state in states.items()}
        await asyncio.sleep(POLL_S)
