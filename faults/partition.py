"""``partition``: packets between nodes are dropped, in both directions or in one.

Every cut (source, target) is a rule in a node's own network namespace, in a table (or chain) of this fault's own: so
overlapping partitions compose, and healing one leaves the others. With ``action: drop`` the *target* drops what comes
from the source's address; with ``reject`` the *source*'s packets are refused as they leave, TCP by a reset, all else
by "port unreachable", as a rejecting firewall would: senders know at once instead of waiting for a time-out. There is
no rule for established connections: they are cut as well. Traffic of clients flows unless ``clients: true``; then it
is cut off from the first side, by rules in the nodes' namespaces, never in the controller's.

Speed: where the controller may hold a netlink socket in the node's namespace, all rules of a node are one system call
(:mod:`faults.packets.nftables`), so that no process is started between the decision and the cut; elsewhere one
``iptables-restore`` a node, side by side (:mod:`faults.packets.firewall`).

Proof of the bite: a datagram through each cut direction does not arrive, and through every other that was open before
still does. Where a direction was closed before (by another partition, most often) that shows nothing, and the rules
are read back from the kernel. For ``reject`` also a TCP connection and a connected UDP socket through each cut
direction are refused at once. Proof of healing: a datagram arrives through each direction that this fault cut, unless
another still cuts it.
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
from faults.needs import Cluster, Proof
from faults.packets.firewall import Firewall, Rule
from faults.packets.knocking import REFUSED, knock
from faults.packets.nftables import Hook
from faults.shapes import SHAPES, SIDED, Division

BLOCKED_TIMEOUT_S = 0.2
"""How long a datagram may take before its link counts as cut."""
OPEN_TIMEOUT_S = 1.0
"""How long one may take before an open link counts as closed; links that are open answer at once."""

Shape = Literal["halves", "isolate", "bridge", "majorities-ring", "minority-third", "link", "random"]
Direction = Literal["both", "in", "out"]
Action = Literal["drop", "reject"]


class PartitionParameters(Parameters):
    """Who is cut from whom. ``in`` and ``out`` are seen from the first side: the half, the isolated, the third, one
    side of the bridge, or one end of the link.
    """

    shape: Shape = "halves"
    target: Target | None = None
    """Who stands on the first side, is the bridge, or is at an end of the link; drawn at random if nobody is named."""
    direction: Direction = "both"
    action: Action = "drop"
    """Whether packets vanish, or their senders are told that they do not get through."""
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


def rules_of(cuts: Sequence[Pair], addresses: Mapping[str, str], action: Action) -> dict[str, tuple[Rule, ...]]:
    """The rules of each node that needs some.

    What is dropped is dropped where it arrives. What is rejected is rejected where it leaves: an answer from the far
    side would have to come through the very cut that it tells of. Clients' own side gets no rules: both of their
    directions are cut at the node.
    """
    rules: dict[str, list[Rule]] = {}
    if action == "reject":
        for source, target in cuts:
            if target == CLIENT:
                rules.setdefault(source, []).append(Rule(hook="OUTPUT", peer=addresses[CLIENT], verdict="answers"))
    for source, target in cuts:
        at_source = target == CLIENT or (action == "reject" and source != CLIENT)
        hook: Hook = "OUTPUT" if at_source else "INPUT"
        peer = addresses[target if at_source else source]
        rules.setdefault(source if at_source else target, []).append(Rule(hook=hook, peer=peer, verdict=action))
    return {node: tuple(each) for node, each in sorted(rules.items())}


@dataclass(kw_only=True, slots=True)
class Partition:
    """A set of cut directions."""

    pairs: tuple[Pair, ...]
    cluster: Cluster
    action: Action = "drop"
    clock: Callable[[], int] = time.monotonic_ns
    """Only for the evidence: how long it took until the rules were in force."""
    _name: str = field(init=False)
    _firewalls: dict[str, Firewall] = field(init=False)
    _dirty: set[str] = field(default_factory=set, init=False)
    """Nodes whose rules are in, or may be."""

    def __post_init__(self) -> None:
        self._name = self.cluster.links.cuts.new_holder("cut")
        rules = rules_of(self.pairs, self.cluster.links.addresses, self.action)
        nodes, links = self.cluster.nodes, self.cluster.links
        self._firewalls = {name: Firewall(nodes[name], links, self._name, each) for name, each in rules.items()}

    async def inject(self) -> Proof:
        """Cuts; holds if every cut direction is blocked, every other that was open is open, and senders are refused if
        they are to be.
        """
        begin_ns = self.clock()
        probe, cuts = self.cluster.links.probe, self.cluster.links.cuts
        mark = cuts.mark()
        looked_at = [
            pair
            for pair in {**dict.fromkeys(self._every_pair()), **dict.fromkeys(self.pairs)}
            if pair not in cuts.union()
        ]
        before, _ = await asyncio.gather(probe(looked_at, timeout_s=BLOCKED_TIMEOUT_S), self._register())
        cuts.enter(self._name, self.pairs)
        self._dirty.update(self._firewalls)
        deed_ns = self.clock()
        await self._apply()
        force_ns = self.clock()
        answers = await self._knock()
        open_before = [pair for pair in looked_at if before[pair] and pair not in self.pairs]
        unshown = [pair for pair in self.pairs if not before.get(pair)]
        cut, spared, lacking = await asyncio.gather(
            probe(self.pairs, timeout_s=BLOCKED_TIMEOUT_S),
            probe(open_before, timeout_s=OPEN_TIMEOUT_S),
            self._without_rules(unshown),
        )
        leaking = [pair for pair in self.pairs if cut[pair]]
        collateral = [pair for pair in open_before if not spared[pair] and pair not in cuts.since(mark)]
        evidence = {
            "blocked": [pair for pair in self.pairs if not cut[pair]],
            "leaking": leaking,
            "closed_beside": collateral,
            **({"closed_before": unshown, "rules_not_there": lacking} if unshown else {}),
            **answers,
            "means": sorted({each.means for each in self._firewalls.values()}),
            "deed_ms": (force_ns - deed_ns) / 1e6,
            "in_force_ms": (force_ns - begin_ns) / 1e6,
        }
        wrong = leaking or collateral or lacking or answers.get("not_refused")
        return Proof(holds=not wrong, evidence=evidence)

    async def heal(self) -> Proof:
        """Takes the rules out; holds if every direction that this fault cut is open, but for those that another still
        cuts.
        """
        stopped = {name: self._firewalls[name].packets() for name in sorted(self._dirty)}
        errors = [error for error in await asyncio.gather(*map(self._remove, sorted(self._dirty))) if error]
        cuts = self.cluster.links.cuts
        if not errors:
            cuts.leave(self._name)
        excused, mark = cuts.union(), cuts.mark()
        freed = [pair for pair in self.pairs if pair not in excused]
        seen = await self.cluster.links.probe(freed, timeout_s=OPEN_TIMEOUT_S)
        closed = [pair for pair in freed if not seen[pair] and pair not in cuts.since(mark)]
        if not errors and not closed:
            await asyncio.gather(*(self.cluster.undo.discharge(each.undo.id) for each in self._firewalls.values()))
        evidence = {"open": [pair for pair in freed if seen[pair]], "closed": closed, "errors": errors}
        if counted := {name: count for name, count in stopped.items() if count is not None}:
            evidence["packets_stopped"] = counted  # the probe's own among them
        return Proof(holds=not errors and not closed, evidence=evidence)

    def _every_pair(self) -> list[Pair]:
        names = self.cluster.links.addresses
        return [(source, target) for source in names for target in names if source != target]

    async def _register(self) -> None:
        await asyncio.gather(*(self.cluster.undo.register(each.undo) for each in self._firewalls.values()))

    async def _without_rules(self, pairs: Sequence[Pair]) -> list[str]:
        """Of the nodes that should have rules for these directions, those whose kernel does not tell them."""
        names = list(rules_of(pairs, self.cluster.links.addresses, self.action))
        in_force = await asyncio.gather(*(self._firewalls[name].is_in_force() for name in names))
        return [name for name, each in zip(names, in_force, strict=True) if not each]

    async def _apply(self) -> None:
        """First all that take no waiting, then commands, side by side."""
        slow = [firewall for firewall in self._firewalls.values() if not firewall.apply_at_once()]
        await asyncio.gather(*(firewall.apply() for firewall in slow))

    async def _remove(self, name: str) -> str | None:
        """Takes a node's rules out. Returns what went wrong."""
        error = await self._firewalls[name].remove()
        if error is None:
            self._dirty.discard(name)
        return error

    async def _knock(self) -> dict[str, Any]:
        """Whether senders are told at once that they do not get through, as a rejecting firewall does, or learn
        nothing, as with a cable that was pulled. Asked before the links are probed: a kernel tells an address of a
        refused datagram six times, then once a second (net.ipv4.icmp_ratelimit), and a probe sends more than that.
        """
        if self.action == "drop":
            return {}
        answers = await knock(self.cluster, self.pairs)
        refused = [pair for pair, answer in answers.items() if answer == REFUSED]
        return {"refused": refused, "not_refused": [[*pair, answers[pair]] for pair in answers if pair not in refused]}


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
            "action": parameters.action,
            "targets": list(targets or division.centre() or nodes),
            "sides": [list(division.first), list(division.second)] if division.first else [],
            "bridge": division.bridge,
            "cuts": [list(pair) for pair in cuts],
        }

    def summary(self, resolved: Resolved) -> str:
        """Who is cut from whom."""
        return self._who(resolved) + ("; senders are refused" if resolved.get("action") == "reject" else "")

    def _who(self, resolved: Resolved) -> str:
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
        return Partition(pairs=pairs, cluster=cluster, action=resolved.get("action", "drop"))

    def draw(self, random: Random, nodes: tuple[str, ...]) -> PartitionParameters:
        """Any shape that so many nodes allow, the isolated leader most often; one-way in two of five cases, rejected in
        one of four.
        """
        direction: Direction = random.choice(("both", "both", "both", "in", "out"))
        action: Action = random.choice(("drop", "drop", "drop", "reject"))
        shapes: list[Shape] = ["isolate", "isolate", "halves", "link", "random"]
        shapes += ["bridge"] if len(nodes) >= 3 else []
        shapes += ["majorities-ring", "minority-third"] if len(nodes) >= 4 else []
        shape = random.choice(shapes)
        if shape not in SIDED:
            return PartitionParameters(shape=shape, action=action)
        target = random.choice(("leader", "leader", "one")) if shape in ("isolate", "link", "minority-third") else None
        return PartitionParameters(shape=shape, target=target, direction=direction, action=action)
