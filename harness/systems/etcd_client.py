"""A client of ``etcd``: what a workload asks, in etcd's calls, and what its answers mean.

What a failed call means is decided in :mod:`harness.systems.etcd_connection`; :meth:`EtcdClient.invoke` makes ``ok``,
``fail`` or ``info`` of it.

etcd has no sessions that would tell a retry from a new write. So a write is tried again only after an attempt that
certainly had no effect; the first doubt ends it as ``info``. A second attempt could make one write happen twice, with
somebody else's between: that would be our doing, and an alarm about nothing.

A register's write is a Put, its compare-and-set a Txn that compares the value. What etcd has no call for (sets, logs,
lists of transactions) is one value each, changed as its users do: read, and then written by a Txn that compares the
revisions that were read. A lock is a key that only who creates it may remove.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.systems import etcd_pb2 as pb
from harness.systems.etcd_connection import EtcdConnection, EtcdError
from harness.systems.etcd_options import EtcdOptions

ATTEMPTS_MAX = 8
PAUSE_S = (0.03, 0.15)
"""Between attempts: random in this range, so that clients do not come back all at once."""
EVERY_KEY = pb.Compare(key=b"\0", range_end=b"\0", target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=-1)
"""True of every key that there is; and of none, too."""
ENTRY_END = ","
"""After every entry of a set, log or list, so that one of a single entry is no register."""


class RacedError(EtcdError):
    """Somebody else changed what was read, before it was written."""

    def __init__(self, observed: str) -> None:
        super().__init__(f"raced: {observed}", definite=True)


@dataclass(slots=True, kw_only=True)
class EtcdClient:
    """One process. Its first attempt always goes to the node that it is pinned to, so that the stale side of a
    partition is really asked.
    """

    connections: Mapping[str, EtcdConnection]
    pinned: str
    options: EtcdOptions
    random: random.Random
    name: str = "0"
    """Tells this client's locks from those of others."""
    node: str = ""
    attempts: int = 0
    acquired: int = 0
    owners: dict[Hashable, str] = field(default_factory=dict)
    """Under which name each lock was acquired last."""

    async def invoke(self, invocation: Invocation) -> Completion:
        """Attempts until an answer, a doubt (of writes), a limit, or the budget's end.

        ``ok``: a node answered so. ``fail``: every attempt certainly had no effect; reads have none. ``info``: the
        last attempt may have had one.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.options.operation_budget / 1e9
        self.node, self.attempts = self.pinned, 0
        error = "no attempt was made"
        while self.attempts < ATTEMPTS_MAX and loop.time() < deadline:
            self.attempts += 1
            try:
                return await self._attempt(invocation)
            except RacedError as raced:
                error = str(raced)
            except EtcdError as trouble:
                error = str(trouble)
                if not trouble.definite and not only_reads(invocation):
                    return self._completion(Outcome.INFO, invocation.value, error)
                await self._go_on()
        return self._completion(Outcome.FAIL, invocation.value, error)

    async def close(self) -> None:
        """Nothing: the connections are the session's."""

    async def _attempt(self, invocation: Invocation) -> Completion:
        key = str(invocation.key).encode()
        match invocation.f:
            case "read":
                request = pb.RangeRequest(key=key, serializable=self._weak(invocation))
                found = await self._call("Range", request, pb.RangeResponse, weak=request.serializable)
                return self._completion(Outcome.OK, _value_in(found), None)
            case "write":
                return await self._write(pb.PutRequest(key=key, value=_encode(invocation.value)), invocation)
            case "cas":
                return await self._compare_and_set(key, invocation)
            case "add" | "append":
                await self._transact([("append", invocation.key, invocation.value)], weak=False)
                told = invocation.value if invocation.f == "add" else None  # nobody is told the place of an entry
                return self._completion(Outcome.OK, told, None)
            case "txn":
                done = await self._transact(invocation.value, weak=self._weak(invocation))
                return self._completion(Outcome.OK, done, None)
            case "acquire":
                return await self._acquire(key, invocation)
            case "release":
                return await self._release(key, invocation)
        raise ValueError(f"etcd's client knows no operation {invocation.f!r}; known: {', '.join(KNOWN)}")

    def _weak(self, invocation: Invocation) -> bool:
        """Whether a read need not ask a quorum."""
        return self.options.serializable or invocation.reads == "local"

    async def _write(self, put: pb.PutRequest, invocation: Invocation) -> Completion:
        if not self.options.wide_compare:
            await self._call("Put", put, pb.PutResponse)
            return self._completion(Outcome.OK, invocation.value, None)
        request = pb.TxnRequest(compare=[EVERY_KEY], success=[pb.RequestOperation(put=put)])
        done = await self._call("Txn", request, pb.TxnResponse)
        outcome = Outcome.OK if done.succeeded else Outcome.FAIL
        return self._completion(outcome, invocation.value, None if done.succeeded else "version > -1 was untrue")

    async def _compare_and_set(self, key: bytes, invocation: Invocation) -> Completion:
        expected, value = invocation.value
        compare = pb.Compare(key=key, target=pb.Compare.VALUE, value=_encode(expected))
        if expected is None:
            compare = pb.Compare(key=key, target=pb.Compare.VERSION, version=0)
        put = pb.RequestOperation(put=pb.PutRequest(key=key, value=_encode(value)))
        done = await self._change([compare], [put], look=key)
        if done.succeeded:
            return self._completion(Outcome.OK, invocation.value, None)
        return self._completion(Outcome.FAIL, invocation.value, f"mismatch: the value was {_observed(done)}")

    async def _change(
        self, compare: Sequence[pb.Compare], success: Sequence[pb.RequestOperation], *, look: bytes
    ) -> pb.TxnResponse:
        """Does it if the comparisons hold; else looks at a key."""
        request = pb.TxnRequest(
            compare=[*compare, *([EVERY_KEY] if self.options.wide_compare else ())],
            success=success,
            failure=[pb.RequestOperation(range=pb.RangeRequest(key=look))],
        )
        answer: pb.TxnResponse = await self._call("Txn", request, pb.TxnResponse)
        return answer

    # Transactions of lists

    async def _transact(self, steps: Sequence[Any], *, weak: bool) -> list[list[Any]]:
        """What the steps found: reads all keys at one revision, and writes at one revision what is still as it was.

        Raises:
            RacedError: it is not.
            EtcdError: a call failed.
        """
        names = list(dict.fromkeys(str(name) for _, name, _ in steps))
        writes = any(kind != "r" for kind, _, _ in steps)
        found = await self._look(names, weak=weak and not writes)
        lists: dict[str, list[Any]] = {name: _entries(_value_in(found[name])) for name in names}
        done: list[list[Any]] = []
        changed: set[str] = set()
        for kind, name, value in steps:
            if kind == "r":
                done.append([kind, name, list(lists[str(name)]) or None])
            else:
                lists[str(name)].append(value)
                changed.add(str(name))
                done.append([kind, name, value])
        if writes:
            await self._commit(names, found, {name: lists[name] for name in names if name in changed})
        return done

    async def _look(self, names: Sequence[str], *, weak: bool) -> Mapping[str, pb.RangeResponse]:
        reads = [pb.RequestOperation(range=pb.RangeRequest(key=name.encode(), serializable=weak)) for name in names]
        try:
            answer = await self._call("Txn", pb.TxnRequest(success=reads), pb.TxnResponse, weak=weak)
        except EtcdError as error:
            raise EtcdError(str(error), definite=True) from error  # it only looked
        return {name: response.range for name, response in zip(names, answer.responses, strict=True)}

    async def _commit(
        self, names: Sequence[str], found: Mapping[str, pb.RangeResponse], lists: Mapping[str, Sequence[Any]]
    ) -> None:
        compare = [
            pb.Compare(
                key=name.encode(),
                target=pb.Compare.MOD,
                mod_revision=found[name].kvs[0].mod_revision if found[name].kvs else 0,
            )
            for name in names
        ]
        puts = [
            pb.RequestOperation(put=pb.PutRequest(key=name.encode(), value=_encode_entries(entries)))
            for name, entries in lists.items()
        ]
        done = await self._change(compare, puts, look=names[0].encode())
        if not done.succeeded:
            raise RacedError("a list was changed since it was read")

    # Locks

    async def _acquire(self, key: bytes, invocation: Invocation) -> Completion:
        """Creates the key; the revision at which it did is the fencing token."""
        self.acquired += 1
        owner = self.owners[invocation.key] = f"{self.name}.{self.acquired}"
        free = pb.Compare(key=key, target=pb.Compare.VERSION, version=0)
        put = pb.RequestOperation(put=pb.PutRequest(key=key, value=owner.encode()))
        done = await self._change([free], [put], look=key)
        if done.succeeded:
            return self._completion(Outcome.OK, done.header.revision, None)
        return self._completion(Outcome.FAIL, invocation.value, "held by somebody else")

    async def _release(self, key: bytes, invocation: Invocation) -> Completion:
        """Removes the key, if it is this client's."""
        owner = self.owners.get(invocation.key, self.name)
        mine = pb.Compare(key=key, target=pb.Compare.VALUE, value=owner.encode())
        delete = pb.RequestOperation(delete_range=pb.DeleteRangeRequest(key=key))
        done = await self._change([mine], [delete], look=key)
        if done.succeeded:
            return self._completion(Outcome.OK, invocation.value, None)
        return self._completion(Outcome.FAIL, invocation.value, "not held by who releases")

    async def _call(self, method: str, request: Any, reply: Any, *, weak: bool = False) -> Any:
        """Asks the present node; one without a leader refuses at once, but for what needs none."""
        return await self.connections[self.node].call(
            method, request, reply, timeout_s=self.options.attempt_timeout / 1e9, needs_leader=not weak
        )

    async def _go_on(self) -> None:
        """To the next node, after a pause."""
        names = list(self.connections)
        self.node = names[(names.index(self.node) + 1) % len(names)]
        await asyncio.sleep(self.random.uniform(*PAUSE_S))

    def _completion(self, outcome: Outcome, value: Any, error: str | None) -> Completion:
        return Completion(outcome, value, error, {"node": self.node, "attempts": self.attempts})


KNOWN = ("read", "write", "cas", "add", "append", "txn", "acquire", "release")


def only_reads(invocation: Invocation) -> bool:
    """Whether an operation has no effect."""
    return invocation.f == "read" or (invocation.f == "txn" and all(step[0] == "r" for step in invocation.value))


def _encode(value: object) -> bytes:
    return str(value).encode()


def _encode_entries(entries: Sequence[Any]) -> bytes:
    return "".join(f"{entry}{ENTRY_END}" for entry in entries).encode()


def _entries(value: Any) -> list[Any]:
    """The entries of a list; what is none is a single strange one."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _value_in(found: pb.RangeResponse) -> Any:
    """The number, or the entries, that were written; None if there is no such key. What is neither stays as it is:
    nobody wrote it, and the checker says so.
    """
    if not found.kvs:
        return None
    text = found.kvs[0].value.decode("utf-8", "backslashreplace")
    if ENTRY_END in text:
        return [_number(entry) for entry in text.removesuffix(ENTRY_END).split(ENTRY_END)]
    return _number(text)


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def _observed(done: pb.TxnResponse) -> Any:
    return _value_in(done.responses[0].range) if done.responses else "not told"
