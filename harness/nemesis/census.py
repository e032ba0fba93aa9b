"""Who lives and who leads, asked of nodes while other faults may be in force."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from faults.needs import Cluster, ProcessState

LEADER_TIMEOUT_S = 5.0
LEADER_POLL_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Census:
    """Of one cluster."""

    cluster: Cluster
    leader: Callable[[], Awaitable[str | None]]
    """Asks the system who leads now."""

    async def dead(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of them that do not run."""
        states = await self._states(names)
        return tuple(name for name, state in zip(names, states, strict=True) if state is ProcessState.DEAD)

    async def all_run(self, names: Sequence[str]) -> bool:
        """Whether all of them can be told something: another fault may have stopped one."""
        return set(await self._states(names)) == {ProcessState.RUNNING}

    async def wait_leader(self) -> str | None:
        """The leader, waiting while there is none (an election may be under way)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEADER_TIMEOUT_S):
                while (leader := await self.leader()) is None:  # noqa: ASYNC110 - nodes can only be asked
                    await asyncio.sleep(LEADER_POLL_S)
                return leader
        return None

    async def _states(self, names: Sequence[str]) -> list[ProcessState]:
        return await asyncio.gather(*(self.cluster.nodes[name].state() for name in names))
