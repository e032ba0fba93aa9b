"""The stand-in's decisions, with queues in memory and a clock that is told."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from faults.packets import standin
from faults.packets.fates import PACKETS_QUEUED, Decider, Effects
from faults.packets.nfqueue import ACCEPT, DROP, Packet
from faults.packets.standin import Standin, Worker
from faults.programs import program

MS = 1_000_000


@dataclass
class MemoryQueue:
    """Packets to come, and the verdicts about them."""

    coming: list[Packet] = field(default_factory=list)
    verdicts: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    up_to: list[int] = field(default_factory=list)
    number: int = 1

    def receive(self) -> list[Packet]:
        taken, self.coming = self.coming, []
        return taken

    def decide(self, packet: int, verdict: int, payload: bytes | None = None) -> None:
        self.verdicts.append((packet, verdict, payload))

    def accept_up_to(self, packet: int) -> None:
        self.up_to.append(packet)

    def dropped(self) -> int:
        return 3

    def waiting(self) -> int:
        return 0


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests set."""
    time = [100.0]
    monkeypatch.setattr(standin.time, "monotonic", lambda: time[0])
    return time


def made(effects: Effects, place: Any = "arriving") -> tuple[Standin, Worker, MemoryQueue]:
    queue = MemoryQueue()
    worker = Worker(queue=queue, decider=Decider(effects=effects, random=Random(1)), place=place)  # type: ignore[arg-type]
    return (
        Standin(
            [worker] if place == "arriving" else [],
        ),
        worker,
        queue,
    )


def packet(number: int, length: int = 100) -> Packet:
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 17, 0, socket.inet_aton("10.0.0.1"), bytes(4))
    return Packet(number, length, head + bytes(length - 20))


def test_delayed_packets_go_all_at_once_when_they_are_due(now: list[float]) -> None:
    """In order, by one verdict for all that are due; not a moment earlier."""
    one, worker, queue = made(Effects(delay=50 * MS))
    queue.coming = [packet(1), packet(2)]
    one._receive(worker)
    now[0] += 0.02
    queue.coming = [packet(3)]
    one._receive(worker)
    one._release(100.0499)
    assert queue.up_to == []
    one._release(100.0501)
    assert queue.up_to == [2]
    one._release(100.0701)
    assert queue.up_to == [2, 3]
    assert not queue.verdicts
    assert worker.counts.delayed == 3


def test_jitter_lets_packets_overtake(now: list[float]) -> None:
    """Each goes when its own time has come, by a verdict of its own."""
    one, worker, queue = made(Effects(delay=50 * MS, jitter=10 * MS))
    queue.coming = [packet(number) for number in range(20)]
    one._receive(worker)
    due = worker.due()
    assert due is not None
    one._release(due - 1e-6)
    assert not queue.verdicts
    one._release(now[0] + 10)
    order = [number for number, verdict, _ in queue.verdicts if verdict == ACCEPT]
    assert sorted(order) == list(range(20)) != order
    assert worker.due() is None


def test_lost_packets_are_dropped_and_counted(now: list[float]) -> None:
    """The others pass at once."""
    del now
    one, worker, queue = made(Effects(loss=50.0))
    queue.coming = [packet(number) for number in range(100)]
    one._receive(worker)
    one._release(100.0)
    lost = [number for number, verdict, _ in queue.verdicts if verdict == DROP]
    assert len(lost) == worker.counts.lost > 20
    assert len(queue.up_to) == 1, "one verdict for all that pass"


def test_a_corrupted_packet_differs_in_one_bit(now: list[float]) -> None:
    """Its verdict carries the new content; the others are left as they are."""
    del now
    one, worker, queue = made(Effects(corrupt=100.0))
    queue.coming = [packet(1)]
    one._receive(worker)
    [(_, verdict, payload)] = queue.verdicts
    assert verdict == ACCEPT
    assert payload is not None
    assert payload != packet(1).payload
    assert worker.counts.corrupted == 1


def test_a_full_line_drops_like_a_router(now: list[float]) -> None:
    """With a rate at most so many wait; what more comes is lost, and counted as that."""
    del now
    one, worker, queue = made(Effects(rate=8_000))
    for number in range(PACKETS_QUEUED + 50):
        queue.coming = [packet(number)]
        one._receive(worker)
    assert worker.counts.queue_full == 50
    assert worker.waiting == PACKETS_QUEUED


class Wire:
    """Takes what is sent again."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, str]] = []

    def sendto(self, payload: bytes, address: tuple[str, int]) -> None:
        if len(payload) > 1500:
            raise OSError(90, "message too long")
        self.sent.append((payload, address[0]))


def leaving(effects: Effects) -> tuple[Standin, Worker, MemoryQueue, Wire]:
    one, worker, queue = made(effects, "leaving")
    one.workers, wire = [worker], Wire()
    one._copies = wire  # type: ignore[assignment]
    return one, worker, queue, wire


def test_what_is_copied_leaves_twice(now: list[float]) -> None:
    """The original as it is, the copy after it, to where it was addressed."""
    del now
    one, worker, queue, wire = leaving(Effects(duplicate=100.0))
    queue.coming = [packet(1)]
    one._receive(worker)
    one._release(100.0)
    assert queue.verdicts == [(1, ACCEPT, None)]
    assert wire.sent == [(packet(1).payload, "0.0.0.0")]
    assert worker.counts.duplicated == 1


def test_what_goes_to_clients_is_dropped_and_sent_again(now: list[float]) -> None:
    """So that the sender's queue is free while it waits; what cannot be sent again is counted as overload."""
    del now
    one, worker, queue, wire = leaving(Effects(delay=50 * MS))
    queue.coming = [packet(1), packet(2, 3000)]
    one._receive(worker)
    assert [verdict for _, verdict, _ in queue.verdicts] == [DROP, DROP]
    one._release(100.04)
    assert wire.sent == []
    one._release(100.06)
    assert [len(payload) for payload, _ in wire.sent] == [100]
    assert worker.counts.overload == 1
    assert worker.total()["overload"] == 4, "and what the kernel dropped"


def test_the_program_needs_nothing_but_a_python() -> None:
    """Its sources go along: no path, no package and no environment of ours; it ends when its input does."""
    argv = [sys.executable, *program(*standin.MODULES)[1:]]
    done = subprocess.run(argv, input="[]\ncounts\n", cwd="/", env={}, capture_output=True, text=True, check=False)
    ready, counts = done.stdout.splitlines()
    assert ready == "ready"
    assert json.loads(counts)["queues"] == {}
    assert done.stderr == ""


@pytest.mark.parametrize("line", ["nonsense", '[{"queue": 1}]', "{}x"])
def test_orders_that_cannot_be_read_are_answered(line: str) -> None:
    """With what is wrong, not with a traceback."""
    argv = [sys.executable, *program(*standin.MODULES)[1:]]
    done = subprocess.run(argv, input=f"{line}\n", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]
    assert done.stderr == ""
