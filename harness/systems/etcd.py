"""``etcd``: a store that we did not write, as a system under test. Debian's 3.4 or PyPI's 3.5 (see
:mod:`harness.systems.etcd_programs`), spoken to over gRPC.

The register workload: a read is a linearizable Range (or, as a known-weak control, a serializable one), a write is a
Put, a compare-and-set is a Txn that compares the value. What a failed call means is decided in
:mod:`harness.systems.etcd_connection`; :meth:`EtcdClient.invoke` makes ``ok``, ``fail`` or ``info`` of it.

etcd has no sessions that would tell a retry from a new write. So a write is tried again only after an attempt that
certainly had no effect; the first doubt ends it as ``info``. A second attempt could make one write happen twice, with
somebody else's between: that would be our doing, and an alarm about nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from checkers.operation import Outcome
from checkers.runs.logs import LogPattern
from faults.needs import Messages
from harness.clients import Completion, Invocation
from harness.durations import Duration
from harness.errors import HarnessError
from harness.substrates.protocol import Image, Launch, Place
from harness.systems import etcd_pb2 as pb
from harness.systems.etcd_admin import EtcdAdmin, peer_url
from harness.systems.etcd_connection import EtcdConnection, EtcdError
from harness.systems.etcd_programs import find_etcd
from harness.systems.etcd_promises import ETCD_PROMISES, REMOVED_PANIC
from harness.systems.http_date import http_date
from harness.systems.protocol import DATE_TIMEOUT_S, NodeStatus, PlantedBug

CLIENT_PORT = 2379
ATTEMPTS_MAX = 8
PAUSE_S = (0.03, 0.15)
"""Between attempts: random in this range, so that clients do not come back all at once."""
PING_LEAST = "500ms"
"""How often clients may ping. etcd's 5 s would leave a connection over a link that was cut to TCP for too long."""
MIB = 1 << 20
EVERY_KEY = pb.Compare(key=b"\0", range_end=b"\0", target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=-1)
"""True of every key that there is; and of none, too."""


class EtcdOptions(BaseModel):
    """What a scenario may say under ``options``. None leaves it to etcd."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: str | None = Field(default=None, pattern=r"^[0-9]+\.[0-9]+(\.[0-9]+)?$")
    """Which of the installed ones; None: the first that is found."""
    binary: str | None = None
    """Path of the program, on the controller's machine."""
    heartbeat: Duration = 100_000_000
    election_timeout: Duration = 1_000_000_000
    snapshot_count: int | None = Field(default=None, ge=10)
    """Entries between two snapshots of the log."""
    pre_vote: bool | None = None
    strict_reconfig_check: bool | None = None
    """Whether nodes refuse changes of the membership while not everybody has been connected for 5 s; etcd: true."""
    quota_mib: int | None = Field(default=None, ge=1)
    unsafe_no_fsync: bool = False
    """Known weak: nothing is synced (3.5 only)."""
    serializable: bool = False
    """Known weak: reads ask no quorum and may be stale."""
    wide_compare: bool = False
    """Every write is a Txn that also compares all keys with something that is always true: work between the two steps
    in which etcd 3.5.0 to 3.5.2 apply an entry, which lose it on a node that is killed there (etcd-io/etcd#13766).
    """
    attempt_timeout: Duration = 2_000_000_000
    """One attempt of a client at one node."""
    operation_budget: Duration = 4_000_000_000
    """No new attempt is begun after this."""


@dataclass(slots=True)
class EtcdSession:
    """Connections of one run, shared by all its clients."""

    connections: Mapping[str, EtcdConnection]
    options: EtcdOptions
    admin: EtcdAdmin
    messages: Messages | None = None
    names: dict[int, str] = field(default_factory=dict)
    """Members seen so far. A node that comes back under a new identity has several."""

    async def state(self, node: str, *, timeout_s: float) -> None:
        """None: its hash is of a revision of the keys, which compaction moves, and not of what was applied."""

    async def status(self, node: str, *, timeout_s: float) -> NodeStatus | None:
        """What the node says of itself; None if it does not."""
        try:
            said = await self.connections[node].call(
                "Status", pb.StatusRequest(), pb.StatusResponse, timeout_s=timeout_s
            )
        except EtcdError:
            return None
        self.names[said.header.member_id] = node
        if said.leader and said.leader not in self.names:
            self.names |= {int(member.id, 16): member.node for member in await self.admin.members(node) or ()}
        return NodeStatus(
            leader=self.names.get(said.leader),
            leads=said.leader == said.header.member_id,
            term=said.raft_term,
            commit=said.raft_index,
            applied=said.raft_applied_index,
        )

    @property
    def date_precision_s(self) -> float:
        """HTTP dates are in whole seconds."""
        return 1.0

    async def date(self, node: str) -> float | None:
        """The date under which the server's HTTP side answers."""
        return await http_date(self.admin.addresses[node], CLIENT_PORT, timeout_s=DATE_TIMEOUT_S)

    def client(self, process: int, node: str) -> EtcdClient:
        """A client with a random stream of its own."""
        return EtcdClient(
            connections=self.connections, pinned=node, options=self.options, random=random.Random(process)
        )

    async def close(self) -> None:
        """Ends all connections."""
        await asyncio.gather(*(connection.close() for connection in self.connections.values()))


@dataclass(slots=True, kw_only=True)
class EtcdClient:
    """One process. Its first attempt always goes to the node that it is pinned to, so that the stale side of a
    partition is really asked.
    """

    connections: Mapping[str, EtcdConnection]
    pinned: str
    options: EtcdOptions
    random: random.Random
    node: str = ""
    attempts: int = 0

    async def invoke(self, invocation: Invocation) -> Completion:
        """Attempts until an answer, a doubt (of writes), a limit, or the budget's end.

        ``ok``: a node answered so. ``fail``: every attempt certainly had no effect; reads have none. ``info``: the
        last attempt may have had one.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.options.operation_budget / 1e9
        self.node, self.attempts = self.pinned, 0
        error = "no attempt was made"
        while self.attempts < ATTEMPTS_MAX and loop.time() < deadline:
            self.attempts += 1
            try:
                return await self._attempt(invocation)
            except EtcdError as trouble:
                error = str(trouble)
                if not trouble.definite and invocation.f != "read":
                    return self._completion(Outcome.INFO, invocation.value, error)
            await self._go_on()
        return self._completion(Outcome.FAIL, invocation.value, error)

    async def close(self) -> None:
        """Nothing: the connections are the session's."""

    async def _attempt(self, invocation: Invocation) -> Completion:
        key = str(invocation.key).encode()
        match invocation.f:
            case "read":
                return self._completion(Outcome.OK, await self._read(key), None)
            case "write":
                return await self._write(pb.PutRequest(key=key, value=_encode(invocation.value)), invocation)
            case "cas":
                return await self._compare_and_set(key, invocation)
        raise ValueError(f"etcd's client knows no operation {invocation.f!r}; known: read, write, cas")

    async def _read(self, key: bytes) -> int | str | None:
        request = pb.RangeRequest(key=key, serializable=self.options.serializable)
        return _value_in(await self._call("Range", request, pb.RangeResponse))

    async def _write(self, put: pb.PutRequest, invocation: Invocation) -> Completion:
        if not self.options.wide_compare:
            await self._call("Put", put, pb.PutResponse)
            return self._completion(Outcome.OK, invocation.value, None)
        request = pb.TxnRequest(compare=[EVERY_KEY], success=[pb.RequestOperation(put=put)])
        done = await self._call("Txn", request, pb.TxnResponse)
        outcome = Outcome.OK if done.succeeded else Outcome.FAIL
        return self._completion(outcome, invocation.value, None if done.succeeded else "version > -1 was untrue")

    async def _compare_and_set(self, key: bytes, invocation: Invocation) -> Completion:
        expected, value = invocation.value
        compare = pb.Compare(key=key, target=pb.Compare.VALUE, value=_encode(expected))
        if expected is None:
            compare = pb.Compare(key=key, target=pb.Compare.VERSION, version=0)
        request = pb.TxnRequest(
            compare=[compare, *([EVERY_KEY] if self.options.wide_compare else ())],
            success=[pb.RequestOperation(put=pb.PutRequest(key=key, value=_encode(value)))],
            failure=[pb.RequestOperation(range=pb.RangeRequest(key=key))],
        )
        done = await self._call("Txn", request, pb.TxnResponse)
        if done.succeeded:
            return self._completion(Outcome.OK, invocation.value, None)
        observed = _value_in(done.responses[0].range) if done.responses else "not told"
        return self._completion(Outcome.FAIL, invocation.value, f"mismatch: the value was {observed}")

    async def _call(self, method: str, request: Any, reply: Any) -> Any:
        """Asks the present node; one without a leader refuses at once, but for what needs none."""
        return await self.connections[self.node].call(
            method,
            request,
            reply,
            timeout_s=self.options.attempt_timeout / 1e9,
            needs_leader=method != "Range" or not self.options.serializable,
        )

    async def _go_on(self) -> None:
        """To the next node, after a pause."""
        names = list(self.connections)
        self.node = names[(names.index(self.node) + 1) % len(names)]
        await asyncio.sleep(self.random.uniform(*PAUSE_S))

    def _completion(self, outcome: Outcome, value: Any, error: str | None) -> Completion:
        return Completion(outcome, value, error, {"node": self.node, "attempts": self.attempts})


def _encode(value: object) -> bytes:
    return str(value).encode()


def _value_in(found: pb.RangeResponse) -> int | str | None:
    """The number that was written; None if there is no such key. What is no number stays as it is: nobody wrote it,
    and the checker says so.
    """
    if not found.kvs:
        return None
    text = found.kvs[0].value.decode("utf-8", "backslashreplace")
    return int(text) if text.isascii() and text.isdigit() else text


class Etcd:
    """See the module."""

    name = "etcd"
    title = "etcd 3.4 or 3.5, over gRPC"
    traces = False
    workloads = frozenset({"register"})
    reads = frozenset({"leader", "linearizable", "local"})
    promises = ETCD_PROMISES
    abilities: frozenset[str] = frozenset({"membership", "leadership"})
    log_patterns: Sequence[LogPattern] = (REMOVED_PANIC,)
    Options: type[BaseModel] = EtcdOptions
    bugs: Mapping[str, PlantedBug] = {}

    def missing(self, options: Any) -> Sequence[str]:
        """The program, if it is not there."""
        try:
            self._program(options)
        except HarnessError as error:
            return [str(error)]
        return []

    def image(self, options: Any) -> Image | None:
        """The program of this machine, in an image."""
        return Image(target="etcd", tag="capsize/etcd", programs={"etcd": self._program(options)})

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
        """``etcd`` as a member of a new cluster. Its data is in a folder of its own, which it makes itself: it wants to
        choose the permissions.
        """
        del seed, bug, announce_bug, hooks
        client_url = f"http://{place.address}:{CLIENT_PORT}"
        program = f"{place.programs}/etcd" if place.programs else self._program(options)
        argv = [
            program,
            f"--name={place.name}",
            f"--data-dir={place.data_dir}/etcd",
            f"--listen-peer-urls={peer_url(place.address)}",
            f"--initial-advertise-peer-urls={peer_url(place.address)}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--initial-cluster={','.join(f'{name}={peer_url(at.address)}' for name, at in places.items())}",
            "--initial-cluster-state=new",
            "--logger=zap",
            "--log-outputs=stderr",
            f"--grpc-keepalive-min-time={PING_LEAST}",
            *_settings(options),
        ]
        return Launch(argv=argv)

    def session(self, addresses: Mapping[str, str], options: Any) -> EtcdSession:
        """Connections to all nodes."""
        connections = {name: EtcdConnection(name, f"{address}:{CLIENT_PORT}") for name, address in addresses.items()}
        return EtcdSession(connections, options, EtcdAdmin(connections=connections, addresses=addresses))

    def _program(self, options: Any) -> str:
        return str(find_etcd(version=options.version, binary=options.binary))


def _settings(options: EtcdOptions) -> Sequence[str]:
    """Flags for what a scenario asks for; what it does not is left to etcd."""
    given = {
        "snapshot-count": options.snapshot_count,
        "quota-backend-bytes": None if options.quota_mib is None else options.quota_mib * MIB,
        "pre-vote": _word(options.pre_vote),
        "strict-reconfig-check": _word(options.strict_reconfig_check),
        "unsafe-no-fsync": _word(options.unsafe_no_fsync or None),
    }
    timing = [
        f"--heartbeat-interval={options.heartbeat // 1_000_000}",
        f"--election-timeout={options.election_timeout // 1_000_000}",
    ]
    return [*timing, *(f"--{name}={value}" for name, value in given.items() if value is not None)]


def _word(flag: bool | None) -> str | None:
    return None if flag is None else str(flag).lower()


ETCD = Etcd()

__all__ = ["ETCD", "EtcdClient", "EtcdOptions", "EtcdSession"]
