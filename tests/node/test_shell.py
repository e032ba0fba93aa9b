"""The event loop that obeys the core: duties in order, timers that can't be lost, failures that end the node."""

from __future__ import annotations

import asyncio
import errno
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from node import kv_pb2
from node.durable.storage import Change, Storage
from node.machine import Machine
from node.network.transport import Address, Transport
from node.observing.trace import Trace
from node.raft.core import Raft
from node.raft.messages import (
    Adoption,
    Configuration,
    InstallSnapshot,
    Message,
    Ready,
    RequestVote,
    Snapshot,
    SnapshotReply,
)
from node.raft.timing import MS, Timing
from node.shell import Shell
from tests.node.addresses import free_ports

QUICK = Timing(
    election_ns_min=20 * MS,
    election_ns_max=40 * MS,
    first_election_ns_min=1 * MS,
    first_election_ns_max=2 * MS,
    heartbeat_ns=5 * MS,
)


class FailingStorage(Storage):
    """A disk whose sync fails from a given write on."""

    failing = False

    def persist(self, changes: Sequence[Change]) -> None:
        if self.failing:
            raise OSError(errno.EIO, "the disk is gone")
        super().persist(changes)


class Recording(Transport):
    """Notes what is sent, to whomever."""

    def __init__(
        self, name: str, peers: Mapping[str, Address], received: Callable[[Message], None], sent: list[Message]
    ) -> None:
        super().__init__(name, peers, received)
        self._sent = sent

    def send(self, message: Message) -> None:
        self._sent.append(message)
        super().send(message)


class Running:
    """One node of a one-node cluster, in this process. ``sent`` is what it said to others."""

    def __init__(self, folder: Path, clock: Callable[[], int]) -> None:
        self.sent: list[Message] = []
        self.storage = FailingStorage(folder / "data")
        self.failures: list[BaseException] = []
        self.failed = asyncio.Event()
        self.trace = Trace(folder / "trace.jsonl", "n1")
        core = Raft(
            name="n1",
            voters=("n1",),
            recovered=self.storage.recovered,
            timing=QUICK,
            random=random.Random(1),
            now_ns=clock(),
        )
        machine = Machine()
        if self.storage.state is not None:
            machine.restore(self.storage.state)
        (port,) = free_ports(1)
        self.shell = Shell(
            core=core,
            machine=machine,
            storage=self.storage,
            trace=self.trace,
            transport_of=lambda received: Recording("n1", {"n1": Address("127.0.0.1", port)}, received, self.sent),
            snapshot_entries=10,
            failed=self._fail,
            clock=clock,
        )

    def _fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()

    async def wait_leader(self) -> None:
        async with asyncio.timeout(10):
            while True:
                status = self.shell.status(state_hash=False)
                if status.role == "leader" and status.applied == status.commit > 0:
                    return
                await asyncio.sleep(0.002)

    async def do(self, request: kv_pb2.ExecuteRequest) -> kv_pb2.Reply:
        return await self._answer(lambda answer: self.shell.execute(request, answer))

    async def session(self) -> int:
        return (await self._answer(self.shell.open_session)).session

    async def _answer(self, ask: Callable[[Callable[[kv_pb2.Reply], None]], None]) -> kv_pb2.Reply:
        future: asyncio.Future[kv_pb2.Reply] = asyncio.get_running_loop().create_future()
        ask(future.set_result)
        return await asyncio.wait_for(future, 10)


async def wait_until(true: Callable[[], object]) -> None:
    """Bounded by ten seconds."""
    async with asyncio.timeout(10):
        while True:
            if true():
                return
            await asyncio.sleep(0.002)


@asynccontextmanager
async def running(folder: Path, clock: Callable[[], int] = time.monotonic_ns) -> AsyncIterator[Running]:
    node = Running(folder, clock)
    await node.shell.start()
    try:
        yield node
    finally:
        await node.shell.stop()
        node.trace.close()
        node.storage.close()


def put(session: int, sequence: int, value: bytes) -> kv_pb2.ExecuteRequest:
    return kv_pb2.ExecuteRequest(session=session, sequence=sequence, key="k", put=kv_pb2.Put(value=value))


GET = kv_pb2.ExecuteRequest(key="k", get=kv_pb2.Get())


async def test_writes_reads_snapshots_and_a_restart(tmp_path: Path) -> None:
    """Everything works in one process too, and a second life remembers the first, sessions included."""
    async with running(tmp_path) as node:
        await node.wait_leader()
        session = await node.session()
        for sequence in range(1, 31):
            assert (await node.do(put(session, sequence, b"%d" % sequence))).outcome == kv_pb2.OK
        assert (await node.do(GET)).value == b"30"
        async with asyncio.timeout(10):
            while node.shell.status(state_hash=False).snapshot_index < 10:  # noqa: ASYNC110  # taken beside the loop
                await asyncio.sleep(0.002)
    async with running(tmp_path) as node:
        assert node.storage.recovered.snapshot.index >= 10
        await node.wait_leader()
        assert (await node.do(GET)).value == b"30"
        assert (await node.do(put(session, 30, b"again"))).outcome == kv_pb2.OK
        assert (await node.do(GET)).value == b"30"
        assert node.failures == []


async def test_a_timer_that_fires_early_is_not_lost(tmp_path: Path) -> None:
    """Loops count in milliseconds, so a timer may fire before the core's clock is there: the node must still wake up.

    Here the core's clock runs at half the loop's speed, so every timer is early. (Found as idle leaders that were
    deposed because their heartbeat timer was spent but taken for pending.)
    """
    async with running(tmp_path, clock=lambda: time.monotonic_ns() // 2) as node:
        await node.wait_leader()


async def test_a_failed_sync_ends_the_node_and_nobody_gets_an_answer(tmp_path: Path) -> None:
    """Nothing is acknowledged, nothing is tried again; the error reaches the owner once."""
    async with running(tmp_path) as node:
        await node.wait_leader()
        session = await node.session()
        node.storage.failing = True
        answers: list[kv_pb2.Reply] = []
        node.shell.execute(put(session, 1, b"lost"), answers.append)
        await asyncio.wait_for(node.failed.wait(), 10)
        node.shell.execute(put(session, 2, b"later"), answers.append)
        assert [reply.outcome for reply in answers] == [kv_pb2.UNKNOWN, kv_pb2.STOPPING]
        assert [type(error) for error in node.failures] == [OSError]


async def test_stopping_answers_what_waits(tmp_path: Path) -> None:
    """A write in the log is in doubt, a new one certainly did not happen."""
    async with running(tmp_path) as node:
        await node.wait_leader()
        session = await node.session()
        answers: list[kv_pb2.Reply] = []
        node.shell.execute(put(session, 1, b"x"), answers.append)
        await node.shell.stop()
        node.shell.execute(put(session, 2, b"y"), answers.append)
        assert [reply.outcome for reply in answers] == [kv_pb2.STOPPING, kv_pb2.STOPPING]


async def test_the_trace_is_on_disk_before_the_reply(tmp_path: Path) -> None:
    """At the moment of the answer, the file already tells of append, sync, commit, apply and acknowledgement."""
    async with running(tmp_path) as node:
        await node.wait_leader()
        session = await node.session()
        seen: asyncio.Future[set[str]] = asyncio.get_running_loop().create_future()

        def answer(reply: kv_pb2.Reply) -> None:
            lines = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
            seen.set_result({line["event"] for line in lines if about(line, reply.index)})

        node.shell.execute(put(session, 1, b"x"), answer)
        assert await asyncio.wait_for(seen, 10) == {"append", "durable", "commit", "apply", "ack"}


def about(line: dict[str, object], index: int) -> bool:
    entries = line.get("entries")
    return line.get("index") == index or (isinstance(entries, list) and any(entry[0] == index for entry in entries))


async def test_every_vote_is_traced_though_several_are_given_in_one_turn(tmp_path: Path) -> None:
    """After a pause requests of several terms lie in the inbox: each answer gives a vote away, so each vote is told."""
    async with running(tmp_path) as node:
        for term, candidate in ((5, "n2"), (6, "n3")):
            node.shell.receive(RequestVote(source=candidate, target="n1", term=term, last_index=9, last_term=4))
        await node.wait_leader()
    lines = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    votes = [(line["term"], line["for"]) for line in lines if line["event"] == "vote"]
    assert [vote for vote in votes if vote[1] != "n1"] == [(5, "n2"), (6, "n3")]


async def test_commits_and_configurations_are_traced_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    """A leader that left a joint configuration may commit more within the turn: counted by the new one, told behind."""
    old, new = Configuration(voters=("n1",), outgoing=("n2",)), Configuration(voters=("n1",))
    async with running(tmp_path) as node:
        node.shell._tell(Ready(configurations=(Adoption(8, old, None), Adoption(9, new, 8)), commit=8))
        node.shell._tell(Ready(configurations=(Adoption(11, old, 9), Adoption(12, new, 9)), commit=10))
    lines = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    told = [(line["event"], line["index"]) for line in lines if line["event"] in ("commit", "config")]
    first, second = told.index(("config", 8)), told.index(("commit", 9))
    assert told[first : first + 3] == [("config", 8), ("commit", 8), ("config", 9)]
    assert told[second : second + 4] == [("commit", 9), ("config", 11), ("config", 12), ("commit", 10)]


@pytest.mark.parametrize("failing", [False, True])
async def test_a_chunk_is_answered_once_its_term_is_durable(tmp_path: Path, *, failing: bool) -> None:
    """An answer tells the leader's term; a crash must not make the node forget a term that it has told."""
    async with running(tmp_path) as node:
        await node.wait_leader()
        node.storage.failing = failing
        taken = Snapshot(index=90, term=4, voters=("n1", "n2"))
        chunk = InstallSnapshot(
            source="n2", target="n1", term=5, snapshot=taken, offset=0, data=b"some of it", done=False
        )
        node.shell.receive(chunk)
        await wait_until(lambda: node.failures or node.sent)
        answers = [message for message in node.sent if isinstance(message, SnapshotReply)]
        assert [(one.term, one.next_offset) for one in answers] == ([] if failing else [(5, 10)])


async def test_what_was_recovered_is_told_as_durable(tmp_path: Path) -> None:
    """Before anything else happens: a kill may have cost the line that told of its sync, and from now on it is relied
    on.
    """
    async with running(tmp_path) as node:
        await node.wait_leader()
        last = (await node.do(put(await node.session(), 1, b"x"))).index
    (tmp_path / "trace.jsonl").unlink()
    async with running(tmp_path):
        pass
    begun = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()][:3]
    assert [line["event"] for line in begun] == ["start", "config", "durable"]
    assert begun[2]["index"] == begun[0]["last_index"] == last
    assert (begun[2]["term"], begun[2]["vote"]) == (begun[0]["term"], begun[0]["vote"])


async def test_a_torn_trace_line_is_ended_before_the_next_life(tmp_path: Path) -> None:
    """A kill may tear a line; the next incarnation's first line must not be glued to it."""
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b'{"time":1,"ev')
    async with running(tmp_path):
        pass
    torn, start, *_ = path.read_text().splitlines()
    assert torn == '{"time":1,"ev'
    assert json.loads(start)["event"] == "start"


@pytest.mark.parametrize("operation", [GET, put(1, 1, b"x")])
async def test_who_does_not_lead_refuses_at_once(tmp_path: Path, operation: kv_pb2.ExecuteRequest) -> None:
    """Before the first election nobody leads, and nothing is queued in hope."""
    async with running(tmp_path, clock=lambda: 0) as node:
        assert (await node.do(operation)).outcome == kv_pb2.NOT_LEADER
