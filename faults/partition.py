"""``partition``: packets between nodes are dropped, in both directions or in one.

Every cut (source, target) is a rule in the target's own network namespace that drops what comes from the source's
address, in a chain of this fault's own: so overlapping partitions compose, and healing one leaves the others. All
rules of a node go in with one ``iptables-restore``, all nodes in parallel. There is no rule for established
connections: they are cut as well. Traffic of clients flows unless ``clients: true``; then it is cut off from the
first side, by rules in the nodes' namespaces, never in the controller's.

Proof of the bite: a datagram through each cut direction does not arrive, and through every other that was open before
still does. Proof of healing: through each that this fault cut, unless another still cuts it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Self

from pydantic import model_validator

from faults.cuts import CLIENT, Pair
from faults.family import Claim, Parameters, Resolved, Target, Unprepared, check_targets
from faults.needs import Cluster, Node, Proof, Undo
from faults.shapes import SHAPES, SIDED, Division

BLOCKED_TIMEOUT_S = 0.2
"""How long a datagram may take before its link counts as cut."""
OPEN_TIMEOUT_S = 1.0
"""How long one may take before an open link counts as closed; links that are open answer at once."""

Shape = Literal["halves", "isolate", "bridge", "majorities-ring", "random"]
Direction = Literal["both", "in", "out"]


class PartitionParameters(Parameters):
    """Who is cut from whom. ``in`` and ``out`` are seen from the first side: the half, the isolated, or one side of
    the bridge.
    """

    shape: Shape = "halves"
    target: Target | None = None
    """Who stands on the first side (``halves``, ``isolate``) or is the bridge; drawn at random if nobody is named."""
    direction: Direction = "both"
    clients: bool = False
    """Whether clients are cut off from the first side, too."""

    @model_validator(mode="after")
    def _check_sides(self) -> Self:
        if self.shape in SIDED:
            return self
        given = {"target": self.target is not None, "direction": self.direction != "both", "clients": self.clients}
        if any(given.values()):
            names = ", ".join(name for name, is_given in given.items() if is_given)
            raise ValueError(
                f"shape {self.shape} has no sides, so {names} cannot be said: leave it out, or use isolate"
            )
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeRules:
    """What one node's firewall has to drop: packets from these addresses, and packets to these."""

    from_addresses: tuple[str, ...]
    to_addresses: tuple[str, ...]

    def apply(self, chain: str) -> str:
        """Input for ``iptables-restore --noflush``: one transaction, all or nothing."""
        lines = [f":{chain} - [0:0]"]
        lines += [f"-A {chain} -s {address}/32 -j DROP" for address in self.from_addresses]
        lines += [f"-A {chain} -d {address}/32 -j DROP" for address in self.to_addresses]
        lines += [f"-I {hook} -j {chain}" for hook in self._hooks()]
        return _transaction(lines)

    def remove(self, chain: str) -> str:
        """Input that takes it out again; fails as a whole if it is not there."""
        return _transaction([f"-D {hook} -j {chain}" for hook in self._hooks()] + [f"-F {chain}", f"-X {chain}"])

    def _hooks(self) -> list[str]:
        return ["INPUT"] + (["OUTPUT"] if self.to_addresses else [])


def _transaction(lines: Sequence[str]) -> str:
    return "\n".join(["*filter", *lines, "COMMIT", ""])


RESTORE = ("iptables-restore", "-w", "5", "--noflush")


def scrub(chain: str) -> list[str]:
    """A command that takes a chain out whatever state it is in; succeeds if it is gone afterwards."""
    table = "iptables -w 5"
    steps = [f"{table} -D {hook} -j {chain}" for hook in ("INPUT", "OUTPUT")] + [
        f"{table} -F {chain}",
        f"{table} -X {chain}",
    ]
    return ["sh", "-c", f"{{ {'; '.join(steps)}; }} 2>/dev/null; ! {table} -n -L {chain} >/dev/null 2>&1"]


def rules_of(cuts: Sequence[Pair], addresses: Mapping[str, str]) -> dict[str, NodeRules]:
    """The rules of each node that needs some. Clients' own side gets none: both of their directions are cut at the
    node.
    """
    nodes = sorted({target if target != CLIENT else source for source, target in cuts})
    return {
        node: NodeRules(
            from_addresses=tuple(addresses[source] for source, target in cuts if target == node),
            to_addresses=tuple(addresses[target] for source, target in cuts if source == node and target == CLIENT),
        )
        for node in nodes
    }


@dataclass(kw_only=True, slots=True)
class Partition:
    """A set of cut directions."""

    pairs: tuple[Pair, ...]
    cluster: Cluster
    clock: Callable[[], int] = time.monotonic_ns
    """Only for the evidence: how long it took until the rules were in force."""
    _chain: str = field(init=False)
    _rules: dict[str, NodeRules] = field(init=False)
    _dirty: set[str] = field(default_factory=set, init=False)
    """Nodes whose rules are in, or may be."""

    def __post_init__(self) -> None:
        self._chain = self.cluster.links.cuts.new_holder("cut")
        self._rules = rules_of(self.pairs, self.cluster.links.addresses)

    async def inject(self) -> Proof:
        """Cuts; holds if every cut direction is blocked, and every other that was open is open."""
        begin_ns = self.clock()
        probe = self.cluster.links.probe
        watched = [pair for pair in self._every_pair() if pair not in self.cluster.links.cuts.union() | set(self.pairs)]
        before, _ = await asyncio.gather(probe(watched, timeout_s=BLOCKED_TIMEOUT_S), self._register())
        self.cluster.links.cuts.enter(self._chain, self.pairs)
        self._dirty.update(self._rules)
        deed_ns = self.clock()
        await asyncio.gather(*(self._apply(node) for node in self._rules))
        force_ns = self.clock()
        open_before = [pair for pair in watched if before[pair]]
        cut, spared = await asyncio.gather(
            probe(self.pairs, timeout_s=BLOCKED_TIMEOUT_S), probe(open_before, timeout_s=OPEN_TIMEOUT_S)
        )
        leaking = [pair for pair in self.pairs if cut[pair]]
        union = self.cluster.links.cuts.union()
        collateral = [pair for pair in open_before if not spared[pair] and pair not in union]
        evidence = {
            "blocked": [pair for pair in self.pairs if not cut[pair]],
            "leaking": leaking,
            "closed_beside": collateral,
            "deed_ms": (force_ns - deed_ns) / 1e6,
            "in_force_ms": (force_ns - begin_ns) / 1e6,
        }
        return Proof(holds=not leaking and not collateral, evidence=evidence)

    async def heal(self) -> Proof:
        """Takes the rules out; holds if every direction that this fault cut is open, but for those that another still
        cuts.
        """
        errors = [error for error in await asyncio.gather(*map(self._remove, sorted(self._dirty))) if error]
        if not errors:
            self.cluster.links.cuts.leave(self._chain)
        excused = self.cluster.links.cuts.union()
        freed = [pair for pair in self.pairs if pair not in excused]
        seen = await self.cluster.links.probe(freed, timeout_s=OPEN_TIMEOUT_S)
        closed = [pair for pair in freed if not seen[pair] and pair not in self.cluster.links.cuts.union()]
        if not errors and not closed:
            await asyncio.gather(*(self.cluster.undo.discharge(self._undo_id(node)) for node in self._rules))
        evidence = {"open": [pair for pair in freed if seen[pair]], "closed": closed, "errors": errors}
        return Proof(holds=not errors and not closed, evidence=evidence)

    def _every_pair(self) -> list[Pair]:
        names = self.cluster.links.addresses
        return [(source, target) for source in names for target in names if source != target]

    def _undo_id(self, node: str) -> str:
        return f"{self._chain} on {node}"

    async def _register(self) -> None:
        await asyncio.gather(
            *(self.cluster.undo.register(self._undo(self.cluster.nodes[name])) for name in self._rules)
        )

    def _undo(self, node: Node) -> Undo:
        argv = list(node.command(scrub(self._chain)))
        return Undo(id=self._undo_id(node.name), kind="run", arguments={"argv": argv})

    async def _apply(self, name: str) -> None:
        done = await self.cluster.nodes[name].run(RESTORE, stdin=self._rules[name].apply(self._chain))
        if done.status != 0:
            raise RuntimeError(f"iptables-restore on {name} ended with status {done.status}: {done.stderr.strip()}")

    async def _remove(self, name: str) -> str | None:
        """Takes a node's rules out, the fast way, then the one that works in any state. Returns what went wrong."""
        node = self.cluster.nodes[name]
        done = await node.run(RESTORE, stdin=self._rules[name].remove(self._chain))
        if done.status != 0:
            done = await node.run(scrub(self._chain))
        if done.status != 0:
            return f"{name}: status {done.status}: {done.stderr.strip()}"
        self._dirty.discard(name)
        return None


class PartitionFamily(Unprepared):
    """See the module."""

    name = "partition"
    description = "packets between nodes are dropped, in both directions or in one; established connections too"
    Parameters = PartitionParameters
    needs = frozenset({"partition"})
    claims: frozenset[Claim] = frozenset()

    def resolve(self, parameters: Any, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random) -> Resolved:
        """The cut directions, and the sides for the words."""
        if targets:
            check_targets(targets, nodes)
        division = SHAPES[parameters.shape](targets, nodes, random)
        cuts = [*division.cuts(parameters.direction)]
        if parameters.clients:
            cuts += Division(first=division.first, second=(CLIENT,)).cuts(parameters.direction)
        return {
            "shape": parameters.shape,
            "direction": parameters.direction,
            "targets": list(targets or division.centre() or nodes),
            "sides": [list(division.first), list(division.second)] if division.first else [],
            "bridge": division.bridge,
            "cuts": [list(pair) for pair in cuts],
        }

    def summary(self, resolved: Resolved) -> str:
        """Who is cut from whom."""
        clients = any(CLIENT in pair for pair in resolved["cuts"])
        if not resolved["sides"]:
            links = sorted({tuple(sorted(pair)) for pair in resolved["cuts"]})
            words = ", ".join(f"{one}-{other}" for one, other in links)
            ring = ": every node reaches a different majority" if resolved["shape"] == "majorities-ring" else ""
            return f"links cut in both directions: {words}{ring}"
        first, second = (", ".join(side) for side in resolved["sides"])
        others = f"{second} and the clients" if clients else second
        s = "s" if len(resolved["sides"][0]) == 1 else ""
        words = {
            "both": f"{first} cut off from {others} in both directions",
            "in": f"{first} can send but receive{s} nothing (cut off from {others} in one direction)",
            "out": f"{first} receive{s} but cannot send (cut off from {others} in one direction)",
        }[resolved["direction"]]
        return words + (f"; {resolved['bridge']} reaches both sides" if resolved["bridge"] else "")

    def build(self, resolved: Resolved, cluster: Cluster) -> Partition:
        """The fault.

        Raises:
            ValueError: clients are to be cut off, but where they send from is not known here.
        """
        pairs = tuple((source, target) for source, target in resolved["cuts"])
        unknown = sorted({name for pair in pairs for name in pair} - set(cluster.links.addresses))
        if unknown:
            raise ValueError(
                f"cannot cut {', '.join(unknown)}: known endpoints are {', '.join(cluster.links.addresses)}"
            )
        return Partition(pairs=pairs, cluster=cluster)

    def draw(self, random: Random, nodes: tuple[str, ...]) -> PartitionParameters:
        """Any shape that so many nodes allow, the isolated leader most often; one-way in two of five cases."""
        direction: Direction = random.choice(("both", "both", "both", "in", "out"))
        shapes: list[Shape] = ["isolate", "isolate", "halves", "random"]
        shapes += ["bridge"] if len(nodes) >= 3 else []
        shapes += ["majorities-ring"] if len(nodes) >= 4 else []
        shape = random.choice(shapes)
        if shape not in SIDED:
            return PartitionParameters(shape=shape)
        target = random.choice(("leader", "leader", "one")) if shape == "isolate" else None
        return PartitionParameters(shape=shape, target=target, direction=direction)
