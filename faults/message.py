"""``message``: single messages of some nodes are dropped, delayed, doubled or overtaken, by type and peer.

Networks lose packets; this takes the one message that a proof turns on: the vote, the acknowledgement, a chunk of a
snapshot. It is done by a hook in the system's own transport (:class:`faults.needs.Messages`), which nodes have only
when they are started with it, so systems without one refuse the fault.

A rule lasts :data:`LEASE_S` and is renewed while the fault lasts. So it ends by itself, in the node, when the
controller dies or cannot reach the node; no undo is needed, and a node that starts again gets it again with the next
renewal. Proof of the bite: every target that runs tells the rule as in force. Whether messages of that type came by is
another matter: the evidence says how many did, and how many the rule took hold of; if it was none, the healing says
that the fault hit nothing. Proof of healing: every target tells
that the rule is gone, or its process is dead, or (of one that stands still or cannot be reached) the lease has run out.

Not covered: what happens to messages on the wire (``network``, ``partition``), and order across types when one type is
delayed is not kept, as on any network that reorders.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from faults.durations import Duration, format_duration
from faults.family import Claim, Parameters, Resolved, Setup, Target, Targeted, check_targets
from faults.needs import Cluster, MessageRule, Messages, MessagesError, MessageTally, NotNowError, ProcessState, Proof

LEASE_S = 3.0
RENEW_S = 0.5
RETRY_S = 0.2
PATIENCE_S = 3.0
"""With a node that runs and does not answer: it may just be starting."""
DELAY_NS = 50_000_000
DELAY_NS_MAX = 60_000_000_000

Action = Literal["drop", "delay", "duplicate", "reorder"]
Direction = Literal["out", "in", "both"]
Type = Literal[
    "AppendEntries",
    "AppendReply",
    "RequestVote",
    "VoteReply",
    "PreVote",
    "PreVoteReply",
    "InstallSnapshot",
    "SnapshotReply",
    "TimeoutNow",
    "ReadRequest",
    "ReadReply",
]
"""Names of messages, of which a system with a hook knows those that it has."""


PURPOSES: Mapping[str, Any] = {
    "elections": ("RequestVote", "VoteReply"),
    "pre-votes": ("PreVote", "PreVoteReply"),
    "replication": ("AppendEntries", "AppendReply"),
    "snapshots": ("InstallSnapshot", "SnapshotReply"),
    "others": ("TimeoutNow", "ReadRequest", "ReadReply"),
    "everything": "all",
}
"""What messages are for; a random schedule draws one of these, and often a single type of it."""
ONE_TYPE_SHARE = 0.5


class MessageParameters(Parameters):
    """Which messages, and what becomes of them."""

    target: Target = "one"
    type: Literal["all"] | Type | Annotated[tuple[Type, ...], Field(strict=False)] = "all"
    peers: str | Annotated[tuple[str, ...], Field(strict=False)] = "all"
    """``all``, ``one`` (drawn at random), or names."""
    direction: Direction = "both"
    """Messages that the target sends (``out``), receives (``in``), or both."""
    action: Action = "drop"
    delay: Duration | None = Field(default=None, le=DELAY_NS_MAX)
    """:data:`DELAY_NS`, unless said; ``drop`` has none."""
    probability: float = Field(default=1.0, gt=0, le=1)
    count: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.delay == 0 and self.action in ("delay", "reorder"):
            raise ValueError(f"{self.action} by nothing changes nothing: say e.g. delay: 50ms")
        if self.delay is not None and self.action == "drop":
            raise ValueError("`delay` goes with delay, duplicate and reorder, not with `action: drop`: leave one out")
        if () in (self.type, self.peers):
            raise ValueError("an empty list is no messages at all; leave it out for all")
        return self

    @property
    def delay_ns(self) -> int:
        """How long messages are held."""
        if self.action == "drop":
            return 0
        return DELAY_NS if self.delay is None else self.delay


@dataclass(slots=True)
class Tallies:
    """What a rule did at one node. A node that starts again counts from nothing: what was counted before is added."""

    matched: int = 0
    hits: int = 0
    _before: tuple[int, int] = (0, 0)
    confirmed_s: float | None = None
    """When the node told last that the rule is in force."""

    def note(self, tally: MessageTally, now_s: float) -> None:
        """What the node tells now."""
        if tally.matched < self.matched - self._before[0]:
            self._before = (self.matched, self.hits)
        self.matched, self.hits = self._before[0] + tally.matched, self._before[1] + tally.hits
        self.confirmed_s = now_s


@dataclass(kw_only=True, slots=True)
class MessageFault:
    """One rule in force at certain nodes."""

    targets: tuple[str, ...]
    rule: MessageRule
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] = field(default_factory=lambda: asyncio.get_running_loop().time)
    _tallies: dict[str, Tallies] = field(default_factory=dict, init=False)
    _trouble: dict[str, str] = field(default_factory=dict, init=False)
    _asked_s: dict[str, float] = field(default_factory=dict, init=False)
    """When each node was asked last to put the rule in force: it may have heard, whatever it answered."""
    _pids: dict[str, frozenset[int]] = field(default_factory=dict, init=False)
    """Each target's processes when it began: one that is killed takes with it what its rule had counted since we asked
    last.
    """
    _renewing: asyncio.Task[None] | None = field(default=None, init=False)

    async def inject(self) -> Proof:
        """Sets the rule; holds if every target that runs tells it as in force. One that is dead or stands still gets
        it when it is back; one that is just starting is waited for.

        Raises:
            NotNowError: none of the targets runs.
        """
        absent = await self._absent()
        if absent == set(self.targets):
            raise NotNowError(f"{', '.join(self.targets)} cannot be told a rule just now: dead, or stopped")
        self._tallies = {name: Tallies() for name in self.targets}
        self._pids = {name: frozenset(self.cluster.nodes[name].pids()) for name in self.targets}
        deadline_s = self.now() + PATIENCE_S
        await asyncio.gather(*map(self._set, self._unset()))
        while not self._unset() <= absent and self.now() < deadline_s:
            await self.sleep(RETRY_S)
            await asyncio.gather(*map(self._set, self._unset()))
            absent = await self._absent()
        self._renewing = asyncio.create_task(self._renew(), name="message fault")
        held = self._unset() <= absent and self._unset() < set(self.targets)
        evidence = {"in_force": self._in_force(), "absent": sorted(absent & self._unset()), **self._troubles()}
        return Proof(holds=held, evidence=evidence)

    async def heal(self) -> Proof:
        """Clears the rule; holds if it is in force nowhere."""
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
            self._renewing = None
        self._trouble.clear()
        ends = dict(zip(self.targets, await asyncio.gather(*map(self._clear, self.targets)), strict=True))
        counted = {name: {"matched": each.matched, "hits": each.hits} for name, each in self._tallies.items()}
        evidence = {"ended": ends, "counted": counted, **self._troubles()}
        idle = self._knows_all(ends) and not any(each.hits for each in self._tallies.values())
        return Proof(
            holds=all(end != "unknown" for end in ends.values()),
            evidence=evidence,
            hit_nothing="none of the messages that it is about came by" if idle else None,
        )

    def _knows_all(self, ends: Mapping[str, str]) -> bool:
        """Whether nothing that a rule counted can have been lost: every target was asked at the end, in the process in
        which it began.
        """
        same = all(self._pids[name] & frozenset(self.cluster.nodes[name].pids()) for name in self._tallies)
        return set(ends.values()) == {"cleared"} and same

    async def _renew(self) -> None:
        while True:
            await self.sleep(RENEW_S)
            await asyncio.gather(*map(self._set, self.targets))

    async def _set(self, name: str) -> None:
        try:
            self._asked_s[name] = self.now()
            tallies = await self._messages().set(name, self.rule, lasts_s=LEASE_S)
            self._note(name, tallies)
            self._trouble.pop(name, None)
        except MessagesError as error:
            self._trouble[name] = str(error)

    async def _clear(self, name: str) -> str:
        """How the rule ended at this node."""
        if name not in self._asked_s:
            return "never set"
        try:
            self._asked_s[name] = self.now()
            self._note(name, await self._messages().set(name, self.rule, lasts_s=LEASE_S))  # for what it counted
            left = await self._messages().clear(name, self.rule.name)
            return "unknown" if any(tally.rule.name == self.rule.name for tally in left) else "cleared"
        except MessagesError as error:
            self._trouble[name] = str(error)
        if await self.cluster.nodes[name].state() is ProcessState.DEAD:
            return "dead with the process"
        await self.sleep(max(0.0, self._asked_s[name] + LEASE_S - self.now()))
        return "run out"

    async def _absent(self) -> set[str]:
        """Targets that cannot answer: dead, or stopped by somebody else."""
        states = {name: await self.cluster.nodes[name].state() for name in self.targets}
        return {name for name, state in states.items() if state is not ProcessState.RUNNING}

    def _unset(self) -> set[str]:
        """Targets that have not told the rule as in force yet."""
        return {name for name, tallies in self._tallies.items() if tallies.confirmed_s is None}

    def _note(self, name: str, tallies: Sequence[MessageTally]) -> None:
        for tally in tallies:
            if tally.rule.name == self.rule.name:
                self._tallies[name].note(tally, self.now())

    def _in_force(self) -> dict[str, bool]:
        return {name: tallies.confirmed_s is not None for name, tallies in self._tallies.items()}

    def _troubles(self) -> dict[str, Any]:
        return {"trouble": dict(self._trouble)} if self._trouble else {}

    def _messages(self) -> Messages:
        if self.cluster.messages is None:
            raise MessagesError("the system has no hook for messages")
        return self.cluster.messages


class MessageFamily(Targeted):
    """See the module."""

    name = "message"
    description = "single messages of a node are dropped, delayed, doubled or overtaken, by type and peer"
    Parameters = MessageParameters
    needs = frozenset({"message"})
    claims: frozenset[Claim] = frozenset({"messages"})

    def setup(self, parameters: object) -> Setup:
        """Nodes with the hook."""
        del parameters
        return Setup(hooks=frozenset({"messages"}))

    def resolve(
        self, parameters: MessageParameters, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random
    ) -> Resolved:
        """The targets and the rule.

        Raises:
            ValueError: somebody among targets or peers is no node, or nobody is left to exchange messages with.
        """
        check_targets(targets, nodes)
        types = () if parameters.type == "all" else _tuple(parameters.type)
        return {
            "targets": list(targets),
            "types": list(types),
            "peers": _peers(parameters.peers, targets, nodes, random),
            "directions": ["out", "in"] if parameters.direction == "both" else [parameters.direction],
            "action": parameters.action,
            "delay_ns": parameters.delay_ns,
            "probability": parameters.probability,
            "count": parameters.count,
        }

    def summary(self, resolved: Resolved) -> str:
        """Which messages, and what becomes of them."""
        return f"{_which(resolved)} {_deed(resolved)}"

    def build(self, resolved: Resolved, cluster: Cluster) -> MessageFault:
        """The fault."""
        rule = MessageRule(
            name=f"capsize {secrets.token_hex(4)}",
            action=resolved["action"],
            types=tuple(resolved["types"]),
            peers=tuple(resolved["peers"]),
            directions=tuple(resolved["directions"]),
            delay_ns=resolved["delay_ns"],
            probability=resolved["probability"],
            count=resolved["count"],
        )
        return MessageFault(targets=tuple(resolved["targets"]), rule=rule, cluster=cluster)

    def draw(self, random: Random, nodes: tuple[str, ...]) -> MessageParameters:
        """Any action on messages of one purpose, of one type, or on all, mostly not on each of them. Purposes come
        first: most messages serve replication, and of those that decide an election there are few.
        """
        action = random.choice(get_args(Action))
        purpose = random.choice(tuple(PURPOSES))
        kind: str | tuple[str, ...] = PURPOSES[purpose]
        if random.random() < ONE_TYPE_SHARE and kind != "all":
            kind = random.choice(PURPOSES[purpose])
        probability = random.choice((0.1, 0.3, 0.5)) if kind == "all" else random.choice((0.3, 0.7, 1.0))
        target = random.choice(["one", "leader", "all"] + ["minority"] * (len(nodes) > 2))
        delay = f"{random.choice((5, 20, 100, 400, 1000))}ms"
        values = {"target": target, "type": kind, "action": action, "probability": probability}
        if action != "drop":
            values["delay"] = delay
        return MessageParameters.model_validate(values)


def _tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _peers(peers: str | tuple[str, ...], targets: tuple[str, ...], nodes: tuple[str, ...], random: Random) -> list[str]:
    """Names; none: all."""
    if peers == "all":
        return []
    if peers == "one":
        return [random.choice([node for node in nodes if node not in targets] or list(nodes))]
    named = _tuple(peers)
    check_targets(named, nodes)
    if set(named) == set(targets) and len(targets) == 1:
        raise ValueError(f"{targets[0]} sends no messages to itself: name another node under peers")
    return [node for node in nodes if node in named]


def _which(resolved: Resolved) -> str:
    types = " and ".join(resolved["types"]) or "messages"
    way = {("out",): "from", ("in",): "to"}.get(tuple(resolved["directions"]), "from and to")
    peers = f" (with {', '.join(resolved['peers'])})" if resolved["peers"] else ""
    share = f"{resolved['probability']:.0%} of " if resolved["probability"] < 1 else ""
    first = f"the first {resolved['count']} of " if resolved["count"] is not None else ""
    return f"{share}{first}{types} {way} {', '.join(resolved['targets'])}{peers}"


def _deed(resolved: Resolved) -> str:
    delay = format_duration(resolved["delay_ns"])
    deeds = {"drop": "dropped", "delay": f"delayed by {delay}", "duplicate": f"doubled, {delay} apart"}
    return deeds.get(resolved["action"], f"overtaken (within {delay})")
