"""Stand-ins for tests and measurements, shipped beside the interfaces they stand in for.

- :class:`VirtualLoop` and :func:`run_virtual`: an event loop whose time jumps to the next timer, so that tests of
  time-outs and rates take no time and read no clock.
- :class:`NullClient`: answers at once; the interpreter's own cost is what remains.
- :class:`ScriptedClient`: does what a function of the test says.

A whole store in memory: :mod:`harness.fake_store`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from checkers.operation import Outcome
from harness.clients import Completion, Invocation

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: instead of sleeping for a time it adds that time to the clock."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now.

        Raises:
            RuntimeError: nothing is ready and no timer is set, so nothing would ever happen.
        """
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("virtual time stands still: every task waits for something that nobody will do")
            self.now_s += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, from 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds of virtual time."""
        return self._jumping.now_s

    def advance(self, s: float) -> None:
        """Time goes on while nothing runs: what a callback does that holds the loop."""
        self._jumping.now_s += s

    def clock(self) -> int:
        """Nanoseconds of virtual time: the clock of a run."""
        return round(self._jumping.now_s * 1e9)


def run_virtual(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine function to its end in virtual time."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))


class NullClient:
    """Every operation is ok after one turn of the loop; a read returns None."""

    async def invoke(self, invocation: Invocation) -> Completion:
        """Ok, with the argument as value."""
        await asyncio.sleep(0)
        return Completion(Outcome.OK, invocation.value)

    async def close(self) -> None:
        """Holds nothing."""


@dataclass(slots=True)
class ScriptedClient:
    """Answers as ``script`` says, which may take its time, raise or never return."""

    process: int
    node: str
    script: Callable[[int, Invocation], Awaitable[Completion]]
    closed: bool = False

    async def invoke(self, invocation: Invocation) -> Completion:
        """What the script says for this process."""
        return await self.script(self.process, invocation)

    async def close(self) -> None:
        """Remembers it."""
        self.closed = True
