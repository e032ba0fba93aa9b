"""The one place that maps raftkv's answers to ok, fail and info: in doubt it is info, and doubt is never forgotten."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any

import pytest

from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.fakes import VirtualLoop, run_virtual
from harness.systems.raftkv import RaftkvClient, RaftkvOptions
from node import client as kv

NODES = ("n1", "n2", "n3")
OK = kv.Done(applied=True, value=None, index=5)
MISMATCH = kv.Done(applied=False, value=b"9", index=5)
READ_7 = kv.Done(applied=True, value=b"7", index=5)

Answer = kv.Done | kv.KvError


class ScriptedLibrary(kv.KvClient):
    """The client library with answers from a list, and a record of who was asked what."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__({})
        self.answers = list(answers)
        self.asked: list[str] = []
        self.sequences: list[tuple[int, int]] = []
        self.sessions = 0

    async def open_session(self, node: str, timeout_s: float) -> int:  # noqa: ARG002
        """Always works, under a new number."""
        self.sessions += 1
        return self.sessions

    async def execute(
        self,
        node: str,
        operation: kv.Operation,  # noqa: ARG002
        timeout_s: float,  # noqa: ARG002
        *,
        session: int = 0,
        sequence: int = 0,
    ) -> kv.Done:
        """The next answer of the list; the last one for ever."""
        self.asked.append(node)
        self.sequences.append((session, sequence))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, kv.KvError):
            raise answer
        return answer


def invoke(invocation: Invocation, *answers: Answer) -> tuple[Completion, ScriptedLibrary]:
    """What a client pinned to n2 makes of these answers."""
    library = ScriptedLibrary(answers)
    client = RaftkvClient(library=library, nodes=NODES, pinned="n2", options=RaftkvOptions(), random=Random(1))

    def main(loop: VirtualLoop) -> Coroutine[Any, Any, Completion]:  # noqa: ARG001
        return client.invoke(invocation)

    return run_virtual(main), library


WRITE = Invocation("write", "k1", 5)
CAS = Invocation("cas", "k1", (3, 5))
READ = Invocation("read", "k1")
LOST = kv.ConnectionLostError("broke")
TIMED_OUT = kv.TimedOutError("no reply")
REFUSED = kv.UnreachableError("refused")


@pytest.mark.parametrize(
    ("invocation", "answers", "outcome"),
    [
        (WRITE, [OK], Outcome.OK),
        (READ, [READ_7], Outcome.OK),
        (CAS, [OK], Outcome.OK),
        (CAS, [MISMATCH], Outcome.FAIL),
        (WRITE, [REFUSED], Outcome.FAIL),
        (WRITE, [kv.NotLeaderError(None)], Outcome.FAIL),
        (WRITE, [kv.BusyError("full")], Outcome.FAIL),
        (WRITE, [LOST], Outcome.INFO),
        (WRITE, [TIMED_OUT], Outcome.INFO),
        (WRITE, [kv.InDoubtError("lost leadership")], Outcome.INFO),
        (WRITE, [LOST, OK], Outcome.OK),
        (WRITE, [LOST, REFUSED], Outcome.INFO),
        (WRITE, [REFUSED, LOST, REFUSED], Outcome.INFO),
        (CAS, [LOST, MISMATCH], Outcome.INFO),
        (CAS, [REFUSED, MISMATCH], Outcome.FAIL),
        (WRITE, [LOST, kv.SessionExpiredError("gone")], Outcome.INFO),
        (READ, [TIMED_OUT], Outcome.FAIL),
    ],
)
def test_answers_are_mapped_honestly(invocation: Invocation, answers: list[Answer], outcome: Outcome) -> None:
    """Fail only if every attempt certainly had no effect; one attempt in doubt makes it info, whatever came later."""
    assert invoke(invocation, *answers)[0].outcome is outcome


def test_a_read_returns_a_number_or_nothing() -> None:
    """The history holds what was written, not its bytes."""
    assert invoke(READ, READ_7)[0].value == 7
    assert invoke(READ, kv.Done(applied=True, value=None, index=0))[0].value is None


def test_the_pinned_node_is_asked_first_and_a_named_leader_next() -> None:
    """The stale side of a partition is really asked; a hint is followed at once."""
    _, library = invoke(WRITE, kv.NotLeaderError("n1"), OK)
    assert library.asked == ["n2", "n1"]


def test_every_attempt_is_the_same_write() -> None:
    """One session and sequence number for all attempts of an operation: a store with sessions applies it once."""
    _, library = invoke(WRITE, LOST, TIMED_OUT, OK)
    assert library.sequences == [(1, 1)] * 3


def test_a_doubtful_write_is_never_tried_under_a_new_session() -> None:
    """Under a new session the store could not tell the retry from a new write; applying both would be our fault."""
    _, library = invoke(WRITE, LOST, kv.SessionExpiredError("gone"), OK)
    assert {session for session, _ in library.sequences} == {1}
