"""Helpers of faults on this host: processes that answer lines with lines, and end when their input does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from harness.guard.errors import GuardError

CLOSE_TIMEOUT_S = 3.0
LINE_BYTES_MAX = 1 << 20


class Helpers:
    """By number. They are in the guard's session: never taken for the server's."""

    def __init__(self) -> None:
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._turns: dict[int, asyncio.Lock] = {}

    async def start(self, number: int, argv: Sequence[str], env: Mapping[str, str]) -> int:
        """Starts one; returns its process id.

        Raises:
            GuardError: there is no such program.
        """
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, env=env, stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE_BYTES_MAX
            )
        except OSError as error:
            raise GuardError(f"{' '.join(argv)} cannot be started: {error}") from None
        self._processes[number], self._turns[number] = process, asyncio.Lock()
        return process.pid

    async def ask(self, number: int, line: str, timeout_s: float) -> str:
        """Sends a line; returns the next that it prints.

        Raises:
            GuardError: it is dead (with its last words), or does not answer in time.
        """
        process = self._processes[number]
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._turns[number]:
            try:
                async with asyncio.timeout(timeout_s):
                    process.stdin.write(line.encode() + b"\n")
                    await process.stdin.drain()
                    answer = await process.stdout.readline()
            except TimeoutError:
                raise GuardError(f"it does not answer within {timeout_s:g} s") from None
            except OSError:
                answer = b""
        if not answer:
            raise GuardError(f"it is dead: {await self._last_words(process)}")
        return answer.decode(errors="replace").rstrip("\n")

    async def close(self, number: int) -> None:
        """Ends its input and waits for it to end; kills it if it does not. No error if it is unknown."""
        process = self._processes.pop(number, None)
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def close_all(self) -> None:
        """Every one of them, side by side."""
        await asyncio.gather(*(self.close(number) for number in tuple(self._processes)))

    async def _last_words(self, process: asyncio.subprocess.Process) -> str:
        assert process.stderr is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                said = await process.stderr.read()
                return said.decode(errors="replace").strip()[-500:] or f"status {await process.wait()}"
        return "it says nothing"
