"""``raftkv``: the Raft key-value store that ships with Capsize, as a system under test.

It is started as a command and spoken to through the client library that it ships: the modules ``raftkv*`` are the only
doors. :meth:`harness.systems.raftkv_client.RaftkvClient.invoke` is the one place that decides what an
answer means.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from checkers.runs.logs import LogPattern
from faults.needs import Admin, Messages
from harness.substrates.protocol import Image, Launch, Place
from harness.systems.protocol import ABILITIES, DATE_TIMEOUT_S, NodeStatus, PlantedBug, StateHash
from harness.systems.raftkv_admin import RaftkvAdmin
from harness.systems.raftkv_client import RaftkvClient
from harness.systems.raftkv_messages import RaftkvMessages
from harness.systems.raftkv_options import RaftkvOptions, range_s
from harness.systems.raftkv_promises import RAFTKV_PROMISES
from harness.workloads.protocol import READS
from node import client as kv
from node.zoo import BUGS

PEER_PORT = 7001
CLIENT_PORT = 7000
MODULES = ("google.protobuf", "msgspec", "orjson", "uvloop", "zstandard")
"""What a node imports beyond the standard library (``compose/node.lock``)."""


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

    async def state(self, node: str, *, timeout_s: float) -> StateHash | None:
        """Of all keys and sessions."""
        try:
            status = await self.client_library.status(node, timeout_s, state_hash=True)
        except kv.KvError:
            return None
        return StateHash(applied=status.applied, hash=status.state_hash or "")

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
            name=str(process),
        )

    async def close(self) -> None:
        """Ends all connections."""
        await self.client_library.close()


class Raftkv:
    """See the module."""

    name = "raftkv"
    title = "the Raft key-value store that ships with Capsize"
    traces = True
    states = True
    workloads = frozenset({"register", "set", "append", "list-append", "counter", "lock", "fenced-lock"})
    reads = frozenset(READS)
    promises = RAFTKV_PROMISES
    abilities: frozenset[str] = ABILITIES
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
        first_low_s, first_high_s = range_s(options.first_election_timeout)
        timing = [
            f"--first-election-timeout-ms={round(first_low_s * 1000)}-{round(first_high_s * 1000)}",
            f"--election-timeout-ms={round(low_s * 1000)}-{round(high_s * 1000)}",
            f"--heartbeat-ms={options.heartbeat // 1_000_000}",
        ]
        hooked = [word for hook in sorted(hooks) for word in ("--hook", hook)]
        planted = [*(("--bug", bug) if bug else ()), *(("--announce-bug", announce_bug) if announce_bug else ())]
        asked = [*(["--adaptive"] if options.adaptive else ()), *(["--health"] if options.health else ())]
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
            "--log-tail-entries",
            str(options.log_tail_entries),
            "--append-entries",
            str(options.append_entries),
            "--inflight-appends",
            str(options.inflight_appends),
            "--compress-bytes",
            str(options.compress_bytes),
            *asked,
            *hooked,
            *planted,
        ]
        return Launch(argv=argv, packages=("node",), modules=MODULES)

    def session(self, addresses: Mapping[str, str], options: Any) -> RaftkvSession:
        """Connections to all nodes."""
        library = kv.KvClient({name: f"{address}:{CLIENT_PORT}" for name, address in addresses.items()})
        nodes = tuple(addresses)
        return RaftkvSession(
            library,
            nodes,
            options,
            admin=RaftkvAdmin(library=library, nodes=nodes),
            messages=RaftkvMessages(library),
        )


RAFTKV = Raftkv()

__all__ = ["RAFTKV", "RaftkvClient", "RaftkvOptions", "RaftkvSession"]
