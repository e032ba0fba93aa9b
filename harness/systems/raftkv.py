"""``raftkv``: the Raft key-value store that ships with Capsize, as a system under test.

It is started as a command and spoken to through the client library that it ships: this module is the only door.
:meth:`RaftkvClient.invoke` is the one place that decides what an answer means.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from checkers.operation import Outcome
from checkers.runs.logs import LogPattern
from faults.needs import Admin, MessageRule, Messages, MessagesError, MessageTally
from harness.clients import Completion, Invocation
from harness.durations import Duration, parse_duration
from harness.substrates.protocol import Image, Launch, Place
from harness.systems.protocol import DATE_TIMEOUT_S, NodeStatus, PlantedBug
from harness.systems.raftkv_promises import RAFTKV_PROMISES
from node import client as kv
from node.zoo import BUGS

PEER_PORT = 7001
CLIENT_PORT = 7000
MODULES = ("google.protobuf", "grpc", "msgspec", "orjson", "uvloop")
"""What a node imports beyond the standard library (``compose/node.lock``)."""
ATTEMPTS_MAX = 8
MESSAGES_TIMEOUT_S = 1.0
PAUSE_S = (0.03, 0.15)
"""Between attempts, when nobody said whom to ask: random in this range, so that clients do not come back all at once.
"""


def range_s(text: str) -> tuple[float, float]:
    """Both ends of a range of durations, in seconds."""
    low, _, high = text.partition("-")
    return parse_duration(low) / 1e9, parse_duration(high) / 1e9


def _check_range(value: object) -> str:
    low, dash, high = str(value).partition("-")
    if not dash:
        raise ValueError(f"{value!r} is not a range of durations; write 500ms-1000ms")
    if not 0 < parse_duration(low) < parse_duration(high):
        raise ValueError(f"{value!r}: the first duration must be positive and shorter than the second")
    return str(value)


DurationRange = Annotated[str, BeforeValidator(_check_range)]


class RaftkvOptions(BaseModel):
    """What a scenario may say under ``options``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    election_timeout: DurationRange = "500ms-1000ms"
    """Five Python nodes and a client on two cores flap with the paper's 150-300 ms (measured)."""
    heartbeat: Duration = 100_000_000
    snapshot_entries: int = Field(default=10_000, ge=1)
    attempt_timeout: Duration = 1_000_000_000
    """One attempt of a client at one node."""
    operation_budget: Duration = 4_000_000_000
    """No new attempt is begun after this."""
    retry_pause: DurationRange = "50ms-400ms"
    """Random pause after an attempt in doubt. A retry that comes late is the one that a store which forgets what it has
    applied lays over somebody else's write.
    """


@dataclass(slots=True)
class RaftkvMessages:
    """Single messages, by the hook in the nodes' transport. Implements :class:`faults.needs.Messages`."""

    library: kv.KvClient

    async def set(self, node: str, rule: MessageRule, *, lasts_s: float) -> Sequence[MessageTally]:
        """See the protocol."""
        theirs = _to_node(rule, node)
        if rule.peers and not theirs.peers:
            raise MessagesError(f"{node} sends no messages to itself")
        return await self._ask(node, rule=theirs, lasts_s=lasts_s)

    async def clear(self, node: str, name: str) -> Sequence[MessageTally]:
        """See the protocol."""
        return await self._ask(node, clear=(name,))

    async def _ask(
        self, node: str, *, rule: kv.Rule | None = None, lasts_s: float = 0.0, clear: Iterable[str] = ()
    ) -> Sequence[MessageTally]:
        try:
            tallies = await self.library.interfere(node, MESSAGES_TIMEOUT_S, rule=rule, lasts_s=lasts_s, clear=clear)
        except kv.KvError as error:
            raise MessagesError(str(error)) from None
        return [MessageTally(rule=_from_node(tally.rule), matched=tally.matched, hits=tally.hits) for tally in tallies]


def _to_node(rule: MessageRule, node: str) -> kv.Rule:
    return kv.Rule(
        name=rule.name,
        action=cast(kv.Action, rule.action),
        types=frozenset(rule.types),
        peers=frozenset(rule.peers) - {node},
        directions=frozenset(cast(Sequence[kv.Direction], rule.directions)),
        delay_s=rule.delay_ns / 1e9,
        probability=rule.probability,
        count=rule.count or 0,
    )


def _from_node(rule: kv.Rule) -> MessageRule:
    return MessageRule(
        name=rule.name,
        action=rule.action,
        types=tuple(sorted(rule.types)),
        peers=tuple(sorted(rule.peers)),
        directions=tuple(sorted(rule.directions)),
        delay_ns=round(rule.delay_s * 1e9),
        probability=rule.probability,
        count=rule.count or None,
    )


@dataclass(slots=True)
class RaftkvSession:
    """Connections of one run, shared by all its clients."""

    client_library: kv.KvClient
    nodes: Sequence[str]
    options: RaftkvOptions
    admin: Admin | None = None
    messages: Messages | None = None

    async def status(self, node: str, *, timeout_s: float) -> NodeStatus | None:
        """What the node says of itself; None if it does not."""
        try:
            status = await self.client_library.status(node, timeout_s)
        except kv.KvError:
            return None
        return NodeStatus(
            leader=status.leader,
            leads=status.role == "leader",
            term=status.term,
            commit=status.commit,
            applied=status.applied,
        )

    @property
    def date_precision_s(self) -> float:
        """Nodes tell nanoseconds."""
        return 0.0

    async def date(self, node: str) -> float | None:
        """What the node's own clock shows."""
        try:
            status = await self.client_library.status(node, DATE_TIMEOUT_S)
        except kv.KvError:
            return None
        return status.wall_ns / 1e9

    def client(self, process: int, node: str) -> RaftkvClient:
        """A client with a session of its own."""
        return RaftkvClient(
            library=self.client_library,
            nodes=self.nodes,
            pinned=node,
            options=self.options,
            random=random.Random(process),
        )

    async def close(self) -> None:
        """Ends all connections."""
        await self.client_library.close()


@dataclass(slots=True, kw_only=True)
class _Attempts:
    """What became of an operation's attempts so far."""

    made: int = 0
    doubt: str | None = None
    """Why an attempt may have taken effect without our knowing; None while every failure was definite."""
    error: str = "no attempt was made"
    node: str = ""


@dataclass(slots=True, kw_only=True)
class RaftkvClient:
    """One process. Its first attempt always goes to the node that it is pinned to, so that the stale side of a
    partition is really asked.
    """

    library: kv.KvClient
    nodes: Sequence[str]
    pinned: str
    options: RaftkvOptions
    random: random.Random
    session: int = 0
    sequence: int = 0
    attempts: _Attempts = field(default_factory=_Attempts)

    async def invoke(self, invocation: Invocation) -> Completion:
        """Attempts with one session and sequence number until an answer, a limit, or the budget's end.

        ``ok``: a node answered so. ``fail``: every attempt certainly had no effect. ``info``: some attempt may have
        had one, whatever a later one was told: sessions are what is being tested, so they are not trusted to settle
        it. A read has no effect, so one without an answer is a ``fail``.
        """
        self.attempts = attempts = _Attempts(node=self.pinned)
        operation = _operation(invocation)
        self.sequence += 1
        deadline = asyncio.get_running_loop().time() + self.options.operation_budget / 1e9
        while attempts.made < ATTEMPTS_MAX and asyncio.get_running_loop().time() < deadline:
            done = await self._attempt(operation)
            if done is not None:
                return self._answered(invocation, done)
        doubt = attempts.doubt if invocation.f != "read" else None
        if doubt is not None:
            return self._completion(Outcome.INFO, invocation.value, doubt)
        return self._completion(Outcome.FAIL, invocation.value, attempts.error)

    async def close(self) -> None:
        """Nothing: the connections are the session's."""

    async def _attempt(self, operation: kv.Operation) -> kv.Done | None:
        """One attempt at the present node; None if it failed, and then the next node is chosen."""
        attempts = self.attempts
        attempts.made += 1
        timeout_s = self.options.attempt_timeout / 1e9
        try:
            if not self.session and not isinstance(operation, kv.Get):
                await self._open_session(timeout_s)
                return None
            return await self.library.execute(
                attempts.node, operation, timeout_s, session=self.session, sequence=self.sequence
            )
        except kv.NotLeaderError as error:
            attempts.error = str(error)
            await self._go_on(error.leader, PAUSE_S)
        except kv.SessionExpiredError as error:
            attempts.error, self.session = str(error), 0
            if attempts.doubt is not None:  # under a new session the store could not tell a retry from a new write
                attempts.made = ATTEMPTS_MAX
        except kv.DefiniteError as error:
            attempts.error = str(error)
            await self._go_on(None, PAUSE_S)
        except kv.IndefiniteError as error:
            attempts.doubt = attempts.error = str(error)
            await self._go_on(None, range_s(self.options.retry_pause))
        return None

    async def _open_session(self, timeout_s: float) -> None:
        """Opens the session before the first write. In doubt or not: nothing of the operation itself was sent."""
        try:
            self.session = await self.library.open_session(self.attempts.node, timeout_s)
            self.attempts.made -= 1
        except kv.IndefiniteError as error:
            raise kv.DefiniteError(f"no session: {error}") from error

    async def _go_on(self, leader: str | None, pause_s: tuple[float, float]) -> None:
        """To the leader that was named, at once; else to the next node after a pause."""
        attempts = self.attempts
        if leader in self.nodes and leader is not None and leader != attempts.node:
            attempts.node = leader
            return
        attempts.node = self.nodes[(list(self.nodes).index(attempts.node) + 1) % len(self.nodes)]
        await asyncio.sleep(self.random.uniform(*pause_s))

    def _answered(self, invocation: Invocation, done: kv.Done) -> Completion:
        if invocation.f == "read":
            return self._completion(Outcome.OK, _decode(done.value), None)
        if done.applied:
            return self._completion(Outcome.OK, invocation.value, None)
        observed = f"mismatch: the value was {_decode(done.value)}"
        if self.attempts.doubt is not None:
            return self._completion(Outcome.INFO, invocation.value, f"{self.attempts.doubt}; then {observed}")
        return self._completion(Outcome.FAIL, invocation.value, observed)

    def _completion(self, outcome: Outcome, value: Any, error: str | None) -> Completion:
        return Completion(outcome, value, error, {"node": self.attempts.node, "attempts": self.attempts.made})


def _operation(invocation: Invocation) -> kv.Operation:
    key = _key(invocation.key)
    match invocation.f:
        case "read":
            return kv.Get(key)
        case "write":
            return kv.Put(key, _encode(invocation.value))
        case "cas":
            expected, value = invocation.value
            return kv.CompareAndSet(key, None if expected is None else _encode(expected), _encode(value))
    raise ValueError(f"raftkv's client knows no operation {invocation.f!r}; known: read, write, cas")


def _key(key: Hashable) -> str:
    return str(key)


def _encode(value: object) -> bytes:
    return str(value).encode()


def _decode(value: bytes | None) -> int | str | None:
    """The number that was written. What is no number stays as it is: nobody wrote it, and the checker says so."""
    if value is None:
        return None
    text = value.decode("utf-8", "backslashreplace")
    return int(text) if text.isascii() and text.isdigit() else text


class Raftkv:
    """See the module."""

    name = "raftkv"
    title = "the Raft key-value store that ships with Capsize"
    traces = True
    workloads = frozenset({"register"})
    promises = RAFTKV_PROMISES
    abilities: frozenset[str] = frozenset({"message"})
    log_patterns: Sequence[LogPattern] = ()
    Options: type[BaseModel] = RaftkvOptions
    bugs: Mapping[str, PlantedBug] = {
        bug.name: PlantedBug(
            name=bug.name,
            what=bug.what,
            provoked_by=bug.provoked_by,
            observer=bug.observer,
            source=bug.source,
            row=bug.row,
        )
        for bug in BUGS.values()
    }

    def missing(self, options: Any) -> Sequence[str]:
        """Nothing: it ships with Capsize."""
        del options
        return ()

    def image(self, options: Any) -> Image | None:
        """Python, what the node imports, and the node."""
        del options
        return Image(target="raftkv", tag="capsize/raftkv")

    def launch(
        self,
        place: Place,
        places: Mapping[str, Place],
        options: Any,
        *,
        seed: int,
        bug: str | None,
        announce_bug: str | None,
        hooks: frozenset[str] = frozenset(),
    ) -> Launch:
        """``python -m node`` with every node's addresses."""
        nodes = [
            word
            for other in places.values()
            for word in ("--node", f"{other.name}={other.address}:{PEER_PORT}:{CLIENT_PORT}")
        ]
        low_s, high_s = range_s(options.election_timeout)
        timing = [
            f"--election-timeout-ms={round(low_s * 1000)}-{round(high_s * 1000)}",
            f"--heartbeat-ms={options.heartbeat // 1_000_000}",
        ]
        hooked = [word for hook in sorted(hooks) for word in ("--hook", hook)]
        planted = [*(("--bug", bug) if bug else ()), *(("--announce-bug", announce_bug) if announce_bug else ())]
        own = ["--name", place.name, "--data", place.data_dir, "--log", place.log_dir, "--seed", str(seed)]
        argv = [
            place.python,
            "-m",
            "node",
            *own,
            *nodes,
            *timing,
            "--snapshot-entries",
            str(options.snapshot_entries),
            *hooked,
            *planted,
        ]
        return Launch(argv=argv, packages=("node",), modules=MODULES)

    def session(self, addresses: Mapping[str, str], options: Any) -> RaftkvSession:
        """Connections to all nodes."""
        library = kv.KvClient({name: f"{address}:{CLIENT_PORT}" for name, address in addresses.items()})
        return RaftkvSession(library, tuple(addresses), options, messages=RaftkvMessages(library))


RAFTKV = Raftkv()

__all__ = ["RAFTKV", "RaftkvClient", "RaftkvOptions", "RaftkvSession"]
