"""Questions to a host's guard, over an SSH connection that may break at any time.

A lost connection is not a dead node: it is made again, with growing pauses, and what was asked is asked again under
the same number, so that nothing is done twice. Whoever waits longer than it wanted to is told that the state is
unknown. A beat each half second shows that the connection is alive (one that was cut says nothing by itself), tells
the guard that we are, and brings the node's process ids.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import logging
import os
import shlex
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko

from harness.guard import BANNER
from harness.substrates.ssh_connection import Connection, SshError, words_for
from harness.substrates.ssh_hosts import Host

BEAT_S = 0.5
SILENCE_S = 3.0
"""A beat that is not answered within this time means that the connection is cut."""
ASK_TIMEOUT_S = 12.0
RECONNECT_S = 60.0
"""For so long it is tried to connect again, with pauses of 0.1 to 2 s; then the host is given up."""
PAUSE_S, PAUSE_S_MAX = 0.1, 2.0
BANNER_BYTES_MAX = 1 << 16

logger = logging.getLogger(__name__)


class GuardRefusedError(SshError):
    """The guard answered that it cannot; the text is its own."""


class LostError(SshError):
    """The connection broke while an answer was awaited."""


def guard_words(host: Host, folder: str, *words: str) -> list[str]:
    """The command that runs the uploaded guard."""
    return words_for(host, ["env", f"PYTHONPATH={folder}/lib", host.python, "-m", "harness.guard", *words])


class Line:
    """To the guard of one host, whose folder this is."""

    def __init__(self, host: Host, folder: str, copy: LogCopy, *, beat_s: float = BEAT_S) -> None:
        self.host = host
        self.reconnections = 0
        self._folder = folder
        self._copy = copy
        self._beat_s = beat_s
        self._threads = ThreadPoolExecutor(3, thread_name_prefix=f"ssh {host.address}")
        self._connection: Connection | None = None
        self._channel: paramiko.Channel | None = None
        self._generation = 0
        self._ready = asyncio.Event()
        self._given_up: str | None = None
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._name = os.urandom(6).hex()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.on_beat: Callable[[Mapping[str, Any]], None] = lambda _: None

    async def open(self) -> None:
        """Connects to a guard that runs.

        Raises:
            SshError: it cannot be reached.
        """
        await self._connect()
        self._keep(self._beat())

    @property
    def opened(self) -> bool:
        """Whether the guard was ever reached."""
        return self._generation > 0

    async def ask(self, op: str, *, timeout_s: float = ASK_TIMEOUT_S, **fields: Any) -> Any:
        """The guard's answer, whatever becomes of connections meanwhile.

        Raises:
            GuardRefusedError: the guard says no.
            SshError: no answer in time, or the host was given up: the state there is unknown.
        """
        number = f"{self._name} {next(self._numbers)}"
        line = json.dumps({"id": number, "op": op, **fields}).encode() + b"\n"
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    await self._ready.wait()
                    if self._given_up is not None:
                        raise SshError(f"{self.host.words}: {self._given_up}")
                    with contextlib.suppress(LostError):
                        return await self._ask_once(number, line)
        except TimeoutError:
            raise SshError(
                f"{self.host.words}: no answer to {op!r} within {timeout_s:g} s: what is there is unknown"
            ) from None

    async def close(self) -> None:
        """Ends the connection; the guard goes on until it is told or misses us."""
        self._closing = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._hang_up()
        self._threads.shutdown(wait=False)

    async def blocking(self, work: Callable[[Connection], Any]) -> Any:
        """Work with the connection itself (transfers of files), in a thread.

        Raises:
            SshError: whatever goes wrong with it.
        """
        async with asyncio.timeout(ASK_TIMEOUT_S):
            await self._ready.wait()
        if self._connection is None:
            raise SshError(f"{self.host.words}: {self._given_up or 'the connection is lost'}")
        return await self._in_thread(work, self._connection)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _ask_once(self, number: str, line: bytes) -> Any:
        generation, channel = self._generation, self._channel
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if channel is None:
                raise LostError(f"{self.host.words}: the connection is lost")
            try:
                await self._in_thread(channel.sendall, line)
            except (OSError, EOFError, paramiko.SSHException) as error:
                self._lose(generation, str(error))
                raise LostError(f"{self.host.words}: {error}") from None
            return await answer
        finally:
            del self._waiting[number]
            answer.cancel()  # whoever set an exception meanwhile is not waited for any more

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._beat_s)
            await self._ready.wait()
            generation = self._generation
            number = f"{self._name} {next(self._numbers)}"
            line = json.dumps({"id": number, "op": "beat"}).encode() + b"\n"
            try:
                async with asyncio.timeout(SILENCE_S):
                    self.on_beat(await self._ask_once(number, line))
            except TimeoutError:
                self._lose(generation, f"silent for {SILENCE_S:g} s")
            except SshError as error:
                logger.info("%s", error)

    def _lose(self, generation: int, reason: str) -> None:
        """Once for each connection: whoever waits asks again on the next."""
        if generation != self._generation or not self._ready.is_set() or self._closing:
            return
        logger.warning("%s: the connection is lost (%s): connecting again", self.host.words, reason)
        self._ready.clear()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LostError(f"{self.host.words}: {reason}"))
        self._keep(self._reconnect())

    async def _reconnect(self) -> None:
        await self._hang_up()
        loop = asyncio.get_running_loop()
        deadline, pause_s = loop.time() + RECONNECT_S, PAUSE_S
        while True:
            try:
                await self._connect()
            except SshError as error:
                if loop.time() > deadline or isinstance(error, GuardRefusedError):
                    self._given_up = f"given up: {error}"
                    logger.error("%s", self._given_up)
                    self._ready.set()
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
                continue
            self.reconnections += 1
            logger.warning("%s: connected again", self.host.words)
            return

    async def _connect(self) -> None:
        self._connection = await self._in_thread(Connection.open, self.host)
        self._channel = await self._in_thread(self._call_guard, self._connection)
        self._generation += 1
        loop, follow = asyncio.get_running_loop(), {"op": "follow", "positions": self._copy.positions}
        loop.run_in_executor(self._threads, self._read, loop, self._channel, self._generation)
        await self._in_thread(self._channel.sendall, json.dumps(follow).encode() + b"\n")
        self._ready.set()

    def _call_guard(self, connection: Connection) -> paramiko.Channel:
        """A channel on which the guard listens; what a login shell says first is passed over. In a thread."""
        channel = connection.channel(shlex.join(guard_words(self.host, self._folder, "talk", self._folder)))
        lines = _Lines(channel)
        while BANNER not in (line := lines.next()):
            pass
        if not line.endswith("ready"):
            raise GuardRefusedError(f"{self.host.words}: the guard is gone: it missed us for too long, and healed")
        channel.settimeout(None)
        return channel

    def _read(self, loop: asyncio.AbstractEventLoop, channel: paramiko.Channel, generation: int) -> None:
        """In a thread: everything that comes, until the end."""
        buffer = b""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException, RuntimeError):  # RuntimeError: no loop
            while chunk := channel.recv(1 << 16):
                *lines, buffer = (buffer + chunk).split(b"\n")
                loop.call_soon_threadsafe(self._hear, lines)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._lose, generation, "it ended")

    def _hear(self, lines: list[bytes]) -> None:
        for message in map(json.loads, lines):
            if "file" in message:
                self._copy.accept(message["file"], message["at"], base64.b64decode(message["data"]))
                continue
            answer = self._waiting.get(message["id"])
            if answer is not None and not answer.done():
                if "error" in message:
                    answer.set_exception(GuardRefusedError(f"{self.host.words}: {message['error']}"))
                else:
                    answer.set_result(message["ok"])

    async def _hang_up(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await self._in_thread(connection.close)

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Lines:
    """The first lines of a channel, byte by byte, so that nothing behind them is swallowed."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._bytes = 0

    def next(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            byte = self._channel.recv(1)
            self._bytes += 1
            if not byte or self._bytes > BANNER_BYTES_MAX:
                words = self._channel.makefile_stderr("rb").read() if not byte else b""
                raise SshError(f"the guard does not answer: {(words or line).decode(errors='replace').strip()[-300:]}")
            line += byte
        return line.decode(errors="replace").rstrip("\n")


class LogCopy:
    """A node's log files here, as far as they came. Chunks that overlap what is here are cut; none can be missing,
    because each connection begins where the copy ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sizes: dict[str, int] = {}

    @property
    def positions(self) -> Mapping[str, int]:
        """How much of each file is here."""
        return dict(self._sizes)

    def accept(self, name: str, at: int, data: bytes) -> None:
        """Appends what is new of a chunk."""
        if "/" in name or name.startswith("."):
            return
        have = self._sizes.get(name, 0)
        if at > have or at + len(data) <= have:
            return
        with (self.folder / name).open("ab") as file:
            file.write(data[have - at :])
        self._sizes[name] = at + len(data)
