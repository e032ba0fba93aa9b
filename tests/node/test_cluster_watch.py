"""Watches on real nodes that are killed, judged by the checker of watch guarantees."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checkers import History, Validity, check
from node.network.failures import CompactedError, DefiniteError, KvError
from node.operations import Delete, Operation, Put
from node.serving.events import EventKind
from tests.node.processes import Processes, processes

pytestmark = pytest.mark.integration

LOAD_S = 2.5
PUTS_LEAST = 100
"""However slow the machine is: the load goes on until there is something to watch."""


class Recorder:
    """A history as it happens."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._processes: Iterator[int] = itertools.count()

    def invoke(self, f: str, key: str | None, value: Any) -> dict[str, Any]:
        event = {"process": next(self._processes), "type": "invoke", "f": f, "key": key, "value": value}
        self._add(event)
        return event

    def complete(self, invoked: dict[str, Any], outcome: str, value: Any) -> None:
        self._add({**invoked, "type": outcome, "value": value})

    def acknowledged(self) -> int:
        """Puts that are."""
        return sum(event["type"] == "ok" and event["f"] == "put" for event in self.events)

    def _add(self, event: dict[str, Any]) -> None:
        self.events.append({**event, "time": time.monotonic_ns()})


async def write(cluster: Processes, recorder: Recorder, number: int, until: float) -> int:
    """Puts and deletes, each tried once, at whoever leads; the highest index that was acknowledged."""
    choice, last, session = random.Random(number), 0, await cluster.session()
    for sequence in itertools.count(1):
        if time.monotonic() > until and recorder.acknowledged() >= PUTS_LEAST:
            break
        key, value = choice.choice(["w/a", "w/b", "w/c", "x"]), number * 1_000_000 + sequence
        deletes = choice.random() < 0.2
        invoked = recorder.invoke("delete" if deletes else "put", key, None if deletes else value)
        operation: Operation = Delete(key) if deletes else Put(key, b"%d" % value)
        try:
            done = await cluster.client.execute(
                await cluster.wait_leader(), operation, 2, session=session, sequence=sequence
            )
        except KvError as error:
            recorder.complete(invoked, "fail" if isinstance(error, DefiniteError) else "info", invoked["value"])
            await asyncio.sleep(0.05)
        else:
            last = done.index
            recorder.complete(invoked, "ok", None if deletes else [done.index, value])
    return last


async def follow(cluster: Processes, recorder: Recorder, number: int, target: asyncio.Future[int]) -> int:
    """Watches at one node after the other, from where the last one ended, until everything was told; how many events
    came.
    """
    choice, start, count = random.Random(number), 1, 0
    while not target.done() or start <= target.result():
        node, patience_s = choice.choice(cluster.names), choice.uniform(0.1, 1.0)
        invoked = recorder.invoke("watch", None, {"prefix": "w/", "from": start})
        items: list[dict[str, Any]] = []
        with contextlib.suppress(KvError, TimeoutError):
            async with (
                asyncio.timeout(patience_s),
                contextlib.aclosing(cluster.client.watch(node, "w/", 1, prefix=True, start=start)) as notices,
            ):
                try:
                    async for notice in notices:
                        items += [_item(event) for event in notice.events]
                        items.append({"type": "progress", "revision": notice.revision})
                        start = max(start, notice.revision + 1)
                except CompactedError as error:
                    items.append({"type": "compacted", "revision": error.first})
                    start = error.first
        recorder.complete(invoked, "ok", items)
        count += sum(item["type"] in ("put", "delete") for item in items)
        await asyncio.sleep(0.02)
    return count


def _item(event: Any) -> dict[str, Any]:
    deleted = event.kind is EventKind.DELETE
    item = {"type": "delete" if deleted else "put", "revision": event.revision, "key": event.key}
    return item if deleted else {**item, "value": int(event.value)}


async def kill(cluster: Processes, until: float) -> None:
    """One node after the other, restarted a moment later."""
    choice = random.Random(3)
    while time.monotonic() < until:
        await asyncio.sleep(0.7)
        name = choice.choice(cluster.names)
        cluster.end(name)
        await asyncio.sleep(0.2)
        cluster.start(name)


async def test_watches_keep_their_guarantees_while_nodes_die(tmp_path: Path) -> None:
    """Ordered, unique, atomic, nothing missing, resumable: over kills of any node, snapshots, and changes of the node
    that is asked.
    """
    options = ["--snapshot-entries", "200", "--election-timeout-ms", "200-400", "--heartbeat-ms", "50"]
    recorder = Recorder()
    async with processes(tmp_path, options=options) as cluster:
        await cluster.wait_leader()
        until = time.monotonic() + LOAD_S
        target: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        watches = asyncio.gather(*(follow(cluster, recorder, number, target) for number in range(3)))
        last, *_ = await asyncio.gather(
            asyncio.gather(*(write(cluster, recorder, number, until) for number in range(1, 4))), kill(cluster, until)
        )
        target.set_result(max(last))
        async with asyncio.timeout(30):
            counts = await watches
    result = check(History.of(recorder.events), model="watch")
    assert result.validity is Validity.VALID, result.findings
    assert min(counts) > 20
