"""Helpers: processes of the harness's own beside a node, which answer lines with lines (:class:`faults.needs.Helper`).

They are of the controller's session, so they are never taken for the node's, and the watchdog's sweep finds them. Their
input is a pipe from the controller: when the controller dies it ends, and the helper undoes its deed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from faults.needs import HelperError
from harness import namespaces

CLOSE_TIMEOUT_S = 5.0
LINE_BYTES_MAX = 1 << 20
PYTHON = "python3"


class LocalHelper:
    """A child of the controller. Implements :class:`faults.needs.Helper`."""

    def __init__(self, process: asyncio.subprocess.Process, words: str) -> None:
        self._process = process
        self._words = words
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, argv: Sequence[str]) -> LocalHelper:
        """Starts it.

        Raises:
            HelperError: there is no such program.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=_environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
            )
        except OSError as error:
            raise HelperError(f"{' '.join(argv)} cannot be started: {error}") from None
        return cls(process, " ".join(argv))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ask(self, line: str, *, timeout_s: float = 5.0) -> str:
        """See the protocol."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_s):
                    self._process.stdin.write(line.encode() + b"\n")
                    await self._process.stdin.drain()
                    answer = await self._process.stdout.readline()
            except TimeoutError:
                raise HelperError(f"{self._words} does not answer within {timeout_s:g} s") from None
            except OSError:
                answer = b""
        if not answer:
            raise HelperError(f"{self._words} is dead: {await self._last_words()}")
        return answer.decode(errors="replace").rstrip("\n")

    async def close(self) -> None:
        """See the protocol."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _last_words(self) -> str:
        assert self._process.stderr is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                said = await self._process.stderr.read()
                return said.decode(errors="replace").strip()[-500:] or f"status {await self._process.wait()}"
        return "it says nothing"


def locally(argv: Sequence[str]) -> list[str]:
    """``python3`` is the controller's own interpreter; other programs are found where root's are."""
    program = sys.executable if argv[0] == PYTHON else namespaces.tool(argv[0])
    return [program, *argv[1:]]


def _environment() -> Mapping[str, str]:
    """One that can import ``faults``."""
    here = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**namespaces.tool_environment(), "PYTHONPATH": paths}
