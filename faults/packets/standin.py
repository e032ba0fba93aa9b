"""The stand-in for netem where the kernel has none: a process in a node's network namespace that delays, loses, copies
and spoils the packets that a firewall rule queues for it (:mod:`faults.packets.nfqueue`).

Packets are held where they *arrive* (INPUT): what is held where it is sent counts against the sender's small-queue
limit, and a TCP connection crawls. Copies are made where a packet is *sent* (OUTPUT), where the copy can be put on the
wire like any other packet; the rule there passes over what carries :data:`MARK`. What goes to clients can only be
caught there, too: the packet is dropped, which frees the sender, and sent again by us when it is due.

It is told what to do by one line of JSON on its standard input, answers ``ready``, then answers each further line with
a line of counts, and ends when its input ends: whoever started it is dead then, or heals. What it held is delivered
first; the rules let packets pass when nobody listens, so a dead stand-in breaks nothing.

A queue is bounded, like netem's: what the kernel could not hold for us any more, because we were too slow or too much
was sent, was lost without having been asked for, and is counted as ``overload``.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import json
import os
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Literal, TextIO

from faults.packets.fates import PACKETS_DELAYED, PACKETS_QUEUED, Decider, Effects, with_flipped_bit
from faults.packets.nfqueue import ACCEPT, DROP, Packet, Queue, QueueError

MARK = 0x43505A
"""On copies, so that they are not copied again."""

MODULES = ("packets.fates", "packets.nfqueue", "packets.standin")
"""What it is made of (:func:`faults.programs.program`)."""

_SO_MARK = 36
_LENGTH_ONLY = 64
"""Bytes of each packet that are copied where only its length is wanted."""
_WHOLE = 0xFFFF
_OURS = -1
"""In place of a packet's number: it is not in the kernel any more, we send it ourselves."""
_COPIES_MAX = 16_384
"""Packets that one queue keeps in our own memory: 25 MB."""
_TURN_PACKETS = 256
"""Packets taken from one queue before what is due is looked after again."""
_PARTING_S = 2.0
_PRIORITY = -10
"""It stands for a part of the kernel, which does not wait for its turn."""

Place = Literal["arriving", "leaving"]


@dataclass(kw_only=True, slots=True)
class Counts:
    """What was done to packets."""

    packets: int = 0
    delayed: int = 0
    lost: int = 0
    duplicated: int = 0
    corrupted: int = 0
    queue_full: int = 0
    """Lost because more was sent than the rate carries: as a router does it."""
    overload: int = 0
    """Lost, or not copied, though nobody asked for it."""


@dataclass(kw_only=True, slots=True)
class Worker:
    """One queue and what happens to its packets."""

    queue: Queue
    decider: Decider
    place: Place
    counts: Counts = field(default_factory=Counts)
    held: list[tuple[float, int, int, bytes | None]] = field(default_factory=list)
    """Due time, order, number and content of packets that wait, as a heap; used where packets overtake each other."""
    line: deque[tuple[float, int]] = field(default_factory=deque)
    """Due time and number of packets that wait, where none overtakes another: all that are due go at once."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Worker:
        """A worker as its settings say: ``queue``, ``place``, ``effects``, ``seed``."""
        effects = Effects(**settings["effects"])
        whole = bool(effects.corrupt) or settings["place"] == "leaving"
        copy = _WHOLE if whole else _LENGTH_ONLY if effects.rate is not None else 0
        queue = Queue(settings["queue"], copy=copy, segments=whole, packets_max=PACKETS_DELAYED)
        return cls(
            queue=queue, decider=Decider(effects=effects, random=Random(settings["seed"])), place=settings["place"]
        )

    @property
    def in_line(self) -> bool:
        """Whether packets leave in the order in which they came, untouched."""
        return self.place == "arriving" and self.decider.effects.in_order and not self.decider.effects.corrupt

    @property
    def waiting(self) -> int:
        """Packets that wait."""
        return len(self.held) + len(self.line)

    def due(self) -> float | None:
        """When the next packet must go."""
        times = [self.held[0][0]] if self.held else []
        times += [self.line[0][0]] if self.line else []
        return min(times, default=None)

    def total(self) -> dict[str, int]:
        """The counts, with what the kernel counted."""
        counts = asdict(self.counts)
        counts["overload"] += self.queue.dropped()
        return {**counts, "waiting": self.queue.waiting()}


class Standin:
    """The event loop: packets in, verdicts when they are due."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = workers
        self._order = itertools.count()
        self._copies = _copies_socket() if any(worker.place == "leaving" for worker in workers) else None

    def run(self, input_: int, output: TextIO) -> None:
        """Works until the input ends."""
        # epoll counts in milliseconds, select in microseconds; there are a few sockets only.
        with selectors.SelectSelector() as selector:
            selector.register(input_, selectors.EVENT_READ, None)
            for worker in self.workers:
                selector.register(worker.queue, selectors.EVENT_READ, worker)
            while True:
                for key, _ in selector.select(self._wait_s()):
                    if key.data is not None:
                        self._receive(key.data)
                    elif not self._answer(input_, output):
                        self._deliver_all()
                        return
                self._release(time.monotonic())

    def _deliver_all(self) -> None:
        """What the kernel still had for us, too: the rules are out, so that ends."""
        end = time.monotonic() + _PARTING_S
        more = True
        while more and time.monotonic() < end:
            before = sum(worker.counts.packets for worker in self.workers)
            for worker in self.workers:
                self._receive(worker)
            self._release(float("inf"))
            more = before != sum(worker.counts.packets for worker in self.workers)

    def _wait_s(self) -> float | None:
        times = [due for worker in self.workers if (due := worker.due()) is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _answer(self, input_: int, output: TextIO) -> bool:
        if not os.read(input_, 4096):
            return False
        queues = {worker.queue.number: worker.total() for worker in self.workers}
        output.write(json.dumps({"queues": queues, "cpu_s": time.process_time()}) + "\n")
        output.flush()
        return True

    def _receive(self, worker: Worker) -> None:
        now = time.monotonic()
        for packet in itertools.islice(worker.queue.receive(), _TURN_PACKETS):
            worker.counts.packets += 1
            if worker.place == "leaving":
                self._leave(worker, packet, now)
            else:
                self._arrive(worker, packet, now)

    def _leave(self, worker: Worker, packet: Packet, now: float) -> None:
        twice = worker.decider.duplicates()
        if not self._dispatch(worker, packet, now):
            worker.queue.decide(packet.id, DROP)
        else:
            worker.queue.decide(packet.id, ACCEPT)
        if twice:
            worker.counts.duplicated += 1
            self._dispatch(worker, packet, now, copy=True)

    def _dispatch(self, worker: Worker, packet: Packet, now: float, *, copy: bool = False) -> bool:
        """Whether the kernel may send a packet now, as it is; if not, it is lost, or we send it when it is due."""
        fate = worker.decider.decide(now, packet.length)
        if fate.after_s is None:
            worker.counts.lost += 1
            return False
        if fate.after_s <= 0 and not fate.corrupted and not copy:
            return True
        if worker.decider.effects.rate is not None and worker.waiting >= PACKETS_QUEUED:
            worker.counts.queue_full += 1
        elif worker.waiting >= _COPIES_MAX:
            worker.counts.overload += 1
        else:
            worker.counts.delayed += fate.after_s > 0
            worker.counts.corrupted += fate.corrupted
            payload = with_flipped_bit(packet.payload, worker.decider.random) if fate.corrupted else packet.payload
            heapq.heappush(worker.held, (now + fate.after_s, next(self._order), _OURS, payload))
        return False

    def _send(self, worker: Worker, payload: bytes) -> None:
        assert self._copies is not None
        try:
            self._copies.sendto(payload, (socket.inet_ntoa(payload[16:20]), 0))
        except OSError:
            worker.counts.overload += 1

    def _arrive(self, worker: Worker, packet: Packet, now: float) -> None:
        if worker.decider.effects.rate is not None and worker.waiting >= PACKETS_QUEUED:
            worker.counts.queue_full += 1
            worker.queue.decide(packet.id, DROP)
            return
        fate = worker.decider.decide(now, packet.length)
        if fate.after_s is None:
            worker.counts.lost += 1
            worker.queue.decide(packet.id, DROP)
            return
        payload = None
        if fate.corrupted:
            worker.counts.corrupted += 1
            payload = with_flipped_bit(packet.payload, worker.decider.random)
        self._hold(worker, now, fate.after_s, packet.id, payload)

    def _hold(self, worker: Worker, now: float, after_s: float, packet: int, payload: bytes | None) -> None:
        if after_s > 0:
            worker.counts.delayed += 1
        if worker.in_line:
            worker.line.append((now + after_s, packet))
        elif after_s <= 0:
            worker.queue.decide(packet, ACCEPT, payload)
        else:
            heapq.heappush(worker.held, (now + after_s, next(self._order), packet, payload))

    def _release(self, until: float) -> None:
        for worker in self.workers:
            last = None
            while worker.line and worker.line[0][0] <= until:
                last = worker.line.popleft()[1]
            with contextlib.suppress(OSError):
                if last is not None:
                    worker.queue.accept_up_to(last)
                while worker.held and worker.held[0][0] <= until:
                    _, _, packet, payload = heapq.heappop(worker.held)
                    if packet == _OURS:
                        self._send(worker, payload or b"")
                    else:
                        worker.queue.decide(packet, ACCEPT, payload)


def _copies_socket() -> socket.socket:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.SOL_SOCKET, _SO_MARK, MARK)
    return raw


def main() -> int:
    """See the module."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as unbuffered:  # what follows is not swallowed
        line = unbuffered.readline()
    try:
        workers = [Worker.of(settings) for settings in json.loads(line)]
        standin = Standin(workers)
    except (OSError, QueueError, ValueError, TypeError, KeyError) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        return 1
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    gc.disable()  # nothing here refers to itself, and a collection would make packets late
    print("ready", flush=True)
    standin.run(sys.stdin.fileno(), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
