"""The guard at work: it answers questions, beats its own clock, and mends when nobody is heard any more."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.guard.datagrams import ProbePort
from harness.guard.errors import GuardError
from harness.guard.following import Following
from harness.guard.helpers import Helpers
from harness.guard.ledger import UndoLedger, perform
from harness.guard.tree import Server, start_of

SOCKET = "guard.sock"
LOG = "guard.log"
LINE_BYTES_MAX = 8 << 20
TOOL_TIMEOUT_S = 10.0
TICK_S = 0.1
ANSWERS_KEPT = 500
_PR_SET_CHILD_SUBREAPER = 36

Question = Mapping[str, Any]


class Guard:
    """One host's. ``config``: ``folder`` (its own, removed at the end), ``logs``, ``silence_s``, ``env`` (of tools)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.folder = Path(config["folder"])
        self.server = Server(self.folder)
        self.undo = UndoLedger(self.folder)
        self.helpers = Helpers()
        self.port = ProbePort()
        self._config = config
        self._env = {**os.environ, **config["env"]}
        self._heard = time.monotonic()
        self._due: dict[str, float] = {}
        self._answers: OrderedDict[str, asyncio.Task[Mapping[str, Any]]] = OrderedDict()
        self._over = asyncio.Event()
        self._deeds: Mapping[str, Callable[[Question], Awaitable[Any]]] = {
            "beat": self._look,
            "look": self._look,
            "clock": self._clock,
            "run": self._run,
            "start": self._start,
            "signal": self._signal,
            "dismiss": self._dismiss,
            "register": self._register,
            "discharge": self._discharge,
            "helper": self._helper,
            "helper_ask": self._helper_ask,
            "helper_close": self._helper_close,
            "open_port": self._open_port,
            "send": self._send,
            "arrived": self._arrived,
            "burst": self._burst,
            "journeys": self._journeys,
        }

    async def serve(self, ready: Callable[[], None]) -> None:
        """Until the controller says goodbye or is silent for too long."""
        path = str(self.folder / SOCKET)
        listening = await asyncio.start_unix_server(self._talk, path, limit=LINE_BYTES_MAX)
        os.chmod(path, 0o600)
        ready()
        tick = asyncio.create_task(self._tick())
        await self._over.wait()
        tick.cancel()
        listening.close()

    async def end(self) -> list[str]:
        """Undoes everything, ends everything, removes the folder; returns what failed."""
        await self.helpers.close_all()
        failed = self.undo.undo_all(self._say)
        look = await self.server.signal(signal.SIGKILL)
        self.port.close()
        if look["pids"]:
            failed.append(f"processes {look['pids']} outlive SIGKILL")
        shutil.rmtree(self.folder, ignore_errors=True)
        return failed

    async def _tick(self) -> None:
        """The guard's own clock: limits, silence, orphans."""
        silence_s = float(self._config["silence_s"])
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for entry_id in [each for each, due in self._due.items() if due <= now]:
                del self._due[entry_id]
                error = await asyncio.to_thread(perform, self.undo.entries[entry_id])
                self._say(f"{entry_id} was held longer than its limit: {error or 'undone'}")
            if now - self._heard > silence_s:
                self._say(f"the controller was silent for {silence_s:g} s")
                await self.end()
                self._over.set()
                return
            self.server.reap()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: questions in, answers out as they are ready, and log files if it follows them."""
        working: set[asyncio.Task[None]] = set()
        following: asyncio.Task[None] | None = None
        with contextlib.suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                self._heard = time.monotonic()
                question = json.loads(line)
                if question["op"] == "follow":
                    logs = Path(self._config["logs"])
                    following = asyncio.create_task(Following(logs, question["positions"], writer).run())
                    continue
                task = asyncio.create_task(self._answer(question, writer))
                working.add(task)
                task.add_done_callback(working.discard)
        if following is not None:
            following.cancel()
        writer.close()

    async def _answer(self, question: Question, writer: asyncio.StreamWriter) -> None:
        """Does it, or waits for what is being done under the same number already."""
        number = question["id"]
        task = self._answers.get(number)
        if task is None:
            task = self._answers[number] = asyncio.create_task(self._do(question))
            while len(self._answers) > ANSWERS_KEPT and next(iter(self._answers.values())).done():
                self._answers.popitem(last=False)
        answer = await asyncio.shield(task)
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps({"id": number, **answer}).encode() + b"\n")
            await writer.drain()
        if question["op"] == "end":
            self._over.set()

    async def _do(self, question: Question) -> Mapping[str, Any]:
        try:
            if question["op"] == "end":
                return {"ok": await self.end()}
            return {"ok": await self._deeds[question["op"]](question)}
        except GuardError as error:
            return {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - a question that fails must not take the guard with it
            return {"error": f"{type(error).__name__}: {error}"}

    def _say(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError), (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {text}\n")

    # ---- what can be asked for

    async def _look(self, _: Question) -> Mapping[str, Any]:
        return self.server.look()

    async def _clock(self, _: Question) -> int:
        return time.monotonic_ns()

    async def _start(self, asked: Question) -> Mapping[str, Any]:
        self.server.start(asked)
        return self.server.look()

    async def _signal(self, asked: Question) -> Mapping[str, Any]:
        return await self.server.signal(int(asked["number"]))

    async def _dismiss(self, _: Question) -> None:
        self.server.dismiss()

    async def _run(self, asked: Question) -> Sequence[Any]:
        """A command of this host: status, output, errors."""
        pipe = asyncio.subprocess.PIPE
        argv = asked["argv"]
        try:
            process = await asyncio.create_subprocess_exec(*argv, env=self._env, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            return [127, "", f"{argv[0]}: {error.strerror}"]
        try:
            async with asyncio.timeout(TOOL_TIMEOUT_S):
                out, err = await process.communicate((asked.get("stdin") or "").encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise GuardError(f"{' '.join(argv)} did not end within {TOOL_TIMEOUT_S:g} s") from None
        return [process.returncode, out.decode(errors="replace"), err.decode(errors="replace")]

    async def _register(self, asked: Question) -> None:
        entry = dict(asked["undo"])
        if entry["kind"] in ("continue", "kill"):  # a recycled pid must not be hit
            start = {"pid_start": start_of(entry["arguments"]["pid"])}
            entry["arguments"] = {**start, **entry["arguments"]}
        self.undo.register(entry)
        if asked["after_s"] is not None:
            self._due[asked["undo"]["id"]] = time.monotonic() + asked["after_s"]

    async def _discharge(self, asked: Question) -> None:
        self.undo.discharge(asked["entry"])
        self._due.pop(asked["entry"], None)

    async def _helper(self, asked: Question) -> int:
        return await self.helpers.start(asked["helper"], asked["argv"], self._env)

    async def _helper_ask(self, asked: Question) -> str:
        return await self.helpers.ask(asked["helper"], asked["line"], asked["limit_s"])

    async def _helper_close(self, asked: Question) -> None:
        await self.helpers.close(asked["helper"])

    async def _open_port(self, asked: Question) -> int:
        return await self.port.open(asked["address"], asked["port"])

    async def _send(self, asked: Question) -> None:
        self.port.send(asked["token"], asked["number"], asked["targets"])

    async def _arrived(self, asked: Question) -> list[int]:
        return await self.port.arrived(asked["token"], asked["number"], asked["wanted"], asked["wait_s"])

    async def _burst(self, asked: Question) -> None:
        await self.port.burst(asked["token"], asked["number"], asked["targets"], asked["shape"])

    async def _journeys(self, asked: Question) -> list[list[Any]]:
        return await self.port.journeys(asked["token"], asked["number"], asked["wanted"], asked["shape"])


def adopt_orphans() -> None:
    """Orphans of what this process starts come to it, instead of to the first process (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
