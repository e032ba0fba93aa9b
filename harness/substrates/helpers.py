"""Helpers: processes of the harness's own beside a node, which answer lines with lines (:class:`faults.needs.Helper`).

They are of the controller's session, so they are never taken for the node's, and the watchdog's sweep finds them. Their
input is a socket of the controller's: when the controller dies it ends, and the helper undoes its deed. They are
started by ``vfork`` (:mod:`subprocess`), not by the event loop: a fork of a large controller costs milliseconds each,
and stirs up libraries that have threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from faults.needs import HelperError
from harness.host import namespaces
from harness.host.tools import wait_exit

CLOSE_TIMEOUT_S = 5.0
LINE_BYTES_MAX = 1 << 20
PYTHON = "python3"
WORD_SHOWN = 80
"""Characters of an argument in messages: a program may be one."""


class LocalHelper:
    """A child of the controller. Implements :class:`faults.needs.Helper`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        errors: int,
        words: str,
    ) -> None:
        self._process = process
        self._reader, self._writer = line
        self._errors = errors
        self._words = words
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, argv: Sequence[str]) -> LocalHelper:
        """Starts it.

        Raises:
            HelperError: there is no such program.
        """
        words = " ".join(word if len(word) <= WORD_SHOWN else f"{word[:WORD_SHOWN]}..." for word in argv)
        ours, theirs = socket.socketpair()
        errors = os.memfd_create("helper")
        try:
            with theirs:
                process = _spawn(argv, theirs.fileno(), errors)
        except OSError as error:
            ours.close()
            os.close(errors)
            raise HelperError(f"{words} cannot be started: {error}") from None
        ours.setblocking(False)
        return cls(process, await asyncio.open_connection(sock=ours, limit=LINE_BYTES_MAX), errors, words)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ask(self, line: str, *, timeout_s: float = 5.0) -> str:
        """See the protocol."""
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_s):
                    self._writer.write(line.encode() + b"\n")
                    await self._writer.drain()
                    answer = await self._reader.readline()
            except TimeoutError:
                raise HelperError(f"{self._words} does not answer within {timeout_s:g} s") from None
            except OSError:
                answer = b""
        if not answer:
            raise HelperError(f"{self._words} is dead: {await self._last_words()}")
        return answer.decode(errors="replace").rstrip("\n")

    async def close(self) -> None:
        """See the protocol."""
        if self._errors < 0:
            return
        with contextlib.suppress(OSError):
            self._writer.write_eof()  # it may still say something: its end stays open until it is dead
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._wait()
        except TimeoutError:
            self._process.kill()
            await self._wait()
        self._writer.close()
        os.close(self._errors)
        self._errors = -1

    async def _wait(self) -> int:
        if self._process.poll() is None:
            await wait_exit(self._process)
        return self._process.wait()

    async def _last_words(self) -> str:
        if self._errors < 0:
            return "it was ended"
        status: int | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                status = await self._wait()
        size = os.fstat(self._errors).st_size
        said = os.pread(self._errors, 2000, max(0, size - 2000)).decode(errors="replace").strip()
        return said[-500:] or f"status {status}"


def _spawn(argv: Sequence[str], line: int, errors: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, env=_environment(), stdin=line, stdout=line, stderr=errors)


def locally(argv: Sequence[str]) -> list[str]:
    """``python3`` is the controller's own interpreter; other programs are found where root's are."""
    program = sys.executable if argv[0] == PYTHON else namespaces.tool(argv[0])
    return [program, *argv[1:]]


def _environment() -> Mapping[str, str]:
    """One that can import ``faults``."""
    here = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**namespaces.tool_environment(), "PYTHONPATH": paths}
