"""The register workload asks what it takes to catch real flaws, and accuses no correct system."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from checkers import History, Result, Validity
from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.errors import UsageError
from harness.fake_store import Flaws, StoreSystem
from harness.fakes import VirtualLoop, run_virtual
from harness.generators import Generator
from harness.generators.simulation import Simulated, simulate
from harness.interpreter import interpret
from harness.recorder import Recorder
from harness.workloads import WORKLOADS
from harness.workloads.protocol import Workload, changes, workers_of
from harness.workloads.register import REGISTER, RegisterParameters

NODES = ("n1", "n2", "n3", "n4", "n5")
S = 1_000_000_000
DEFAULTS = RegisterParameters()
SEEDS = range(5)


def load(
    parameters: RegisterParameters = DEFAULTS, *, seed: int = 0, workers: int = 10, time_s: float = 5
) -> Generator:
    """The load of a short run."""
    return REGISTER.generator(parameters, seed=seed, workers=workers, nodes=NODES, time_ns=round(time_s * S))


def registers(place: int, invocation: Invocation, store: dict[object, object]) -> tuple[int, Completion]:
    """A store that answers at once, in the order of the calls."""
    f, key, value = invocation.f, invocation.key, invocation.value
    latency_ns = 1_000_000 + place % 7 * 100_000
    if f == "read":
        return latency_ns, Completion(Outcome.OK, store.get(key))
    if f == "cas" and store.get(key) != value[0]:
        return latency_ns, Completion(Outcome.FAIL)
    store[key] = value[1] if f == "cas" else value
    return latency_ns, Completion(Outcome.OK, value)


def simulated(parameters: RegisterParameters = DEFAULTS, *, seed: int = 0, workers: int = 10) -> list[Simulated]:
    """What the load asks of a correct store."""
    store: dict[object, object] = {}
    generator = load(parameters, seed=seed, workers=workers)
    return simulate(
        generator,
        workers=workers,
        nodes=NODES,
        seed=seed,
        respond=lambda i, invocation: registers(i, invocation, store),
    )


def judged(folder: Path, flaws: Flaws, *, seed: int, time_s: float = 5) -> tuple[History, Result]:
    """A whole run, load and final reads, against a system with flaws, in virtual time."""
    path = folder / f"{seed}.jsonl"

    async def main(loop: VirtualLoop) -> None:
        recorder = Recorder(path, loop.clock)
        system = StoreSystem(random=Random(seed), flaws=flaws)
        generators = [load(seed=seed, time_s=time_s), REGISTER.final_generator(DEFAULTS, workers=10, nodes=NODES)]
        first_process = 0
        for part, generator in enumerate(generators):
            statistics = await interpret(
                generator=generator,
                workers=10,
                node_of=lambda worker: NODES[worker % 5],
                connect=system.client,
                recorder=recorder,
                clock=loop.clock,
                timeout_s=5.0,
                stop=asyncio.Event(),
                first_process=first_process,
                final=part == 1,
            )
            first_process = statistics.next_process
        recorder.close()

    run_virtual(main)
    history = History.read(path)
    return history, REGISTER.check(history, DEFAULTS)


def test_written_values_are_unique() -> None:
    """In the whole run, over all keys and kinds of writes: the fast check rests on it."""
    argument = {"write": lambda value: value, "cas": lambda value: value[1]}
    written = [
        argument[done.invocation.f](done.invocation.value) for done in simulated() if done.invocation.f in argument
    ]
    assert len(written) > 1000
    assert len(set(written)) == len(written)
    assert all(type(value) is int for value in written)


def test_rate_and_kinds() -> None:
    """500 a second in all; half are reads; of the writers' operations two in five are compare-and-set."""
    done = simulated()
    counts = Counter(operation.invocation.f for operation in done)
    assert len(done) == pytest.approx(2500, rel=0.1)
    assert counts["read"] / len(done) == pytest.approx(0.5, abs=0.05)
    assert counts["cas"] / (counts["cas"] + counts["write"]) == pytest.approx(0.4, abs=0.06)


def test_compare_and_set_often_succeeds() -> None:
    """It expects what was last seen, not a guess: at least four in five succeed on a store that answers in 1-2 ms."""
    outcomes = Counter(operation.completion.outcome for operation in simulated() if operation.invocation.f == "cas")
    assert outcomes[Outcome.OK] / outcomes.total() > 0.8


def test_half_of_the_workers_only_read_one_on_every_node() -> None:
    """Workers are pinned in turn, so every node has a reader and a writer."""
    done = simulated()
    readers = {operation.worker for operation in done if operation.invocation.f == "read"}
    writers = {operation.worker for operation in done if operation.invocation.f != "read"}
    assert not readers & writers
    assert {operation.node for operation in done if operation.worker in readers} == set(NODES)
    assert {operation.node for operation in done if operation.worker in writers} == set(NODES)


@pytest.mark.parametrize(
    ("workers", "kinds"), [(1, {"write", "cas"}), (2, {"read", "write", "cas"}), (3, {"read", "write", "cas"})]
)
def test_few_workers_still_write(workers: int, kinds: set[str]) -> None:
    """One worker alone writes; the final reads say what came of it."""
    done = simulated(RegisterParameters(keys=2), workers=workers)
    assert {operation.invocation.f for operation in done} == kinds


def test_some_keys_are_hot_and_all_are_written() -> None:
    """The hottest key gets a fifth of the writes, and no key is forgotten."""
    counts = Counter(operation.invocation.key for operation in simulated() if operation.invocation.f != "read")
    assert len(counts) == 20
    assert 0.15 < counts["k0"] / counts.total() < 0.3


def test_reads_follow_the_writes() -> None:
    """Half of the reads go to the key that was written last: more than ten times what chance would bring them there."""
    done = sorted(simulated(RegisterParameters(keys=200)), key=lambda operation: operation.call_ns)
    hits = reads = 0
    for operation in done:
        if operation.invocation.f == "read":
            ended = [w for w in done if w.invocation.f == "write" and operation.call_ns - 50_000_000 < w.return_ns]
            ended = [w for w in ended if w.return_ns <= operation.call_ns]
            reads += 1
            hits += bool(ended) and max(ended, key=lambda w: w.return_ns).invocation.key == operation.invocation.key
    assert hits / reads > 0.3


@settings(max_examples=10)
@given(st.integers(min_value=0, max_value=2**32))
def test_the_same_seed_asks_the_same(seed: int) -> None:
    """Against the same answers: the load is a value."""
    assert simulated(seed=seed) == simulated(seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_correct_system_is_valid(tmp_path: Path, seed: int) -> None:
    """No false alarm; and the final operations are there: a write and its read, and every key, through every node."""
    history, result = judged(tmp_path, Flaws(), seed=seed)
    assert result.validity is Validity.VALID
    assert int(history.final.sum()) == (2 + 20) * len(NODES)
    assert int((history.final & changes(history, REGISTER.changing)).sum()) == len(NODES)


FLAWS = {
    "a deposed leader serves reads for half a second": Flaws(isolated="n3", isolated_from_s=2, isolated_for_s=0.5),
    "followers serve reads that are 10 ms old": Flaws(replica_lag_s=0.01),
    "acknowledged writes of 50 ms are lost": Flaws(lose_at_s=2, lose_window_s=0.05, outage_s=0.5),
    "one write in a hundred is applied again after a second": Flaws(repeat_share=0.01, repeat_after_s=1),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("flaw", FLAWS)
def test_flaws_are_found(tmp_path: Path, flaw: str, seed: int) -> None:
    """In every run of five seconds, by the workload's own checker, as the system's fault."""
    _, result = judged(tmp_path, FLAWS[flaw], seed=seed)
    assert result.validity is Validity.INVALID
    assert all(finding.operations for finding in result.findings)


def test_final_operations_give_up_on_a_node_that_is_dead() -> None:
    """Each is tried a bounded number of times through it, with pauses, a write for longer than systems have to recover;
    the other nodes' are all made.
    """

    def respond(_: int, invocation: Invocation) -> tuple[int, Completion]:
        return 1_000_000, Completion(Outcome.FAIL, invocation.value)

    parameters = RegisterParameters(keys=3)
    done = simulate(
        REGISTER.final_generator(parameters, workers=10, nodes=NODES), workers=10, nodes=NODES, respond=respond
    )
    writes = [operation for operation in done if operation.invocation.f == "write"]
    reads = Counter(operation.node for operation in done if operation.invocation.f == "read")
    assert reads == dict.fromkeys(NODES, 3 * 20)
    assert {operation.node for operation in writes} == set(NODES)
    values = [operation.invocation.value for operation in writes if operation.node == "n1"]
    assert len(set(values)) == len(values) > 100, "each try is another one"
    assert max(operation.call_ns for operation in writes) > 11_000_000_000


@pytest.mark.parametrize(("value", "workers"), [("2n", 10), (7, 7), ("7", 7), ("1n", 5)])
def test_concurrency_is_a_number_or_so_many_a_node(value: int | str, workers: int) -> None:
    """``2n`` of five nodes are ten."""
    assert REGISTER.workers(RegisterParameters(concurrency=value), nodes=5) == workers


@pytest.mark.parametrize("value", [0, -1, "0n", "n", "2 n", "two", "", "999999"])
def test_other_concurrencies_are_refused(value: int | str) -> None:
    """With the value and what to write instead."""
    with pytest.raises(ValidationError, match="write a number, or 2n"):
        RegisterParameters(concurrency=value)


def test_too_many_workers_are_refused() -> None:
    """A limit on everything."""
    with pytest.raises(UsageError, match="12000 workers"):
        workers_of("4000n", nodes=3)


def test_the_table_of_workloads() -> None:
    """Names match; each says what it is."""
    entries: list[Workload] = list(WORKLOADS.values())
    assert [workload.name for workload in entries] == list(WORKLOADS)
    assert all(workload.title for workload in entries)
