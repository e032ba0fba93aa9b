"""A disk that does what one rule says, until it is healed: the deed of the family ``disk`` (:mod:`faults.disk`)."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from faults.filesystem.probes import BYTES
from faults.filesystem.rules import Rule
from faults.kill import Kill
from faults.needs import Attempt, Cluster, Node, ProcessState, Proof

OWNER = "disk"
"""Whose rules these are."""
POLL_S = 0.1
POLLS_MAX = 50
"""5 s: how long a healed disk may take until the harness's own operations succeed at once."""
DECIDED_POLLS_MAX = 10
"""1 s: how long a node that met an error may take until it is dead, if it stops for that."""
_PROBED = ("read", "write", "fsync", "create", "rename")
"""Of the operations of a rule, those that are tried: others only if none of these is among them."""


@dataclass(kw_only=True, slots=True)
class DiskTrouble:
    """Rules on the file systems of certain nodes, until healed."""

    targets: tuple[str, ...]
    rule: Rule
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def inject(self) -> Proof:
        """Lays the rule down; holds if every probe meets it."""
        found = dict(zip(self.targets, await asyncio.gather(*map(self._inject, self._nodes())), strict=True))
        bit = all(attempts is not None and self._met(attempts) for attempts in found.values())
        return Proof(holds=bit, evidence={"probes": _told(found)})

    async def heal(self) -> Proof:
        """Takes it away and starts who is dead; holds if probes succeed again, and every target runs."""
        healed = dict(zip(self.targets, await asyncio.gather(*map(self._heal, self._nodes())), strict=True))
        started = await Kill(targets=self.targets, cluster=self.cluster, sleep=self.sleep).heal()
        works = all(each["works"] for each in healed.values())
        if works and started.holds:
            await self._discharge()
        idle = all(each.get("node_operations_hit") == 0 for each in healed.values())
        return Proof(
            holds=works and started.holds,
            evidence={"disks": healed, **started.evidence},
            hit_nothing="none of the nodes' own operations was one that it is about" if idle else None,
        )

    async def _inject(self, node: Node) -> Mapping[str, Attempt] | None:
        if node.files is None:
            return None
        await self.cluster.undo.register(node.files.heal_undo())
        if self.rule.action != "wait":
            node.dismiss()
        await node.files.lay(OWNER, [self.rule])
        return await node.files.probe(self._probed())

    async def _heal(self, node: Node) -> dict[str, Any]:
        files = node.files
        if files is None:
            return {"works": False, "reason": "nothing stands between this node and its data"}
        tally = (await files.status()).tallies.get(OWNER, ())
        await files.lay(OWNER, [])
        await files.thaw()
        attempts: Mapping[str, Attempt] = {}
        for _ in range(POLLS_MAX):
            attempts = await files.probe(self._probed())
            if self._works(attempts):
                break
            await self.sleep(POLL_S)
        if tally and tally[0].hit and self.rule.action != "wait":
            await self._wait_decided(node)
        hit = {"node_operations_hit": tally[0].hit, "matched": tally[0].matched} if tally else {}
        return {**hit, "works": self._works(attempts), "probes": _attempts(attempts)}

    async def _wait_decided(self, node: Node) -> None:
        """A node that met an error a moment ago may be about to stop; one that stops after it was looked at would stay
        dead.
        """
        for _ in range(DECIDED_POLLS_MAX):
            if await node.state() is ProcessState.DEAD:
                return
            await self.sleep(POLL_S)

    async def _discharge(self) -> None:
        for node in self._nodes():
            if node.files is not None:
                await self.cluster.undo.discharge(node.files.heal_undo().id)

    def _probed(self) -> list[str]:
        among = [operation for operation in _PROBED if operation in self.rule.operations]
        return among or list(self.rule.operations)

    def _met(self, attempts: Mapping[str, Attempt]) -> bool:
        """Whether every attempt met its fate."""
        match self.rule.action:
            case "wait":
                return all(each.took_ms >= self.rule.delay_s * 1000 for each in attempts.values())
            case "short":
                whole = max(each.bytes or 0 for each in attempts.values())
                return (
                    all(each.error is None and each.bytes is not None for each in attempts.values()) and whole < BYTES
                )
            case "fill":
                return attempts["write"].error == "ENOSPC"
            case _:
                wanted = errno.errorcode[self.rule.error]
                return all(each.error == wanted for each in attempts.values())

    def _works(self, attempts: Mapping[str, Attempt]) -> bool:
        slow = self.rule.delay_s * 1000 or float("inf")
        return all(each.error is None and each.took_ms < slow for each in attempts.values())

    def _nodes(self) -> list[Node]:
        return [self.cluster.nodes[name] for name in self.targets]


def _attempts(attempts: Mapping[str, Attempt]) -> dict[str, Any]:
    return {
        operation: {name: value for name, value in asdict(attempt).items() if value is not None}
        for operation, attempt in attempts.items()
    }


def _told(found: Mapping[str, Mapping[str, Attempt] | None]) -> dict[str, Any]:
    return {name: "no file system of ours" if each is None else _attempts(each) for name, each in found.items()}
