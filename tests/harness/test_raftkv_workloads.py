"""raftkv's client has words for every workload: whole runs on the node's real machine, without a cluster around it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from checkers import History, Result, Validity
from checkers.operation import Outcome
from harness.clients import Invocation
from harness.fakes import VirtualLoop, run_virtual
from harness.interpreter import interpret
from harness.recorder import Recorder
from harness.systems.raftkv import RAFTKV
from harness.systems.raftkv_client import RaftkvClient
from harness.systems.raftkv_options import RaftkvOptions
from harness.systems.raftkv_words import answer_of, decode, needs_session, only_reads, operation_of
from harness.workloads import WORKLOADS
from node import client as kv
from node import kv_pb2
from node import operations as op
from node.machine import Machine
from node.machine.result import ResultKind
from node.operation_codec import request_of
from node.zoo.sessions import DoubleApply

NODES = ("n1", "n2", "n3", "n4", "n5")
WORKERS = 10


class MachineLibrary(kv.KvClient):
    """The client library in front of one machine, where some replies are lost on their way back."""

    def __init__(self, machine: Machine, random: Random, *, lost_share: float = 0.0) -> None:
        super().__init__({})
        self.machine, self.random, self.lost_share = machine, random, lost_share
        self.index = 0

    def _apply(self, command: kv_pb2.Command) -> kv_pb2.Command:
        self.index += 1
        command.stamp_ms = 1 + int(asyncio.get_running_loop().time() * 1000)
        return command

    async def open_session(self, node: str, timeout_s: float) -> int:  # noqa: ARG002
        """Through the log."""
        command = self._apply(kv_pb2.Command(open_session=kv_pb2.OpenSessionRequest()))
        return self.machine.apply(self.index, command.SerializeToString()).session

    async def execute(
        self,
        node: str,  # noqa: ARG002
        operation: kv.Operation,
        timeout_s: float,  # noqa: ARG002
        *,
        session: int = 0,
        sequence: int = 0,
    ) -> kv.Done:
        """Done at one moment between two short waits; then perhaps nobody hears of it."""
        await asyncio.sleep(self.random.uniform(0.001, 0.004))
        request = request_of(operation)
        if not needs_session(operation):
            result = self.machine.answer(request)
        else:
            request.session, request.sequence = session, sequence
            command = self._apply(kv_pb2.Command(write=request))
            result = self.machine.apply(self.index, command.SerializeToString())
        await asyncio.sleep(self.random.uniform(0.001, 0.004))
        if self.random.random() < self.lost_share:
            raise kv.TimedOutError("no reply came")
        assert result.kind in (ResultKind.OK, ResultKind.MISMATCH), result
        return kv.Done(applied=result.kind is ResultKind.OK, value=result.value, reads=result.reads, index=self.index)


def run(name: str, path: Path, machine: Machine, *, lost_share: float, time_s: float = 2) -> tuple[History, Result]:
    """A workload on a machine: load and final reads, and its verdict."""
    workload = WORKLOADS[name]
    parameters = workload.Parameters(rate=250.0)
    library = MachineLibrary(machine, Random(3), lost_share=lost_share)

    def connect(process: int, node: str) -> RaftkvClient:
        return RaftkvClient(
            library=library,
            nodes=NODES,
            pinned=node,
            options=RaftkvOptions(),
            random=Random(process),
            name=str(process),
        )

    async def main(loop: VirtualLoop) -> None:
        recorder = Recorder(path, loop.clock)
        time_ns = round(time_s * 1e9)
        parts = [
            workload.generator(parameters, seed=4, workers=WORKERS, nodes=NODES, time_ns=time_ns),
            workload.final_generator(parameters, workers=WORKERS, nodes=NODES),
        ]
        first_process = 0
        for part, generator in enumerate(parts):
            statistics = await interpret(
                generator=generator,
                workers=WORKERS,
                node_of=lambda worker: NODES[worker % 5],
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


@pytest.mark.parametrize("name", sorted(RAFTKV.workloads & WORKLOADS.keys() - {"watch"}))
def test_every_workload_is_valid_on_the_machine(tmp_path: Path, name: str) -> None:
    """Also if replies are lost and operations tried again; everything is asked, and everything written is read."""
    history, result = run(name, tmp_path / "h.jsonl", Machine(), lost_share=0.05)
    assert result.validity is Validity.VALID, result.findings
    assert set(history.functions) == set(WORKLOADS[name].functions)
    assert WORKLOADS[name].unread(history)[0] == 0


@pytest.mark.parametrize("name", ["append", "list-append", "counter"])
def test_a_retry_that_is_applied_again_is_found(tmp_path: Path, name: str) -> None:
    """Where nothing covers it up: in two seconds with a few lost replies."""
    _, result = run(name, tmp_path / "h.jsonl", DoubleApply(), lost_share=0.05)
    assert result.validity is Validity.INVALID


class Unfenced(Machine):
    """Fences are not looked at."""

    def _fence_holds(self, fence: int, highest: int) -> bool:  # noqa: ARG002
        return True


def test_a_late_holder_that_no_fence_stops_is_found(tmp_path: Path) -> None:
    """Its write comes after the next holder's."""
    _, result = run("fenced-lock", tmp_path / "h.jsonl", Unfenced(), lost_share=0.0, time_s=4)
    assert {finding.kind for finding in result.findings} & {"overtaken write accepted", "guarded value went back"}


READ_TXN = Invocation("txn", None, (("r", "t1", None), ("r", "t2", None)), "local")
WRITE_TXN = Invocation("txn", None, (("append", "t1", 5), ("r", "t2", None)))


def test_a_transaction_that_only_reads_is_a_read() -> None:
    """It needs no session, and has its own read mode; one that appends goes through the log."""
    reading, writing = operation_of(READ_TXN, "me"), operation_of(WRITE_TXN, "me")
    assert reading == op.Transaction((op.Read("t1"), op.Read("t2")), op.ReadMode.LOCAL)
    assert writing == op.Transaction((op.ListAppend("t1", b"5"), op.Read("t2")))
    assert only_reads(READ_TXN)
    assert not needs_session(reading)
    assert not only_reads(WRITE_TXN)
    assert needs_session(writing)


def test_what_reads_of_a_transaction_found_stands_in_their_places() -> None:
    """And what an answer does not tell is nothing."""
    done = kv.Done(applied=True, value=None, reads=((b"1", b"2"),), index=1)
    assert answer_of(READ_TXN, done) == [["r", "t1", [1, 2]], ["r", "t2", None]]
    assert answer_of(WRITE_TXN, done) == [["append", "t1", 5], ["r", "t2", [1, 2]]]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None),
        (b"17", 17),
        (b"4:17", [4, 17]),
        (b"17,", [17]),
        (b"17,18,", [17, 18]),
        (b"17,1", [17, 1]),
        (b"x", "x"),
        (b"\xff", "\\xff"),
        (frozenset({b"10", b"9"}), [9, 10]),
        ((b"2", b"1"), [2, 1]),
        (3, 3),
    ],
)
def test_values_are_told_by_their_type(value: op.Value, told: object) -> None:
    """Strange bytes stay visible: nobody wrote them, and the checkers say so."""
    assert decode(value) == told


@pytest.mark.parametrize("reads", ["leader", "linearizable", "lease", "local", None])
def test_read_modes_are_passed_on(reads: str | None) -> None:
    """The leader's, where nothing was said."""
    assert operation_of(Invocation("read", "k", None, reads), "me") == op.Get("k", op.ReadMode(reads or "leader"))


def test_every_acquire_has_a_name_of_its_own_and_its_release_the_same() -> None:
    """Under one name a second acquire would renew the first, and its token."""
    asked: list[kv.Operation] = []

    class Library(MachineLibrary):
        async def execute(
            self, node: str, operation: kv.Operation, timeout_s: float, *, session: int = 0, sequence: int = 0
        ) -> kv.Done:
            asked.append(operation)
            return await super().execute(node, operation, timeout_s, session=session, sequence=sequence)

    async def main(loop: VirtualLoop) -> list[Outcome]:  # noqa: ARG001
        library = Library(Machine(), Random(1))
        client = RaftkvClient(
            library=library, nodes=NODES, pinned="n1", options=RaftkvOptions(), random=Random(1), name="7"
        )
        said = [Invocation("acquire", "l1", 300), Invocation("release", "l1", None)] * 2
        return [(await client.invoke(each)).outcome for each in said]

    assert run_virtual(main) == [Outcome.OK] * 4
    assert asked == [
        op.Acquire("l1", "7.1", 300),
        op.Release("l1", "7.1", 0),
        op.Acquire("l1", "7.3", 300),
        op.Release("l1", "7.3", 0),
    ]


def test_an_unknown_operation_is_refused() -> None:
    """With what is known."""
    with pytest.raises(ValueError, match="known: read, write"):
        operation_of(Invocation("fly", "k"), "me")
