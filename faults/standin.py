"""The stand-in for netem where the kernel has none: a process in a node's network namespace that delays, loses, copies
and spoils the packets that a firewall rule queues for it (:mod:`faults.nfqueue`).

Packets are held where they *arrive* (INPUT): what is held where it is sent counts against the sender's small-queue
limit, and a TCP connection crawls. Copies are made where a packet is *sent* (OUTPUT), where the copy can be put on the
wire like any other packet; the rule there passes over what carries :data:`MARK`.

It is told what to do by one line of JSON on its standard input, answers ``ready``, then answers each further line with
a line of counts, and ends when its input ends: whoever started it is dead then, or heals. What it held is delivered
first; the rules let packets pass when nobody listens, so a dead stand-in breaks nothing.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Literal

from faults.impairment import Decider, Impairment, with_flipped_bit
from faults.nfqueue import ACCEPT, DROP, Packet, Queue, QueueError

MARK = 0x43505A
"""On copies, so that they are not copied again."""

_SO_MARK = 36
_LENGTH_ONLY = 64
"""Bytes of each packet that are copied where only its length is wanted."""
_WHOLE = 0xFFFF

Place = Literal["arriving", "leaving"]


@dataclass(kw_only=True, slots=True)
class Counts:
    """What was done to packets."""

    packets: int = 0
    delayed: int = 0
    lost: int = 0
    duplicated: int = 0
    corrupted: int = 0
    cpu_s: float = 0.0


@dataclass(kw_only=True, slots=True)
class Worker:
    """One queue and what happens to its packets."""

    queue: Queue
    decider: Decider
    place: Place
    counts: Counts = field(default_factory=Counts)

    @staticmethod
    def of(settings: Mapping[str, Any]) -> Worker:
        impairment = Impairment.model_validate(settings["impairment"])
        needs_all = impairment.corrupt or settings["place"] == "leaving"
        copy = _WHOLE if needs_all else _LENGTH_ONLY if impairment.rate is not None else 0
        decider = Decider(impairment=impairment, random=Random(settings["seed"]))
        return Worker(queue=Queue(settings["queue"], copy=copy), decider=decider, place=settings["place"])


class Standin:
    """The event loop: packets in, verdicts when they are due."""

    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers
        self._held: list[tuple[float, int, Worker, int, bytes | None]] = []
        self._order = itertools.count()
        self._copies = _copies_socket() if any(worker.place == "leaving" for worker in workers) else None

    def run(self, input_: int, output: Any) -> None:
        """Works until the input ends."""
        with selectors.EpollSelector() as selector:
            selector.register(input_, selectors.EVENT_READ, None)
            for worker in self.workers:
                selector.register(worker.queue, selectors.EVENT_READ, worker)
            while True:
                wait = max(0.0, self._held[0][0] - time.monotonic()) if self._held else None
                for key, _ in selector.select(wait):
                    if key.data is not None:
                        self._receive(key.data)
                    elif not self._answer(input_, output):
                        self._release(float("inf"))
                        return
                self._release(time.monotonic())

    def _answer(self, input_: int, output: Any) -> bool:
        if not os.read(input_, 4096):
            return False
        total = Counts()
        for worker in self.workers:
            for name, number in asdict(worker.counts).items():
                setattr(total, name, getattr(total, name) + number)
        total.cpu_s = time.process_time()
        output.write(json.dumps(asdict(total)) + "\n")
        output.flush()
        return True

    def _receive(self, worker: Worker) -> None:
        now = time.monotonic()
        for packet in worker.queue.receive():
            worker.counts.packets += 1
            if worker.place == "leaving":
                self._leave(worker, packet)
            else:
                self._arrive(worker, packet, now)

    def _leave(self, worker: Worker, packet: Packet) -> None:
        worker.queue.decide(packet.id, ACCEPT)
        if worker.decider.duplicates() and self._copies is not None:
            worker.counts.duplicated += 1
            target = socket.inet_ntoa(packet.payload[16:20])
            with contextlib.suppress(OSError):
                self._copies.sendto(packet.payload, (target, 0))

    def _arrive(self, worker: Worker, packet: Packet, now: float) -> None:
        fate = worker.decider.decide(now, packet.length)
        if fate.after_s is None:
            worker.counts.lost += 1
            worker.queue.decide(packet.id, DROP)
            return
        payload = None
        if fate.corrupted:
            worker.counts.corrupted += 1
            payload = with_flipped_bit(packet.payload, worker.decider.random)
        if fate.after_s <= 0:
            worker.queue.decide(packet.id, ACCEPT, payload)
            return
        worker.counts.delayed += 1
        heapq.heappush(self._held, (now + fate.after_s, next(self._order), worker, packet.id, payload))

    def _release(self, until: float) -> None:
        held = self._held
        while held and held[0][0] <= until:
            _, _, worker, packet, payload = heapq.heappop(held)
            with contextlib.suppress(OSError):
                worker.queue.decide(packet, ACCEPT, payload)


def _copies_socket() -> socket.socket:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.SOL_SOCKET, _SO_MARK, MARK)
    return raw


def main() -> int:
    """See the module."""
    line = sys.stdin.buffer.readline()
    try:
        workers = [Worker.of(settings) for settings in json.loads(line)]
    except (QueueError, ValueError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    print("ready", flush=True)
    Standin(workers).run(sys.stdin.fileno(), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
