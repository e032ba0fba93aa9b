"""Nothing a client does can hold the interpreter, and the history obeys its rules. All in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History
from checkers.operation import Outcome
from harness.clients import Client, Completion, Invocation
from harness.errors import HarnessError
from harness.fakes import NullClient, ScriptedClient, VirtualLoop, run_virtual
from harness.generators import (
    Completed,
    Context,
    Generator,
    Planned,
    Step,
    each,
    limit,
    listed,
    phases,
    rate,
    repeat,
    time_limit,
)
from harness.interpreter import CONNECT_LIMIT_S, Statistics, interpret
from harness.recorder import Recorder

READ = Invocation("read")
TIMEOUT_S = 5.0
Script = Callable[[int, Invocation], Awaitable[Completion]]


def numbered(i: int) -> Invocation:
    """The i-th write."""
    return Invocation("write", "k", i)


@dataclass
class Trial:
    """One run of the interpreter in virtual time, and what came of it."""

    folder: Path
    script: Script | None = None
    connect: Callable[[int, str], Any] | None = None
    stop_at_s: float | None = None
    timeout_s: float = TIMEOUT_S
    first_process: int = 0
    final: bool = False
    clients: list[ScriptedClient] = field(default_factory=list)
    ended_s: float = 0.0
    events: list[dict[str, Any]] = field(default_factory=list)
    leftovers: list[asyncio.Task[Any]] = field(default_factory=list)
    path: Path = Path()

    def run(self, generator: Generator, workers: int = 3) -> Statistics:
        """Interprets the generator."""
        self.path = next(path for number in count() if not (path := self.folder / f"{number}.jsonl").exists())

        async def main(loop: VirtualLoop) -> Statistics:
            recorder = Recorder(self.path, loop.clock)
            stop = asyncio.Event()
            if self.stop_at_s is not None:
                loop.call_later(self.stop_at_s, stop.set)
            try:
                return await interpret(
                    generator=generator,
                    workers=workers,
                    node_of=lambda worker: f"n{worker % 2 + 1}",
                    connect=self.connect or self._client,
                    recorder=recorder,
                    clock=loop.clock,
                    timeout_s=self.timeout_s,
                    stop=stop,
                    first_process=self.first_process,
                    final=self.final,
                )
            finally:
                self.ended_s = loop.time()
                recorder.close()
                self.leftovers = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
                self.events = [orjson.loads(line) for line in self.path.read_bytes().splitlines()]

        return run_virtual(main)

    def _client(self, process: int, node: str) -> Client:
        if self.script is None:
            return NullClient()
        client = ScriptedClient(process, node, self.script)
        self.clients.append(client)
        return client

    def types(self, process: int) -> list[str]:
        """What one process did."""
        return [event["type"] for event in self.events if event["process"] == process]


async def ok(_: int, invocation: Invocation) -> Completion:
    """Ok after 10 ms."""
    await asyncio.sleep(0.01)
    return Completion(Outcome.OK, invocation.value)


async def hang(_: int, invocation: Invocation) -> Completion:
    """Never."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError(invocation)


async def hang_stubbornly(_: int, __: Invocation) -> Completion:
    """Never, whoever cancels it."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


async def swallow(_: int, __: Invocation) -> Completion:
    """Takes its cancellation for an answer."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        await asyncio.sleep(0.5)
    return Completion(Outcome.OK, "too late")


async def crash(_: int, invocation: Invocation) -> Completion:
    """Raises."""
    raise ConnectionResetError(f"peer went away during {invocation.f}")


def test_everything_is_recorded_in_order(tmp_path: Path) -> None:
    """Invocation and completion of every operation, with argument, key and value; checkers can read it."""
    trial = Trial(tmp_path, ok)
    statistics = trial.run(limit(50, each(numbered)))
    assert statistics.invoked == 50
    assert statistics.outcomes == {"write": {"ok": 50}}
    assert [event["index"] for event in trial.events] == list(range(100))
    assert sorted(event["value"] for event in trial.events if event["type"] == "ok") == list(range(50))
    assert len(History.read(trial.path)) == 50
    assert not trial.leftovers


def test_workers_are_pinned_and_concurrent(tmp_path: Path) -> None:
    """Each process has a client of its worker's node, and all work at once: 30 operations of 10 ms by 3 take 100 ms."""
    trial = Trial(tmp_path, ok)
    trial.run(limit(30, each(numbered)))
    assert [(client.process, client.node) for client in trial.clients] == [(0, "n1"), (1, "n2"), (2, "n1")]
    assert all(client.closed for client in trial.clients)
    assert trial.ended_s == pytest.approx(0.1, abs=0.05)


def test_completions_come_before_invocations(tmp_path: Path) -> None:
    """Replies that are in at the same moment are all recorded before anything new is invoked."""
    trial = Trial(tmp_path, ok)
    trial.run(limit(9, each(numbered)))
    types = [event["type"] for event in trial.events]
    assert types == (["invoke"] * 3 + ["ok"] * 3) * 3


@pytest.mark.parametrize("script", [hang, hang_stubbornly, swallow])
def test_a_client_that_hangs_is_abandoned(tmp_path: Path, script: Script) -> None:
    """At the hard time-out the operation is info, its process retires, the worker goes on; a late reply is ignored."""
    trial = Trial(tmp_path, script)
    statistics = trial.run(limit(6, each(numbered)))
    assert statistics.outcomes == {"write": {"info": 6}}
    assert statistics.timed_out == 6
    assert {event["process"] for event in trial.events} == set(range(6))
    ends = [event for event in trial.events if event["type"] == "info"]
    assert {event["error"] for event in ends} == {"timed out after 5 s"}
    assert all(event["value"] is not None for event in ends)
    assert 10 <= trial.ended_s <= 15
    assert not trial.leftovers


def test_a_time_out_cancels_the_client_at_once(tmp_path: Path) -> None:
    """An operation that was given up is cancelled and its client closed then, not at the end of the run."""
    cancelled_s: list[float] = []

    async def script(process: int, invocation: Invocation) -> Completion:
        if process > 0:
            return await ok(process, invocation)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled_s.append(asyncio.get_running_loop().time())
            raise
        raise AssertionError

    trial = Trial(tmp_path, script)
    trial.run(time_limit(20_000_000_000, rate(10, each(numbered))), workers=1)
    assert trial.ended_s >= 19
    assert cancelled_s == [pytest.approx(5.0, abs=0.1)]


def test_only_those_that_hang_hang(tmp_path: Path) -> None:
    """One worker whose node is paused does not slow the others: they do a hundred operations a second."""

    async def script(process: int, invocation: Invocation) -> Completion:
        return await (hang if process % 3 == 0 else ok)(process, invocation)

    trial = Trial(tmp_path, script)
    trial.run(time_limit(4_000_000_000, each(numbered)))
    assert len(trial.types(0)) == 2
    assert len(trial.types(1)) >= 2 * 350


def test_what_a_client_raises_is_info(tmp_path: Path) -> None:
    """With the error; the process retires and its client is closed."""
    trial = Trial(tmp_path, crash)
    statistics = trial.run(limit(4, each(numbered)), workers=1)
    assert statistics.raised == 4
    assert trial.types(3) == ["invoke", "info"]
    assert trial.events[1]["error"] == "ConnectionResetError: peer went away during write"
    assert all(client.closed for client in trial.clients)


def test_an_info_from_the_client_retires_the_process_too(tmp_path: Path) -> None:
    """Process numbers go up by the number of workers; a fail does not retire anybody."""

    async def script(process: int, _: Invocation) -> Completion:
        await asyncio.sleep(0.001)
        return Completion(Outcome.FAIL if process == 2 else Outcome.INFO, error="as told")

    trial = Trial(tmp_path, script)
    statistics = trial.run(limit(12, each(numbered)), workers=2)
    assert [process for process in range(8) if trial.types(process)][:3] == [0, 1, 2]
    assert set(trial.types(2)) == {"invoke", "fail"}
    assert statistics.next_process % 2 == 0
    assert statistics.next_process > max(event["process"] for event in trial.events)


def test_a_second_part_goes_on_with_fresh_processes(tmp_path: Path) -> None:
    """Final reads begin where the load's process numbers ended, and are marked."""
    load = Trial(tmp_path, crash)
    next_process = load.run(limit(7, each(numbered)), workers=2).next_process
    final = Trial(tmp_path, ok, first_process=next_process, final=True)
    final.run(limit(4, repeat(READ)), workers=2)
    assert min(event["process"] for event in final.events) == next_process
    assert all(event["final"] is True for event in final.events)
    assert not any("final" in event for event in load.events)


def test_stop_begins_nothing_more_and_ends_within_the_time_out(tmp_path: Path) -> None:
    """What is in flight may end; what does not is info at its own time-out."""

    async def script(process: int, invocation: Invocation) -> Completion:
        return await (hang if process == 0 else ok)(process, invocation)

    trial = Trial(tmp_path, script, stop_at_s=2.0)
    trial.run(each(numbered))
    assert max(event["time"] for event in trial.events if event["type"] == "invoke") <= 2_000_000_000
    assert trial.types(0) == ["invoke", "info"]
    assert 5.0 <= trial.ended_s <= 5.2


def test_a_stop_before_the_beginning_does_nothing(tmp_path: Path) -> None:
    """No operation, no waiting."""
    trial = Trial(tmp_path, ok, stop_at_s=0.0)
    assert trial.run(rate(1, each(numbered))).invoked <= 1
    assert trial.ended_s < 0.1


def test_a_rate_is_kept(tmp_path: Path) -> None:
    """1,000 operations a second for 2 s, although timers are kept to whole milliseconds."""
    trial = Trial(tmp_path, ok)
    statistics = trial.run(time_limit(2_000_000_000, rate(1000, each(numbered), law="fixed")), workers=30)
    assert statistics.invoked == pytest.approx(2000, abs=30)


def test_an_operation_begins_when_it_is_due(tmp_path: Path) -> None:
    """Within the millisecond or two of the timers, and not with the next tick."""
    trial = Trial(tmp_path, ok)
    trial.run(limit(50, rate(100, each(numbered), law="fixed")), workers=5)
    times = [event["time"] for event in trial.events if event["type"] == "invoke"]
    for place, time_ns in enumerate(times):
        assert 0 <= time_ns - times[0] - place * 10_000_000 <= 2_000_000


def test_phases_wait_for_a_time_out(tmp_path: Path) -> None:
    """A phase begins when the last operation of the one before has ended, however it ended."""
    trial = Trial(tmp_path, hang)
    trial.run(phases(listed([Invocation("first")]), listed([Invocation("second")])))
    begun = {event["f"]: event["time"] for event in trial.events if event["type"] == "invoke"}
    assert begun["second"] - begun["first"] >= TIMEOUT_S * 1e9


def test_connecting_is_tried_again(tmp_path: Path) -> None:
    """A connection that fails or hangs costs its worker time and nobody else; nothing is recorded for it."""
    attempts: list[int] = []

    async def connect(process: int, node: str) -> Client:
        attempts.append(process)
        if process == 0 and attempts.count(0) == 1:
            await asyncio.get_running_loop().create_future()
        if process == 0 and attempts.count(0) < 4:
            raise ConnectionRefusedError(node)
        return ScriptedClient(process, node, ok)

    trial = Trial(tmp_path, connect=connect)
    statistics = trial.run(time_limit(7_000_000_000, each(numbered)), workers=2)
    assert statistics.connect_failures == 3
    first = next(event for event in trial.events if event["process"] == 0)
    assert 5.0 <= first["time"] / 1e9 <= 6.0
    assert len(trial.types(1)) > 1000


def test_when_nobody_can_connect_the_harness_says_so(tmp_path: Path) -> None:
    """After a minute, with the last error; not a run that waits for ever."""

    def connect(process: int, node: str) -> Client:
        raise ConnectionRefusedError(f"{node} refused {process}")

    trial = Trial(tmp_path, connect=connect)
    with pytest.raises(HarnessError, match=r"no client could be connected.*n\d refused"):
        trial.run(each(numbered))
    assert CONNECT_LIMIT_S <= trial.ended_s <= CONNECT_LIMIT_S + 5


def test_a_client_that_cannot_be_closed_holds_nothing(tmp_path: Path) -> None:
    """Neither one that hangs in close nor one that also ignores being cancelled there."""

    class Sticky(NullClient):
        async def close(self) -> None:
            await hang_stubbornly(0, READ)

    trial = Trial(tmp_path, connect=lambda *_: Sticky())
    statistics = trial.run(limit(5, each(numbered)))
    assert statistics.forced == 3
    assert trial.ended_s <= 5
    assert not trial.leftovers


def test_a_full_disk_ends_the_run(tmp_path: Path) -> None:
    """The error names the history and is raised where the run is awaited; nothing is left running."""
    trial = Trial(tmp_path, ok)

    async def main(loop: VirtualLoop) -> None:
        recorder = Recorder(Path("/dev/full"), loop.clock, create=False)
        await interpret(
            generator=each(numbered),
            workers=3,
            node_of=str,
            connect=trial._client,
            recorder=recorder,
            clock=loop.clock,
            timeout_s=TIMEOUT_S,
            stop=asyncio.Event(),
        )

    with pytest.raises(HarnessError, match=r"/dev/full cannot be written: No space left"):
        run_virtual(main)


@dataclass(frozen=True)
class Broken:
    """A generator that gives work to a worker who has some."""

    def next(self, context: Context) -> tuple[Step, Generator]:  # noqa: ARG002
        """Always worker 0."""
        return Planned(0, READ), self

    def update(self, event: Completed) -> Generator:  # noqa: ARG002
        """Learns nothing."""
        return self


def test_a_generator_that_breaks_its_contract_ends_the_run(tmp_path: Path) -> None:
    """Said as a bug of the generator, with the operation; what was in flight is closed as info."""
    trial = Trial(tmp_path, ok)
    with pytest.raises(HarnessError, match=r"worker 0, which is not free"):
        trial.run(Broken())
    assert [event["type"] for event in trial.events] == ["invoke", "info"]


def test_a_run_that_is_cut_off_closes_its_operations(tmp_path: Path) -> None:
    """Cancelled from outside (a second Ctrl-C), it records what was in flight as info and goes."""
    path = tmp_path / "history.jsonl"

    async def main(loop: VirtualLoop) -> None:
        recorder = Recorder(path, loop.clock)
        task = loop.create_task(
            interpret(
                generator=each(numbered),
                workers=2,
                node_of=str,
                connect=lambda process, node: ScriptedClient(process, node, hang),
                recorder=recorder,
                clock=loop.clock,
                timeout_s=TIMEOUT_S,
                stop=asyncio.Event(),
            )
        )
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        recorder.close()

    run_virtual(main)
    events = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [event["type"] for event in events] == ["invoke", "invoke", "info", "info"]


@settings(max_examples=60)
@given(
    fates=st.lists(
        st.sampled_from(["ok", "fail", "info", "raise", "hang", "swallow", "slow"]), min_size=1, max_size=40
    ),
    workers=st.integers(min_value=1, max_value=6),
    per_s=st.one_of(st.none(), st.floats(min_value=1, max_value=500)),
)
def test_histories_obey_their_rules(
    tmp_path_factory: pytest.TempPathFactory, fates: list[str], workers: int, per_s: float | None
) -> None:
    """Whatever clients do: contiguous indices, rising times, a process alternates between invoking and completing, and
    is never seen again after an info; every operation is there exactly once and has ended."""
    scripts = {"raise": crash, "hang": hang, "swallow": swallow}

    async def script(process: int, invocation: Invocation) -> Completion:
        fate = fates[invocation.value % len(fates)]
        if fate in scripts:
            return await scripts[fate](process, invocation)
        await asyncio.sleep(4.9 if fate == "slow" else 0.001 * (invocation.value % 7))
        return Completion(Outcome.OK if fate == "slow" else Outcome(fate), invocation.value)

    trial = Trial(tmp_path_factory.mktemp("run"), script)
    generator = limit(60, each(numbered))
    statistics = trial.run(generator if per_s is None else rate(per_s, generator), workers=workers)
    assert [event["index"] for event in trial.events] == list(range(len(trial.events)))
    assert all(a["time"] < b["time"] for a, b in zip(trial.events, trial.events[1:], strict=False))
    for process in {event["process"] for event in trial.events}:
        types = trial.types(process)
        assert types[::2] == ["invoke"] * (len(types) // 2)
        assert "info" not in types[:-1]
        assert "invoke" not in types[1::2]
    invoked = [event["value"] for event in trial.events if event["type"] == "invoke"]
    assert sorted(invoked) == sorted(event["value"] for event in trial.events if event["type"] != "invoke")
    assert sorted(invoked) == list(range(60))
    assert statistics.invoked == 60
    assert not trial.leftovers
