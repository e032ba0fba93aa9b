"""Links of one node shaped by the kernel itself: ``tc netem`` behind a classifier, where a packet *leaves*.

The node's device gets a ``prio`` discipline whose first band is for everything that nobody shapes. Every other
endpoint has a band of its own, by its place among the endpoints, so two faults never compete for one; a ``u32`` filter
puts what is addressed to it there, and a ``netem`` holds it (``man 8 tc-prio``, ``tc-u32``, ``tc-netem``). The
discipline goes when the last netem does. What a queue holds when its filter is taken out still arrives: it is taken
away when it is empty, or after :data:`DRAIN_S_MAX`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faults.cuts import Pair
from faults.needs import Node, Undo
from faults.packets.shaped import ShapedLinks

BANDS = 16
"""The kernel's limit: one for what is not shaped, and one for each of 15 others."""
DRAIN_S_MAX = 1.0
DRAIN_POLL_S = 0.02
ROOT = 0xCA50
_ROOT = f"{ROOT:x}:"
_TRIAL = ("unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")


class MeansError(Exception):
    """Links cannot be shaped in this way here; the text says why."""


async def why_refused(node: Node, shaped: ShapedLinks) -> str | None:
    """Why a node's kernel has no netem, or None; asked once, in a namespace that is thrown away."""
    if node.name not in shaped.netem_refused:
        done = await node.host(_TRIAL)
        reason = (done.stderr.strip() or f"status {done.status}").splitlines()[-1] if done.status else None
        shaped.netem_refused[node.name] = reason
    return shaped.netem_refused[node.name]


@dataclass(kw_only=True, slots=True)
class Netem:
    """The links that leave one node."""

    holder: str
    node: Node
    addresses: Mapping[str, str]
    """Of all endpoints, in the cluster's order."""
    targets: tuple[str, ...]
    words: tuple[str, ...]
    """The arguments of netem."""
    turn: asyncio.Lock
    """Held while the node's disciplines change: two faults share the root."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    purged: int = 0
    """Packets that were still waiting when they were thrown away with their queue."""
    _device: str = field(default="", init=False)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The directions that it shapes."""
        return tuple((self.node.name, target) for target in self.targets)

    async def find_device(self) -> None:
        """Asks the kernel which device the targets are reached by.

        Raises:
            MeansError: none, or not one for all.
        """
        lines = "".join(f"route get {self.addresses[target]}\n" for target in self.targets)
        done = await self.node.run(("ip", "-o", "-batch", "-"), stdin=lines)
        devices = {
            words[words.index("dev") + 1] for words in map(str.split, done.stdout.splitlines()) if "dev" in words
        }
        if done.status or len(devices) != 1:
            raise MeansError(f"no one device leads to {', '.join(self.targets)}: {done.stderr.strip() or devices}")
        self._device = devices.pop()

    async def apply(self) -> None:
        """Puts the queues in front of the links.

        Raises:
            MeansError: with what ``tc`` says.
        """
        async with self.turn:
            root = next((each for each in await self._disciplines() if each.get("root")), {})
            handle = str(root.get("handle", "0:"))
            if handle not in ("0:", _ROOT):  # the kernel's own have no number
                raise MeansError(f"{self._device} has a queueing discipline of its own: {root['kind']} {handle}")
            lines = [] if handle == _ROOT else [self._root()]
            done = await self.node.run(("tc", "-batch", "-"), stdin=_lines(lines + self._shaping()))
        if done.status:
            raise MeansError(f"tc on {self.node.name}: {(done.stderr.strip() or str(done.status)).splitlines()[0]}")

    async def counts(self) -> Mapping[str, Mapping[str, int]]:
        """What the kernel counted, for each target: packets that went through, lost ones, waiting ones."""
        by_parent = {str(each.get("parent")): each for each in await self._disciplines()}
        found = {target: by_parent.get(self._band(target), {}) for target in self.targets}
        return {
            target: {
                "packets": each.get("packets", 0) + each.get("drops", 0) + each.get("qlen", 0),
                "lost": each.get("drops", 0),
                "waiting": each.get("qlen", 0),
            }
            for target, each in found.items()
        }

    async def remove(self) -> str | None:
        """Takes the filters out, waits for what the queues hold, takes the queues out. Returns what went wrong."""
        if not self._device:
            return None
        async with self.turn:
            await self._force([f"filter del dev {self._device} {self._filter(target)}" for target in self.targets])
            self.purged += await self._drain()
            await self._force([f"qdisc del dev {self._device} parent {self._band(target)}" for target in self.targets])
            if not any(each["kind"] == "netem" for each in await self._disciplines()):
                await self._force([f"qdisc del dev {self._device} root handle {_ROOT}"])
            left = await self.left()
        return f"{self.node.name}: still there: {', '.join(left)}" if left else None

    async def left(self) -> Sequence[str]:
        """What of it is in the namespace."""
        mine = {self._band(target) for target in self.targets}
        return [f"netem {each['parent']}" for each in await self._disciplines() if each.get("parent") in mine]

    @property
    def undo(self) -> Undo:
        """How a bare process takes it out."""
        device, tc = self._device, "tc"
        steps = [f"{tc} filter del dev {device} {self._filter(target)}" for target in self.targets]
        steps += [f"{tc} qdisc del dev {device} parent {self._band(target)}" for target in self.targets]
        steps += [f"{tc} qdisc show dev {device} | grep -q netem || {tc} qdisc del dev {device} root handle {_ROOT}"]
        bands = "|".join(f"parent {self._band(target)} " for target in self.targets)
        check = f"! {tc} qdisc show dev {device} | grep -Eq '{bands}'"
        argv = self.node.command(["sh", "-c", f"{{ {'; '.join(steps)}; }} 2>/dev/null; {check}"])
        return Undo(id=f"{self.holder} netem on {self.node.name}", kind="run", arguments={"argv": list(argv)})

    def _minor(self, target: str) -> int:
        others = [name for name in self.addresses if name != self.node.name]
        return others.index(target) + 2

    def _band(self, target: str) -> str:
        return f"{_ROOT}{self._minor(target):x}"

    def _root(self) -> str:
        return f"qdisc add dev {self._device} root handle {_ROOT} prio bands {BANDS} priomap {' '.join('0' * 16)}"

    def _filter(self, target: str) -> str:
        return f"parent {_ROOT} protocol ip prio {self._minor(target)}"

    def _shaping(self) -> list[str]:
        lines = []
        for target in self.targets:
            band, handle = self._band(target), f"{ROOT + self._minor(target):x}:"
            lines += [
                f"qdisc add dev {self._device} parent {band} handle {handle} netem {' '.join(self.words)}",
                f"filter add dev {self._device} {self._filter(target)} u32"
                f" match ip dst {self.addresses[target]}/32 flowid {band}",
            ]
        return lines

    async def _disciplines(self) -> list[dict[str, Any]]:
        done = await self.node.run(("tc", "-s", "-j", "qdisc", "show", "dev", self._device))
        if done.status:
            raise MeansError(f"tc on {self.node.name} ended with status {done.status}: {done.stderr.strip()}")
        found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
        return found

    async def _drain(self) -> int:
        """Waits for the queues to run empty; returns how many packets still wait."""
        waited, waiting = 0.0, 1
        while waiting:
            waiting = sum(count["waiting"] for count in (await self.counts()).values())
            if not waiting or waited >= DRAIN_S_MAX:
                break
            await self.sleep(DRAIN_POLL_S)
            waited += DRAIN_POLL_S
        return waiting

    async def _force(self, lines: Sequence[str]) -> None:
        """All of them, whatever becomes of each: what is not there cannot be taken out, and what stays is seen."""
        await self.node.run(("tc", "-force", "-batch", "-"), stdin=_lines(lines))


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
