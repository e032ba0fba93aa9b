"""etcd's client has words for the workloads that etcd is run with: whole runs on a key-value store in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.message import Message

from checkers import History, Result, Validity
from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.fakes import VirtualLoop, run_virtual
from harness.interpreter import interpret
from harness.recorder import Recorder
from harness.systems import etcd_pb2 as pb
from harness.systems.etcd import ETCD
from harness.systems.etcd_client import EtcdClient
from harness.systems.etcd_connection import EtcdConnection, EtcdError
from harness.systems.etcd_options import EtcdOptions
from harness.workloads import WORKLOADS

NODES = ("n1", "n2", "n3")
WORKERS = 6


class Store:
    """Keys with revisions, as etcd keeps them."""

    def __init__(self) -> None:
        self.revision = 1
        self.keys: dict[bytes, tuple[bytes, int]] = {}
        self.ignores_comparisons = False

    def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        """One key."""
        if request.key not in self.keys:
            return pb.RangeResponse()
        value, revision = self.keys[request.key]
        return pb.RangeResponse(kvs=[pb.KeyValue(key=request.key, value=value, mod_revision=revision)])

    def holds(self, compare: pb.Compare) -> bool:
        """Whether a comparison is true."""
        value, revision = self.keys.get(compare.key, (None, 0))
        if compare.target == pb.Compare.VALUE:
            return value == compare.value
        return revision == (compare.mod_revision if compare.target == pb.Compare.MOD else compare.version)

    def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        """All at one revision."""
        holds = self.ignores_comparisons or all(map(self.holds, request.compare))
        answer = pb.TxnResponse(succeeded=holds)
        self.revision += 1
        for operation in request.success if holds else request.failure:
            answer.responses.append(self.do(operation))
        answer.header.revision = self.revision
        return answer

    def do(self, operation: pb.RequestOperation) -> pb.ResponseOperation:
        """One operation of a transaction."""
        match operation.WhichOneof("request"):
            case "range":
                return pb.ResponseOperation(range=self.range(operation.range))
            case "put":
                self.keys[operation.put.key] = (operation.put.value, self.revision)
                return pb.ResponseOperation(put=pb.PutResponse())
        self.keys.pop(operation.delete_range.key, None)
        return pb.ResponseOperation(delete_range=pb.DeleteRangeResponse())


class StoreConnection(EtcdConnection):
    """The way to the store, on which some replies are lost."""

    def __init__(self, store: Store, random: Random, *, lost_share: float) -> None:
        super().__init__("n", "nowhere:1")
        self.store, self.random, self.lost_share = store, random, lost_share

    async def call(
        self, method: str, request: Any, reply: type[Any], *, timeout_s: float, needs_leader: bool = False
    ) -> Any:
        """Done at one moment between two short waits."""
        del timeout_s, needs_leader, reply
        await asyncio.sleep(self.random.uniform(0.001, 0.004))
        answer: Message = self.store.range(request) if method == "Range" else self.store.txn(request)
        await asyncio.sleep(self.random.uniform(0.001, 0.004))
        if self.random.random() < self.lost_share:
            raise EtcdError("no reply", definite=False)
        return answer


def run(name: str, path: Path, store: Store) -> tuple[History, Result]:
    """A workload on the store: load and final reads, and its verdict."""
    workload = WORKLOADS[name]
    parameters = workload.Parameters(rate=200.0)
    connection = StoreConnection(store, Random(2), lost_share=0.02)

    def connect(process: int, node: str) -> EtcdClient:
        return EtcdClient(
            connections=dict.fromkeys(NODES, connection),
            pinned=node,
            options=EtcdOptions(),
            random=Random(process),
            name=str(process),
        )

    async def main(loop: VirtualLoop) -> None:
        recorder = Recorder(path, loop.clock)
        parts = [
            workload.generator(parameters, seed=3, workers=WORKERS, nodes=NODES, time_ns=2_000_000_000),
            workload.final_generator(parameters, workers=WORKERS, nodes=NODES),
        ]
        first_process = 0
        for part, generator in enumerate(parts):
            statistics = await interpret(
                generator=generator,
                workers=WORKERS,
                node_of=lambda worker: NODES[worker % 3],
                connect=connect,
                recorder=recorder,
                clock=loop.clock,
                timeout_s=10.0,
                stop=asyncio.Event(),
                first_process=first_process,
                final=part == 1,
            )
            assert not statistics.raised
            first_process = statistics.next_process
        recorder.close()

    run_virtual(main)
    history = History.read(path)
    return history, workload.check(history, parameters)


OURS = sorted(ETCD.workloads - {"register", "watch"})


@pytest.mark.parametrize("name", OURS)
def test_every_workload_is_valid_on_a_correct_store(tmp_path: Path, name: str) -> None:
    """Also if replies are lost; everything is asked, and everything written is read."""
    history, result = run(name, tmp_path / "h.jsonl", Store())
    assert result.validity is Validity.VALID, result.findings
    assert set(history.functions) == set(WORKLOADS[name].functions)
    assert WORKLOADS[name].unread(history)[0] == 0


@pytest.mark.parametrize("name", OURS)
def test_a_store_that_ignores_comparisons_is_found(tmp_path: Path, name: str) -> None:
    """Everything but registers rests on them."""
    store = Store()
    store.ignores_comparisons = True
    assert run(name, tmp_path / "h.jsonl", store)[1].validity is Validity.INVALID


class Script(EtcdConnection):
    """Answers from a list, the last one for ever; remembers what it was asked."""

    def __init__(self, *said: Message | EtcdError) -> None:
        super().__init__("n1", "nowhere:1")
        self.said = list(said)
        self.asked: list[Message] = []

    async def call(
        self, method: str, request: Any, reply: type[Any], *, timeout_s: float, needs_leader: bool = False
    ) -> Any:
        """The next answer."""
        del method, reply, timeout_s, needs_leader
        self.asked.append(request)
        said = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(said, EtcdError):
            raise said
        return said


def invoke(invocation: Invocation, *said: Message | EtcdError) -> tuple[Completion, Script]:
    """What a client of one node makes of these answers."""
    script = Script(*said)

    async def main(loop: VirtualLoop) -> Completion:  # noqa: ARG001
        client = EtcdClient(connections={"n1": script}, pinned="n1", options=EtcdOptions(), random=Random(1))
        return await client.invoke(invocation)

    return run_virtual(main), script


APPEND = Invocation("append", "a1", 5)
READS = Invocation("txn", None, (("r", "t1", None),), "local")
LOOKED = pb.TxnResponse(
    succeeded=True,
    responses=[pb.ResponseOperation(range=pb.RangeResponse(kvs=[pb.KeyValue(value=b"3,", mod_revision=9)]))],
)
DONE, RACED = pb.TxnResponse(succeeded=True), pb.TxnResponse(succeeded=False)
LOST, REFUSED = EtcdError("no reply", definite=False), EtcdError("etcdserver: no leader", definite=True)


@pytest.mark.parametrize(
    ("invocation", "said", "outcome"),
    [
        (APPEND, [LOOKED, DONE], Outcome.OK),
        (APPEND, [LOST, LOOKED, DONE], Outcome.OK),
        (APPEND, [LOOKED, LOST], Outcome.INFO),
        (APPEND, [LOOKED, RACED, LOOKED, DONE], Outcome.OK),
        (APPEND, [LOOKED, REFUSED, LOOKED, DONE], Outcome.OK),
        (APPEND, [REFUSED], Outcome.FAIL),
        (READS, [LOOKED], Outcome.OK),
        (READS, [LOST], Outcome.FAIL),
        (Invocation("acquire", "l1"), [DONE], Outcome.OK),
        (Invocation("acquire", "l1"), [RACED], Outcome.FAIL),
        (Invocation("acquire", "l1"), [LOST], Outcome.INFO),
        (Invocation("release", "l1"), [RACED], Outcome.FAIL),
    ],
)
def test_answers_are_mapped_honestly(invocation: Invocation, said: list[Message | EtcdError], outcome: Outcome) -> None:
    """A look that failed had no effect; a change is tried again only after what certainly had none."""
    assert invoke(invocation, *said)[0].outcome is outcome


def test_a_change_compares_the_revision_that_was_read() -> None:
    """And writes the whole list, in one transaction."""
    _, script = invoke(APPEND, LOOKED, DONE)
    change = script.asked[1]
    assert isinstance(change, pb.TxnRequest)
    assert change.compare[0].mod_revision == 9
    assert change.success[0].put.value == b"3,5,"


def test_local_reads_are_serializable() -> None:
    """Known weak, as asked."""
    completion, script = invoke(READS, LOOKED)
    request = script.asked[0]
    assert isinstance(request, pb.TxnRequest)
    assert request.success[0].range.serializable
    assert completion.value == [["r", "t1", [3]]]
