"""``network``: what travels over links is delayed, lost, copied, reordered, spoiled or squeezed through a rate.

Parameters are netem's (:mod:`faults.packets.impairment`). The links are those between the targets and their
``peers``, both ways or one; links of clients only with ``clients: true``. Each direction of a link is shaped on its
own, so a round trip takes two delays. Two means do the same:

* ``tc netem`` where a packet leaves (:mod:`faults.packets.netem`), if the sending node's kernel has ``sch_netem``;
* a stand-in in Python where it arrives (:mod:`faults.packets.queues`), for other kernels, for what clients send
  (nothing is ever put on their side), and where ``tc`` refuses (newer kernels have no copies beside other netems on
  one device).

A link is shaped by one network fault at a time; a later one leaves it alone, and says so
(:mod:`faults.packets.shaped`).

Proof of the bite: bursts of the harness's own datagrams, timed one way by one clock, take as long as asked over each
shaped link, are lost, copied and reordered in the share that was asked (exact tails, :mod:`faults.packets.journeys`),
went through the queues that were put there (their counters say), and take over every other link what they took before.
Proof of healing: nothing of it is left in any namespace, and bursts travel as before.

Not covered: traffic that is not IPv4; a share too small to be proved by a burst is said to be so, and rests on the
counters. Sources: field notes 3a; ``sch_netem.c``.
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal

from pydantic import model_validator

from faults.cuts import CLIENT, Pair
from faults.family import Claim, Resolved, Target, Unprepared, check_targets
from faults.needs import Cluster
from faults.packets.impairment import EFFECTS, Impairment
from faults.packets.shaping import Network

Direction = Literal["both", "in", "out"]


class NetworkParameters(Impairment):
    """What happens on which links. ``in`` and ``out`` are seen from the targets. With nothing said: 50 ms +- 10 ms."""

    target: Target = "one"
    peers: Target = "all"
    """The other ends: ``all`` other nodes, ``one`` drawn at random, or names."""
    direction: Direction = "both"
    clients: bool = False
    """Whether the links between targets and clients are shaped, too."""

    @model_validator(mode="before")
    @classmethod
    def _say_something(cls, data: Any) -> Any:
        if isinstance(data, dict) and not set(data) & set(EFFECTS):
            return {**data, "delay": "50ms", "jitter": "10ms"}
        return data

    @model_validator(mode="after")
    def _check_effect(self) -> NetworkParameters:
        if self.does_nothing():
            raise ValueError("no packet would notice: say a delay, a loss, a rate, ... that is not 0")
        return self


class NetworkFamily(Unprepared):
    """See the module."""

    name = "network"
    description = "packets on links are delayed, lost, copied, reordered, spoiled or squeezed through a rate"
    Parameters = NetworkParameters
    needs = frozenset({"network"})
    claims: frozenset[Claim] = frozenset({"network"})

    def resolve(self, parameters: Any, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random) -> Resolved:
        """The shaped directions, what happens there, and a seed for it."""
        check_targets(targets, nodes)
        pairs: dict[Pair, None] = {}
        for target in targets:
            for peer in self._peers(parameters, target, nodes, random):
                directions = {"in": [(peer, target)], "out": [(target, peer)]}
                both = [*directions["in"], *directions["out"]]
                pairs |= dict.fromkeys(directions.get(parameters.direction, both))
        return {
            "targets": list(targets),
            "links": sorted(list(pair) for pair in pairs),
            "impairment": parameters.model_dump(mode="json", include=set(EFFECTS)),
            "seed": random.getrandbits(32),
        }

    def _peers(self, parameters: Any, target: str, nodes: tuple[str, ...], random: Random) -> list[str]:
        others = [node for node in nodes if node != target]
        if parameters.peers == "one":
            chosen = [random.choice(others)] if others else []
        elif parameters.peers == "all":
            chosen = others
        else:
            named = [parameters.peers] if isinstance(parameters.peers, str) else list(parameters.peers)
            if unknown := [name for name in named if name not in nodes]:
                raise ValueError(f"peers: {', '.join(unknown)} is no node; there are all, one, {', '.join(nodes)}")
            chosen = [name for name in others if name in named]
        ends = chosen + ([CLIENT] if parameters.clients else [])
        if not ends:
            raise ValueError(f"{target} has no link to shape: name other nodes as peers")
        return ends

    def summary(self, resolved: Resolved) -> str:
        """What happens on which links."""
        impairment = Impairment.model_validate(resolved["impairment"])
        links = {(source, target) for source, target in resolved["links"]}
        both = sorted({tuple(sorted(pair)) for pair in links if pair[::-1] in links})
        single = sorted(pair for pair in links if pair[::-1] not in links)
        words = [f"{one}-{other}" for one, other in both] + [f"{source} to {target}" for source, target in single]
        return f"{impairment.words()} on {', '.join(words)}"

    def build(self, resolved: Resolved, cluster: Cluster) -> Network:
        """The fault.

        Raises:
            ValueError: an endpoint of it is not known here.
        """
        pairs = tuple((source, target) for source, target in resolved["links"])
        if unknown := sorted({name for pair in pairs for name in pair} - set(cluster.links.addresses)):
            known = ", ".join(cluster.links.addresses)
            raise ValueError(f"cannot shape links of {', '.join(unknown)}: known endpoints are {known}")
        impairment = Impairment.model_validate(resolved["impairment"])
        return Network(pairs=pairs, impairment=impairment, cluster=cluster, seed=resolved["seed"])

    def draw(self, random: Random, nodes: tuple[str, ...]) -> NetworkParameters:
        """Slow links most often, then bad ones; on one node or one link, mostly both ways."""
        del nodes
        said: dict[str, Any] = random.choice(DRAWN)(random)
        said["target"] = random.choice(("one", "one", "leader", "minority"))
        said["peers"] = random.choice(("all", "all", "one"))
        said["direction"] = random.choice(("both", "both", "both", "in", "out"))
        return NetworkParameters.model_validate(said)


def _slow(random: Random) -> dict[str, Any]:
    delay = random.choice((5, 20, 50, 100, 300))
    return {"delay": f"{delay}ms", "jitter": f"{delay // 5}ms"}


def _heavy_tailed(random: Random) -> dict[str, Any]:
    return {"delay": f"{random.choice((20, 50))}ms", "jitter": "20ms", "distribution": "pareto"}


def _lossy(random: Random) -> dict[str, Any]:
    return {"loss": f"{random.choice((1, 5, 20, 40))}%"}


def _disorderly(random: Random) -> dict[str, Any]:
    return {"delay": "20ms", "jitter": "5ms", "reorder": f"{random.choice((10, 25))}%", "duplicate": "10%"}


def _spoiled(random: Random) -> dict[str, Any]:
    return {"corrupt": f"{random.choice((1, 5))}%", "duplicate": "2%"}


def _narrow(random: Random) -> dict[str, Any]:
    return {"rate": random.choice(("256kbit", "1mbit", "5mbit"))}


DRAWN = (_slow, _slow, _slow, _heavy_tailed, _lossy, _lossy, _disorderly, _spoiled, _narrow)
"""Kinds of bad links, as often as they are drawn."""
