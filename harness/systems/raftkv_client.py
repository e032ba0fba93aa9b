"""A client of ``raftkv``: what a workload asks, said to the node's client library, and what its answers mean.

:meth:`RaftkvClient.invoke` is the one place that decides what an answer means.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.systems.raftkv_options import RaftkvOptions, range_s
from harness.systems.raftkv_words import answer_of, needs_session, only_reads, operation_of, padded, refusal_of
from node import client as kv

ATTEMPTS_MAX = 8
PAUSE_S = (0.03, 0.15)
"""Between attempts, when nobody said whom to ask: random in this range, so that clients do not come back all at once.
"""


@dataclass(slots=True, kw_only=True)
class _Attempts:
    """What became of an operation's attempts so far."""

    made: int = 0
    doubt: str | None = None
    """Why an attempt may have taken effect without our knowing; None while every failure was definite."""
    error: str = "no attempt was made"
    node: str = ""


@dataclass(slots=True, kw_only=True)
class RaftkvClient:
    """One process. Its first attempt always goes to the node that it is pinned to, so that the stale side of a
    partition is really asked.
    """

    library: kv.KvClient
    nodes: Sequence[str]
    pinned: str
    options: RaftkvOptions
    random: random.Random
    name: str = "0"
    """Tells this client's locks from those of others."""
    session: int = 0
    sequence: int = 0
    owners: dict[Hashable, str] = field(default_factory=dict)
    """Under which name each lock was acquired last. Every acquire has a name of its own: under one that already holds
    the lock it would only be renewed.
    """
    attempts: _Attempts = field(default_factory=_Attempts)

    async def invoke(self, invocation: Invocation) -> Completion:
        """Attempts with one session and sequence number until an answer, a limit, or the budget's end.

        ``ok``: a node answered so. ``fail``: every attempt certainly had no effect. ``info``: some attempt may have
        had one, whatever a later one was told: sessions are what is being tested, so they are not trusted to settle
        it. A read has no effect, so one without an answer is a ``fail``.
        """
        self.attempts = attempts = _Attempts(node=self.pinned)
        self.sequence += 1
        operation = padded(operation_of(invocation, self._owner(invocation)), self.options.value_bytes)
        deadline = asyncio.get_running_loop().time() + self.options.operation_budget / 1e9
        while attempts.made < ATTEMPTS_MAX and asyncio.get_running_loop().time() < deadline:
            done = await self._attempt(operation)
            if done is not None:
                return self._answered(invocation, done)
        if attempts.doubt is not None and not only_reads(invocation):
            return self._completion(Outcome.INFO, invocation.value, attempts.doubt)
        return self._completion(Outcome.FAIL, invocation.value, attempts.error)

    async def close(self) -> None:
        """Nothing: the connections are the session's."""

    def _owner(self, invocation: Invocation) -> str:
        if invocation.f == "acquire":
            self.owners[invocation.key] = f"{self.name}.{self.sequence}"
        return self.owners.get(invocation.key, self.name)

    async def _attempt(self, operation: kv.Operation) -> kv.Done | None:
        """One attempt at the present node; None if it failed, and then the next node is chosen."""
        attempts = self.attempts
        attempts.made += 1
        timeout_s = self.options.attempt_timeout / 1e9
        try:
            if not self.session and needs_session(operation):
                await self._open_session(timeout_s)
                return None
            return await self.library.execute(
                attempts.node, operation, timeout_s, session=self.session, sequence=self.sequence
            )
        except kv.NotLeaderError as error:
            attempts.error = str(error)
            await self._go_on(error.leader, PAUSE_S)
        except kv.SessionExpiredError as error:
            attempts.error, self.session = str(error), 0
            if attempts.doubt is not None:  # under a new session the store could not tell a retry from a new write
                attempts.made = ATTEMPTS_MAX
        except (kv.WrongTypeError, kv.InvalidRequestError) as error:  # and so would any other node say
            attempts.error, attempts.made = str(error), ATTEMPTS_MAX
        except kv.DefiniteError as error:
            attempts.error = str(error)
            await self._go_on(None, PAUSE_S)
        except kv.IndefiniteError as error:
            attempts.doubt = attempts.error = str(error)
            await self._go_on(None, range_s(self.options.retry_pause))
        return None

    async def _open_session(self, timeout_s: float) -> None:
        """Opens the session before the first write. In doubt or not: nothing of the operation itself was sent."""
        try:
            self.session = await self.library.open_session(self.attempts.node, timeout_s)
            self.attempts.made -= 1
        except kv.IndefiniteError as error:
            raise kv.DefiniteError(f"no session: {error}") from error

    async def _go_on(self, leader: str | None, pause_s: tuple[float, float]) -> None:
        """To the leader that was named, at once; else to the next node after a pause."""
        attempts = self.attempts
        if leader in self.nodes and leader is not None and leader != attempts.node:
            attempts.node = leader
            return
        attempts.node = self.nodes[(list(self.nodes).index(attempts.node) + 1) % len(self.nodes)]
        await asyncio.sleep(self.random.uniform(*pause_s))

    def _answered(self, invocation: Invocation, done: kv.Done) -> Completion:
        if done.applied:
            return self._completion(Outcome.OK, answer_of(invocation, done), None)
        refusal = refusal_of(invocation, done)
        if self.attempts.doubt is not None:
            return self._completion(Outcome.INFO, invocation.value, f"{self.attempts.doubt}; then {refusal}")
        return self._completion(Outcome.FAIL, invocation.value, refusal)

    def _completion(self, outcome: Outcome, value: Any, error: str | None) -> Completion:
        return Completion(outcome, value, error, {"node": self.attempts.node, "attempts": self.attempts.made})
