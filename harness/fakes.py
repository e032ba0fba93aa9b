"""Stand-ins for tests and measurements, shipped beside the interfaces they stand in for.

- :class:`VirtualLoop` and :func:`run_virtual`: an event loop whose time jumps to the next timer, so that tests of
  time-outs and rates take no time and read no clock.
- :class:`NullClient`: answers at once; the interpreter's own cost is what remains.
- :class:`ScriptedClient`: does what a function of the test says.
- :class:`RegisterSystem`: replicated registers in memory, linearizable unless given :class:`Flaws`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from random import Random
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaws:
    """What is wrong with a :class:`RegisterSystem`. Times are seconds; by default nothing is."""

    isolated: str | None = None
    """A node that serves reads from its own state while cut off from the others (local reads on a deposed leader)."""
    isolated_from_s: float = 0.0
    isolated_for_s: float = 0.0
    replica_lag_s: float = 0.0
    """Every read sees the state of so long ago, except on ``n1``."""
    lose_at_s: float | None = None
    """A crash after which acknowledged writes of the last ``lose_window_s`` are gone."""
    lose_window_s: float = 0.0
    outage_s: float = 0.0
    """How long nobody is served after that crash."""
    repeat_share: float = 0.0
    """Share of the acknowledged updates that are applied a second time ``repeat_after_s`` later."""
    repeat_after_s: float = 0.0


@dataclass(kw_only=True, slots=True)
class RegisterSystem:
    """Registers on several nodes. Each operation takes effect at one moment between its call and its return."""

    random: Random
    latency_s: float = 0.004
    flaws: Flaws = Flaws()
    log: dict[Hashable, list[tuple[float, Any]]] = field(default_factory=dict)
    """For each key, when it took which value."""
    crashed: bool = False

    def client(self, process: int, node: str) -> ScriptedClient:
        """A client of one node."""

        async def invoke(_: int, invocation: Invocation) -> Completion:
            return await self.serve(node, invocation)

        return ScriptedClient(process, node, invoke)

    async def serve(self, node: str, invocation: Invocation) -> Completion:
        """One operation, with its delays."""
        await asyncio.sleep(self.latency_s * self.random.uniform(0.2, 1.0))
        await self._crash(asyncio.get_running_loop().time())
        completion = self._apply(node, invocation)
        await asyncio.sleep(self.latency_s * self.random.uniform(0.2, 1.0))
        return completion

    def _apply(self, node: str, invocation: Invocation) -> Completion:
        now_s = asyncio.get_running_loop().time()
        f, key, value = invocation.f, invocation.key, invocation.value
        if f == "read":
            return Completion(Outcome.OK, self._value(key, self._horizon(node, now_s)))
        if self._cut_off(node, now_s):
            return Completion(Outcome.INFO, error="no majority")
        if f == "cas":
            expected, new = value
            if self._value(key, now_s) != expected:
                return Completion(Outcome.FAIL, error="another value")
            self._put(key, new, now_s)
        else:
            self._put(key, value, now_s)
        return Completion(Outcome.OK, value)

    def _put(self, key: Hashable, value: Any, now_s: float) -> None:
        self.log.setdefault(key, []).append((now_s, value))
        if self.random.random() < self.flaws.repeat_share:
            loop = asyncio.get_running_loop()
            loop.call_later(self.flaws.repeat_after_s, lambda: self.log[key].append((loop.time(), value)))

    def _value(self, key: Hashable, at_s: float) -> Any:
        return next((value for time_s, value in reversed(self.log.get(key, [])) if time_s <= at_s), None)

    def _cut_off(self, node: str, now_s: float) -> bool:
        flaws = self.flaws
        return node == flaws.isolated and 0 <= now_s - flaws.isolated_from_s < flaws.isolated_for_s

    def _horizon(self, node: str, now_s: float) -> float:
        if self._cut_off(node, now_s):
            return self.flaws.isolated_from_s
        return now_s if node == "n1" else now_s - self.flaws.replica_lag_s

    async def _crash(self, now_s: float) -> None:
        at_s = self.flaws.lose_at_s
        if at_s is None or now_s < at_s:
            return
        if not self.crashed:
            self.crashed = True
            kept_s = at_s - self.flaws.lose_window_s
            self.log = {key: [change for change in changes if change[0] < kept_s] for key, changes in self.log.items()}
        await asyncio.sleep(max(0.0, at_s + self.flaws.outage_s - now_s))
