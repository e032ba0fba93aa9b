"""The server of one mount: one thread that answers the kernel, and the harness in between.

An operation that has to wait is a heap entry, not a thread, so a slow sync of one file holds up nobody else. It
is given up when its caller is being killed. A crash is decided while the operation is held: the node's tree gets its
SIGKILL, whatever it still tries is refused, and only then the operation is answered, to nobody.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import json
import math
import os
import select
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from faults.filesystem import wire
from faults.filesystem.device import Device
from faults.filesystem.rules import DATA, HEAL, Fate, Rule, Rules
from faults.filesystem.store import Store
from faults.filesystem.tasks import Task, Tasks
from faults.filesystem.trees import is_dying, kill_tree
from faults.filesystem.unsynced import torn
from faults.filesystem.wire import Opcode, Request

BATCH = 64
"""Requests that are answered before others get their turn: the harness, and operations whose time has come."""
GIVEN_UP_POLL_S = 0.02
"""How often it is looked whether the caller of an interrupted operation is being killed."""
AFTERLIFE_S = 60.0
"""How long it serves on when nobody is left to command it: the watchdog needs a quarter of that at most."""
PROBE_BYTES_MAX = 1 << 16
_ALWAYS = frozenset({"release"})


@dataclass(slots=True)
class Held:
    """An operation that waits. ``interrupted``: its caller got a signal, perhaps a deadly one."""

    request: Request
    task: Task
    fate: Fate
    interrupted: bool = False


class Server:
    """Serves one device from one store."""

    def __init__(self, device: Device, store: Store, random: Random, prober: Prober) -> None:
        self._device = device
        self._store = store
        self._tasks = Tasks(store)
        self._random = random
        self._rules = Rules(random)
        self.prober = prober
        self._counts: Counter[str] = Counter()
        self._held: list[tuple[float, int, int]] = []
        self._waiting: dict[int, Held] = {}
        self._order = itertools.count()
        self._crash: dict[str, Any] | None = None

    # ---- the harness's side

    def command(self, line: bytes) -> dict[str, Any] | None:
        """Does what the harness says in a line, and answers; None if the prober will."""
        try:
            message = json.loads(line)
            return self._obey(message)
        except (ValueError, TypeError, KeyError, OSError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def heal(self) -> None:
        """No rule is in force any more, and a node that was killed by one may start again."""
        self._rules.clear()
        self._crash = None

    def _obey(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        match message["do"]:
            case "rules":
                self._rules.replace(message["owner"], message["rules"])
            case "probe":
                self.prober.ask(message["operations"])
                return None
            case "thaw":
                self._crash = None
            case "lose":
                return {"files": self._store.lose_unsynced(), **self._status()}
            case "sync":
                self._store.sync_all()
            case "status":
                pass
            case other:
                raise ValueError(f"unknown command {other!r}")
        return self._status()

    def _status(self) -> dict[str, Any]:
        return {
            "operations": dict(self._counts),
            "rules": self._rules.tallies(),
            "waiting": len(self._waiting),
            "crash": self._crash,
        }

    # ---- the kernel's side

    def next_s(self) -> float | None:
        """Seconds until something is due."""
        if not self._held:
            return None
        left_s = max(0.0, self._held[0][0] - time.monotonic())
        return min(left_s, GIVEN_UP_POLL_S) if any(each.interrupted for each in self._waiting.values()) else left_s

    def serve(self) -> None:
        """Answers what has arrived, at most :data:`BATCH` requests.

        Raises:
            EOFError: it was unmounted.
        """
        for _ in range(BATCH):
            request = self._device.receive()
            if request is None:
                return
            self._receive(request)

    def release(self) -> None:
        """Does what has waited long enough, and gives up what nobody waits for any more."""
        now = time.monotonic()
        while self._held and self._held[0][0] <= now:
            _, _, unique = heapq.heappop(self._held)
            held = self._waiting.pop(unique, None)
            if held is not None:
                self._execute(held.request, held.task, held.fate)
        for unique, held in list(self._waiting.items()):
            if held.interrupted and is_dying(held.request.pid):
                del self._waiting[unique]
                self._device.refuse(unique, errno.EINTR)

    def _receive(self, request: Request) -> None:
        match request.opcode:
            case Opcode.FORGET:
                self._store.forget(request.node, *wire.FORGET_IN.unpack_from(request.body))
            case Opcode.BATCH_FORGET:
                for number, lookups in wire.FORGET_ONE.iter_unpack(request.body[wire.BATCH_FORGET_IN.size :]):
                    self._store.forget(number, lookups)
            case Opcode.INTERRUPT:
                self._interrupt(*wire.INTERRUPT_IN.unpack_from(request.body))
            case Opcode.INIT:
                self._device.reply(request.unique, wire.init_reply(request.body))
            case Opcode.DESTROY:
                self._device.reply(request.unique)
            case _:
                self._answer(request)

    def _interrupt(self, unique: int) -> None:
        held = self._waiting.get(unique)
        if held is None:
            return
        held.interrupted = True  # perhaps by a signal that it will survive: Go's runtime sends itself some
        self.release()

    def _answer(self, request: Request) -> None:
        try:
            task = self._tasks.understand(request)
        except OSError as error:
            self._device.refuse(request.unique, error.errno or errno.EIO)
            return
        if task is None:
            self._device.refuse(request.unique, errno.ENOSYS)
            return
        self._counts[task.operation] += 1
        if task.operation == "rmdir" and task.path == HEAL:
            self.heal()
            self._device.reply(request.unique)
            return
        if self._crash is not None and task.operation not in _ALWAYS and task.path.partition("/")[0] == DATA:
            self._device.refuse(request.unique, errno.EIO)
            return
        fate = self._fate(task) if self._rules.sets else None
        if fate is None:
            self._perform(request, task)
        elif fate.delay_s > 0:
            self._hold(request.kept(), fate)
        else:
            self._execute(request, task, fate)

    def _fate(self, task: Task) -> Fate | None:
        splits = torn(task.offset, task.length, 0.0) > 0
        return self._rules.decide(task.operation, task.path, grows=task.grows, splits=splits)

    def _hold(self, request: Request, fate: Fate) -> None:
        task = self._tasks.understand(request)
        assert task is not None
        self._waiting[request.unique] = Held(request, task, fate)
        heapq.heappush(self._held, (time.monotonic() + fate.delay_s, next(self._order), request.unique))

    def _execute(self, request: Request, task: Task, fate: Fate) -> None:
        if fate.crash is not None:
            self._die(request, task, fate.crash)
        elif fate.error is not None:
            if task.operation == "fsync" and task.inode is not None:
                self._store.fail_sync(task.inode)
            self._device.refuse(request.unique, fate.error)
        elif fate.short and task.part is not None and task.length > 1:
            self._perform(request, task, self._random.randrange(1, task.length))
        else:
            self._perform(request, task)

    def _perform(self, request: Request, task: Task, part: int | None = None) -> None:
        try:
            body = task.work() if part is None or task.part is None else task.part(part)
        except OSError as error:
            self._device.refuse(request.unique, error.errno or errno.EIO)
            return
        self._device.reply(request.unique, body)

    # ---- crashes

    def _die(self, request: Request, task: Task, rule: Rule) -> None:
        """Kills the caller's tree with the operation in hand. Nothing that it still tries has an effect."""
        kept = self._take_part(task, rule)
        began = time.monotonic()
        killed = kill_tree(request.pid) if request.pid > 0 else []
        lost = self._store.lose_unsynced() if rule.power else None
        self._crash = {
            "operation": task.operation,
            "path": task.path.partition("/")[2],
            "number": rule.number,
            "side": rule.side,
            "killed": killed,
            "took_ms": round((time.monotonic() - began) * 1000, 3),
            "files_that_lost": lost,
            **({"bytes": task.length, "kept": kept} if task.part is not None else {}),
        }
        for unique in [request.unique, *self._waiting]:
            self._device.refuse(unique, errno.EIO)
        self._waiting.clear()

    def _take_part(self, task: Task, rule: Rule) -> int:
        """How much of the operation has taken effect when the node dies: all, nothing, or of a write a few sectors.
        Then what was written to the file before is on the disk, too: it was written back in order.
        """
        if rule.side == "before":
            return 0
        length = torn(task.offset, task.length, self._random.random()) if rule.side == "torn" else task.length
        try:
            if rule.side == "torn" and task.part is not None and task.inode is not None:
                task.part(length)
                self._store.sync_content(task.inode)
            else:
                task.work()
        except OSError:
            return 0
        return length


@dataclass(frozen=True, slots=True)
class Prober:
    """The process that tries (:mod:`faults.filesystem.probes`), by the ends of its pipes."""

    commands: int
    replies: int

    def ask(self, operations: Sequence[str]) -> None:
        """Tells it to try; its answer, a line, comes when it has."""
        os.write(self.commands, json.dumps(operations).encode() + b"\n")


class Serving:
    """The loop: the kernel, the harness and the prober, until the file system is unmounted.

    The harness's input may end before: then the rules end, the node, if it still lives, has a disk that works, and
    there is time to kill it and to unmount.
    """

    def __init__(self, server: Server, device: Device, commands: int, replies: int) -> None:
        self._server = server
        self._device = device
        self._commands = commands
        self._replies = replies
        self._buffer = b""
        self._until: float | None = None

    def run(self) -> None:
        """Returns when it is over."""
        poll = select.poll()
        for fd in (self._device.fd, self._commands, self._server.prober.replies):
            poll.register(fd, select.POLLIN)
        while self._until is None or time.monotonic() < self._until:
            ready = {fd for fd, _ in poll.poll(self._wait_ms())}
            try:
                if self._device.fd in ready:
                    self._server.serve()
            except EOFError:
                return
            self._server.release()
            if self._server.prober.replies in ready:
                self._say(os.read(self._server.prober.replies, PROBE_BYTES_MAX))
            if self._commands in ready and not self._hear():
                poll.unregister(self._commands)
                self._server.heal()
                self._until = time.monotonic() + AFTERLIFE_S

    def _wait_ms(self) -> float | None:
        wait_s = self._server.next_s()
        if wait_s is None and self._until is not None:
            wait_s = AFTERLIFE_S
        return None if wait_s is None else math.ceil(wait_s * 1000)

    def _hear(self) -> bool:
        """Obeys what the harness says; False at its end."""
        try:
            chunk = os.read(self._commands, 1 << 16)
        except ConnectionError:
            chunk = b""
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            answer = self._server.command(line)
            if answer is not None:
                self._say(json.dumps(answer).encode() + b"\n")
        return bool(chunk)

    def _say(self, line: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # nobody listens any more: that will be heard, too
            os.write(self._replies, line)
