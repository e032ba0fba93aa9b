"""The disk as the event loop sees it: work is queued, done in order by one thread, and reported back to the loop.

Group commit falls out of it: at most one write and sync is under way; what the loop submits meanwhile is written
together by the next one. An OSError stops everything: nothing that was queued is done or reported, and ``failed`` is
called once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from node.storage import Change, Storage

CHANGES_PER_SYNC_MAX = 1024
"""Bounds one frame of the log together with ``Timing.bytes_per_append_max``."""

SEAL_AFTER_S = 0.05
"""How long the log must be idle before its last frame is sealed."""


@dataclass(frozen=True, slots=True)
class _Write:
    change: Change | None
    """None: nothing to write, but ``done`` has to wait for what was submitted before."""
    done: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], object]
    done: Callable[[], None]


class Disk:
    """Belongs to one event loop."""

    def __init__(
        self, storage: Storage, loop: asyncio.AbstractEventLoop, failed: Callable[[BaseException], None]
    ) -> None:
        """``failed`` is called in the loop with the error after which nothing more will be done."""
        self._storage = storage
        self._loop = loop
        self._failed = failed
        self._queue: deque[_Write | _Job] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")
        self._busy = False
        self._broken = False
        self._seal: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or queued: a promise that needs no write may be sent at once."""
        return not self._busy and not self._queue and not self._broken

    def persist(self, change: Change | None, done: Callable[[], None]) -> None:
        """Queues a change; ``done`` is called in the loop once it, and all before it, are durable."""
        self._queue.append(_Write(change, done))

    def run(self, work: Callable[[], object], done: Callable[[], None]) -> None:
        """Queues any other work on the storage, in order with the writes."""
        self._queue.append(_Job(work, done))

    def flush(self) -> None:
        """Starts on the queue unless a write is under way already. To be called at the end of a turn."""
        while self._queue and not self._busy and not self._broken:
            self._start_next()

    async def close(self) -> None:
        """Waits for the work under way; drops what is queued."""
        self._broken = True
        self._cancel_seal()
        await self._loop.run_in_executor(None, self._thread.shutdown)

    def _start_next(self) -> None:
        self._cancel_seal()
        first = self._queue.popleft()
        if isinstance(first, _Job):
            self._submit(first.work, [first.done])
            return
        writes = [first]
        while self._queue and isinstance(self._queue[0], _Write) and len(writes) < CHANGES_PER_SYNC_MAX:
            writes.append(self._queue.popleft())  # type: ignore[arg-type]  # the condition above says that it is a _Write
        changes = [write.change for write in writes if write.change is not None]
        dones = [write.done for write in writes]
        if changes:
            self._submit(lambda: self._storage.persist(changes), dones)
        else:
            _call(dones)

    def _submit(self, work: Callable[[], object], dones: list[Callable[[], None]]) -> None:
        self._busy = True
        future = self._thread.submit(work)
        future.add_done_callback(lambda future: self._loop.call_soon_threadsafe(self._finished, future, dones))

    def _finished(self, future: Future[object], dones: list[Callable[[], None]]) -> None:
        self._busy = False
        if self._broken:
            return
        error = future.exception()
        if error is not None:
            self._broken = True
            self._queue.clear()
            self._failed(error)
            return
        try:
            _call(dones)
        except Exception as defect:  # noqa: BLE001  # the edge of a callback: a node half told must not go on
            self._broken = True
            self._failed(defect)
            return
        self.flush()
        if self.idle and self._seal is None:
            self._seal = self._loop.call_later(SEAL_AFTER_S, self._start_seal)

    def _start_seal(self) -> None:
        """Leaves ``_seal`` set, so that its own end does not ask for another one."""
        if self.idle:
            self._submit(self._storage.seal, [])

    def _cancel_seal(self) -> None:
        if self._seal is not None:
            self._seal.cancel()
            self._seal = None


def _call(dones: list[Callable[[], None]]) -> None:
    for done in dones:
        done()
