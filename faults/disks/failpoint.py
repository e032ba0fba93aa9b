"""Where a node dies: at one operation on its disk. The other deed of the family ``disk`` (:mod:`faults.disk`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from faults.disks.trouble import OWNER
from faults.filesystem.rules import Rule
from faults.kill import Kill
from faults.needs import Cluster, Node, NotNowError, ProcessState, Proof

WAIT_S = 8.0
"""How long it waits for the node to come to the operation."""
POLL_S = 0.01


@dataclass(kw_only=True, slots=True)
class FailPoint:
    """The end of certain nodes at one operation each."""

    targets: tuple[str, ...]
    rule: Rule
    since_start: bool
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def inject(self) -> Proof:
        """Arms it and waits; holds if every target came to it and nothing of it is left.

        Raises:
            NotNowError: some node did not come to it in time; it was taken back.
        """
        before = {node.name: await node.state() for node in self._nodes()}
        if self.since_start:
            await self._kill.inject()
        armed = await asyncio.gather(*map(self._arm, self._nodes()))
        crashes: dict[str, Mapping[str, Any] | None] = dict(zip(self.targets, armed, strict=True))
        evidence = {"crashes": crashes, "state_before": before}
        if not any(crashes.values()) and not self.since_start:
            crashes |= await self._disarm()  # somebody may have come to it just before it was taken back
            if not any(crashes.values()):
                seen = f"{self.rule.number} x {self.rule.operations[0]} of {self.rule.path}"
                raise NotNowError(f"{', '.join(self.targets)} did not come to {seen} within {WAIT_S:g} s")
        left = {node.name: await self._kill.wait_dead(node) for node in self._nodes() if crashes[node.name]}
        bit = ProcessState.DEAD not in before.values() and all(crashes.values()) and not any(left.values())
        return Proof(holds=bit, evidence={**evidence, "pids_left": left})

    async def heal(self) -> Proof:
        """Starts who is dead, on a file system without rules."""
        await self._disarm()
        return await self._kill.heal()

    async def _arm(self, node: Node) -> Mapping[str, Any] | None:
        """The crash as the file system tells it; None if it did not come."""
        if node.files is None:
            return None
        await self.cluster.undo.register(node.files.heal_undo())
        await node.files.lay(OWNER, [self.rule])
        if self.since_start:
            await node.start()
        node.dismiss()
        for _ in range(round(WAIT_S / POLL_S)):
            status = await node.files.status()
            if status.crash is not None:
                return status.crash
            await self.sleep(POLL_S)
        return None

    async def _disarm(self) -> dict[str, Mapping[str, Any]]:
        """Takes it back; who had come to it."""
        crashes = {}
        for node in self._nodes():
            files = node.files
            if files is not None:
                await files.lay(OWNER, [])
                crash = (await files.status()).crash
                if crash is not None:
                    crashes[node.name] = crash
                    await self._kill.wait_dead(node)  # a tree that still dies may do nothing
                await files.thaw()
                await self.cluster.undo.discharge(files.heal_undo().id)
        return crashes

    @property
    def _kill(self) -> Kill:
        return Kill(targets=self.targets, cluster=self.cluster, sleep=self.sleep)

    def _nodes(self) -> list[Node]:
        return [self.cluster.nodes[name] for name in self.targets]
