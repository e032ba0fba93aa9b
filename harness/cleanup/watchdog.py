"""The controller's side of :mod:`harness.cleanup.watchdog_process`: starting it, the undo list, the heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cleanup import marks, undoing
from harness.errors import HarnessError
from harness.host import namespaces, processes

if TYPE_CHECKING:
    from faults.needs import Undo

SILENCE_S = 30.0
BEAT_S = 1.0
ANSWER_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 35.0

logger = logging.getLogger(__name__)


class WatchdogError(HarnessError):
    """The watchdog does not answer: nothing more may be broken, since nobody would mend it."""


class Watchdog:
    """Implements :class:`faults.needs.UndoList`. Started without an event loop; entries are registered from one."""

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self._process = process
        self._line = line
        self._loop: asyncio.AbstractEventLoop | None = None
        self._buffer = b""
        self._number = 0
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._beat: asyncio.TimerHandle | None = None

    @classmethod
    def start(cls, *, run_id: str, folder: Path, silence_s: float = SILENCE_S) -> Watchdog:
        """Starts the process for the run whose folder this is; does not wait for it (the first entry does)."""
        ours, theirs = socket.socketpair()
        config = {
            "socket": theirs.fileno(),
            "run_id": run_id,
            "folder": str(folder.resolve()),
            "controller": str(marks.this_controller()),
            "silence_s": silence_s,
            "private": os.readlink("/proc/self/ns/mnt") if namespaces.entered() else None,
        }
        with theirs, (folder / "harness.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.cleanup.watchdog_process", json.dumps(config)],
                env=_environment(run_id),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """The watchdog's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the watchdog still runs."""
        return self._process.poll() is None

    async def register(self, undo: Undo) -> None:
        """Returns when the watchdog holds the entry, also on disk.

        Raises:
            WatchdogError: it is gone or does not answer.
        """
        entry = {"id": undo.id, "kind": undo.kind, "arguments": _identified(undo)}
        await self._ask({"op": "register", "undo": entry, "after_s": undo.after_s})

    async def discharge(self, undo_id: str) -> None:
        """Forgets an entry.

        Raises:
            WatchdogError: it is gone or does not answer.
        """
        await self._ask({"op": "discharge", "id": undo_id})

    def close(self) -> Sequence[str]:
        """Says goodbye: the watchdog undoes what it still holds, and ends. Safe to call twice.

        Returns what it had to undo, and how that went.
        """
        if self._line.fileno() == -1:
            return []
        self._detach()
        try:
            return self._goodbye()
        except OSError as error:
            logger.error("the watchdog did not answer the goodbye: %s", error)
            return []
        finally:
            self._line.close()
            self._reap()

    def _goodbye(self) -> Sequence[str]:
        self._line.settimeout(CLOSE_TIMEOUT_S)
        self._number += 1
        self._line.sendall(_encode({"op": "close", "n": self._number}))
        while True:
            for message in self._take(self._line.recv(1 << 16)):
                if message.get("n") == self._number:
                    return [_outcome(each) for each in message["undone"]]

    def _reap(self) -> None:
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            logger.error("the watchdog (pid %d) does not end: killed", self.pid)
            self._process.kill()
            self._process.wait(CLOSE_TIMEOUT_S)

    async def _ask(self, message: dict[str, Any]) -> None:
        loop = self._attach()
        self._number += 1
        number, answered = self._number, loop.create_future()
        self._waiting[number] = answered
        try:
            # A line is far smaller than the socket's buffer, so this never blocks on a watchdog that lives.
            self._line.sendall(_encode({**message, "n": number}))
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await answered
        except (OSError, TimeoutError) as error:
            reason = f"does not answer within {ANSWER_TIMEOUT_S:g} s" if isinstance(error, TimeoutError) else str(error)
            raise WatchdogError(f"the watchdog (pid {self.pid}) {reason}: see harness.log in the run folder") from error
        finally:
            self._waiting.pop(number, None)

    def _attach(self) -> asyncio.AbstractEventLoop:
        """Listens and beats on the running loop. The beat comes from the loop, so that a loop that hangs is silent."""
        loop = asyncio.get_running_loop()
        if self._line.fileno() == -1:
            raise WatchdogError("the watchdog was told goodbye already")
        if loop is not self._loop:
            self._detach()
            self._loop = loop
            self._line.setblocking(False)
            loop.add_reader(self._line, self._read)
            self._beat = loop.call_later(BEAT_S, self._send_beat)
        return loop

    def _detach(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._line)
        self._loop = None

    def _send_beat(self) -> None:
        assert self._loop is not None
        self._number += 1
        with contextlib.suppress(OSError):
            self._line.sendall(_encode({"op": "beat", "n": self._number}))
        self._beat = self._loop.call_later(BEAT_S, self._send_beat)

    def _read(self) -> None:
        try:
            chunk = self._line.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._lose()
            return
        for message in self._take(chunk):
            answered = self._waiting.get(message["n"])
            if answered is not None and not answered.done():
                answered.set_result(None)

    def _lose(self) -> None:
        logger.error("the watchdog (pid %d) is gone", self.pid)
        self._detach()
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(ConnectionError("is gone"))

    def _take(self, chunk: bytes) -> list[dict[str, Any]]:
        if not chunk:
            raise ConnectionError("is gone")
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        return [json.loads(line) for line in lines]


def _environment(run_id: str) -> dict[str, str]:
    """The watchdog is marked as such: ``capsize clean`` gives it time instead of killing it as a leftover."""
    here = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**os.environ, **marks.environment_marks(run_id), marks.ENV_WATCHDOG: "1", "PYTHONPATH": paths}


def _identified(undo: Undo) -> dict[str, Any]:
    """Its arguments, with what tells whoever is meant from others who have the same pid or path later."""
    if undo.kind in ("continue", "kill"):
        return _with_start(undo.arguments)
    if undo.kind == "run" and (entered := undoing.namespaces_entered(undo.arguments["argv"])):
        return {**undo.arguments, "entered": entered}
    return dict(undo.arguments)


def _with_start(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The process's start time, if the caller did not say it."""
    start = arguments.get("pid_start")
    return {**arguments, "pid_start": processes.start_ticks(arguments["pid"]) if start is None else start}


def _outcome(each: Mapping[str, Any]) -> str:
    return f"{each['id']}: {each['error'] or 'undone'}"


def _encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
