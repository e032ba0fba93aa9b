"""``etcd``: a store that we did not write, as a system under test. Debian's 3.4 or PyPI's 3.5 (see
:mod:`harness.systems.etcd_programs`), spoken to over gRPC (:mod:`harness.systems.etcd_client`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from checkers.runs.logs import LogPattern
from faults.needs import Messages
from harness.errors import HarnessError
from harness.substrates.protocol import Image, Launch, Place
from harness.systems import etcd_pb2 as pb
from harness.systems.etcd_admin import EtcdAdmin, peer_url
from harness.systems.etcd_client import EtcdClient
from harness.systems.etcd_connection import EtcdConnection, EtcdError
from harness.systems.etcd_options import EtcdOptions
from harness.systems.etcd_programs import find_etcd
from harness.systems.etcd_promises import ETCD_PROMISES, REMOVED_PANIC
from harness.systems.http_date import http_date
from harness.systems.protocol import DATE_TIMEOUT_S, NodeStatus, PlantedBug

CLIENT_PORT = 2379
PING_LEAST = "500ms"
"""How often clients may ping. etcd's 5 s would leave a connection over a link that was cut to TCP for too long."""
MIB = 1 << 20


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
            connections=self.connections,
            pinned=node,
            options=self.options,
            random=random.Random(process),
            name=str(process),
        )

    async def close(self) -> None:
        """Ends all connections."""
        await asyncio.gather(*(connection.close() for connection in self.connections.values()))


class Etcd:
    """See the module."""

    name = "etcd"
    title = "etcd 3.4 or 3.5, over gRPC"
    traces = False
    states = False
    workloads = frozenset({"register", "set", "append", "list-append", "lock"})
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
