"""Turns at a node: while one fault lays hands on a node's processes, others that need them wait.

Claims (:mod:`harness.nemesis.claims`) say who may hold a node for the time of a fault; faults that claim different
things may hold it together. But a clock that is being changed in a process that another fault kills in the same tenth
of a second can prove nothing. So injections take turns, node by node; each is bounded, so nobody waits for long.
Healing never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from faults.family import Family
from harness.nemesis.claims import ALIVE


@dataclass(slots=True)
class Turns:
    """Who is being injected where."""

    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @contextlib.asynccontextmanager
    async def turn(self, family: Family, targets: Sequence[str]) -> AsyncIterator[None]:
        """Alone at these nodes, if the family needs their processes. Taken in one order by all, so nobody waits for
        somebody who waits for him.
        """
        async with contextlib.AsyncExitStack() as stack:
            for name in sorted(set(targets)) if family.claims & ALIVE else ():
                await stack.enter_async_context(self._locks[name])
            yield
