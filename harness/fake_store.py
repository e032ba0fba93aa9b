"""A replicated store in memory, linearizable unless given :class:`Flaws`: what workloads are measured on.

Each operation takes effect at one moment between its call and its return, in the virtual time of
:mod:`harness.fakes`. A key's past is kept, so that a flaw can show a state that was, or forget one that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.fakes import ScriptedClient


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaws:
    """What is wrong with a :class:`StoreSystem`. Times are seconds; by default nothing is."""

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
    crossed_share: float = 0.0
    """Share of the answers that are those of another client, to the last operation of the same kind."""
    torn_share: float = 0.0
    """Share of the transactions whose second half takes effect ``torn_for_s`` after the first."""
    torn_for_s: float = 0.0
    unfenced: bool = False
    """Fences are not looked at."""
    doubled_share: float = 0.0
    """Share of the acquires of a held lock that are granted all the same."""
    same_token: bool = False
    """Every lock is given out under the token 1."""
    pause_share: float = 0.0
    """Share of the answers that stay away for ``pause_s``: the client is told too late. No flaw of the store."""
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """A lock's state."""

    holder: str | None = None
    token: int = 0
    until_s: float = float("inf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fenced:
    """A register's state: its value, and the highest fence that it was shown."""

    value: Any = None
    fence: int = 0


Step = tuple[Any, Completion]
"""The state of a key after an operation, and the answer. The same state: it is unchanged."""


@dataclass(kw_only=True, slots=True)
class StoreSystem:
    """Keys on several nodes: registers, sets, logs, counters, lists and locks."""

    random: Random
    latency_s: float = 0.004
    flaws: Flaws = Flaws()
    log: dict[Hashable, list[tuple[float, Any]]] = field(default_factory=dict)
    """For each key, when it took which state."""
    crashed: bool = False
    answers: dict[str, Completion] = field(default_factory=dict)
    """The last answer to each function."""
    owners: dict[tuple[int, Hashable], str] = field(default_factory=dict)
    """Under which name a process acquired a lock last."""
    acquired: int = 0

    def client(self, process: int, node: str) -> ScriptedClient:
        """A client of one node."""

        async def invoke(_: int, invocation: Invocation) -> Completion:
            return await self.serve(node, invocation, process)

        return ScriptedClient(process, node, invoke)

    async def serve(self, node: str, invocation: Invocation, process: int = 0) -> Completion:
        """One operation, with its delays."""
        await asyncio.sleep(self.latency_s * self.random.uniform(0.2, 1.0))
        await self._crash(asyncio.get_running_loop().time())
        completion = self._crossed(invocation, await self._apply(node, invocation, process))
        late_s = self.flaws.pause_s if self.random.random() < self.flaws.pause_share else 0.0
        await asyncio.sleep(self.latency_s * self.random.uniform(0.2, 1.0) + late_s)
        return completion

    async def _apply(self, node: str, invocation: Invocation, process: int) -> Completion:
        now_s = asyncio.get_running_loop().time()
        if invocation.f == "txn":
            return await self._transaction(node, invocation, now_s)
        if invocation.f == "read":
            return Completion(Outcome.OK, _shown(self._state(invocation.key, self._horizon(node, now_s))))
        if self._cut_off(node, now_s):
            return Completion(Outcome.INFO, error="no majority")
        if invocation.f in ("acquire", "release"):
            return self._lock(invocation, process, now_s)
        return self._update(invocation, now_s)

    def _update(self, invocation: Invocation, now_s: float) -> Completion:
        """An operation that may change its key, and perhaps changes it once more later."""
        change = _CHANGES[invocation.f]
        before = self._state(invocation.key, now_s)
        after, completion = change(before, invocation.value, self.flaws)
        if completion.outcome is Outcome.OK:
            self._put(invocation.key, after, now_s)
            self._repeat(lambda state: change(state, invocation.value, self.flaws)[0], invocation.key)
        return completion

    def _repeat(self, change: Callable[[Any], Any], key: Hashable) -> None:
        if self.random.random() >= self.flaws.repeat_share:
            return
        loop = asyncio.get_running_loop()
        loop.call_later(
            self.flaws.repeat_after_s, lambda: self._put(key, change(self._state(key, loop.time())), loop.time())
        )

    async def _transaction(self, node: str, invocation: Invocation, now_s: float) -> Completion:
        """All steps at one moment; one that is torn, at two."""
        steps, at_s = invocation.value, now_s
        if all(kind == "r" for kind, _, _ in steps):
            at_s = self._horizon(node, now_s)
        elif self._cut_off(node, now_s):
            return Completion(Outcome.INFO, error="no majority")
        middle = len(steps) // 2 if self.random.random() < self.flaws.torn_share else 0
        done = [self._step(step, at_s) for step in steps[:middle]]
        if done:
            await asyncio.sleep(self.flaws.torn_for_s)
            at_s += self.flaws.torn_for_s
        return Completion(Outcome.OK, [*done, *(self._step(step, at_s) for step in steps[middle:])])

    def _step(self, step: Any, at_s: float) -> list[Any]:
        kind, name, value = step
        state = self._state(name, at_s) or ()
        if kind == "r":
            return [kind, name, list(state) or None]
        self._put(name, (*state, value), at_s)
        self._repeat(lambda state: (*(state or ()), value), name)
        return [kind, name, value]

    def _lock(self, invocation: Invocation, process: int, now_s: float) -> Completion:
        key, state = invocation.key, self._state(invocation.key, now_s) or Lock()
        held = state.holder is not None and now_s < state.until_s
        if invocation.f == "release":
            if not held or state.holder != self.owners.get((process, key)):
                return Completion(Outcome.FAIL, error="not the holder")
            self._put(key, Lock(token=state.token), now_s)
            return Completion(Outcome.OK, invocation.value)
        if held and self.random.random() >= self.flaws.doubled_share:
            return Completion(Outcome.FAIL, error="held")
        self.acquired += 1
        owner = self.owners[process, key] = f"{process}.{self.acquired}"
        until_s = now_s + invocation.value / 1000 if invocation.value else float("inf")
        token = 1 if self.flaws.same_token else state.token + 1
        self._put(key, Lock(holder=owner, token=token, until_s=until_s), now_s)
        return Completion(Outcome.OK, token)

    def _crossed(self, invocation: Invocation, completion: Completion) -> Completion:
        last = self.answers.get(invocation.f, completion)
        self.answers[invocation.f] = completion
        return last if self.random.random() < self.flaws.crossed_share else completion

    def _put(self, key: Hashable, state: Any, now_s: float) -> None:
        self.log.setdefault(key, []).append((now_s, state))

    def _state(self, key: Hashable, at_s: float) -> Any:
        return next((state for time_s, state in reversed(self.log.get(key, [])) if time_s <= at_s), None)

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


def _shown(state: Any) -> Any:
    """A state as a read tells it."""
    if isinstance(state, Fenced):
        return state.value
    if isinstance(state, frozenset):
        return sorted(state)
    return list(state) if isinstance(state, tuple) else state


def _ok(state: Any, value: Any) -> Step:
    return state, Completion(Outcome.OK, value)


def _write(state: Any, value: Any, flaws: Flaws) -> Step:
    before = state or Fenced()
    fence = value[0] if isinstance(value, tuple | list) else 0
    if fence and fence < before.fence and not flaws.unfenced:
        return state, Completion(Outcome.FAIL, error="fenced off")
    return _ok(Fenced(value=value, fence=max(fence, before.fence)), value)


def _compare_and_set(state: Any, value: Any, flaws: Flaws) -> Step:  # noqa: ARG001
    expected, new = value
    if (state or Fenced()).value != expected:
        return state, Completion(Outcome.FAIL, error="another value")
    return _ok(Fenced(value=new), value)


def _increment(state: Any, value: Any, flaws: Flaws) -> Step:  # noqa: ARG001
    number = (state or 0) + value
    return _ok(number, number)


_CHANGES: Mapping[str, Callable[[Any, Any, Flaws], Step]] = {
    "write": _write,
    "cas": _compare_and_set,
    "add": lambda state, value, _: _ok((state or frozenset()) | {value}, value),
    "append": lambda state, value, _: _ok((*(state or ()), value), None),
    "increment": _increment,
}
"""What a function makes of a key's state."""
