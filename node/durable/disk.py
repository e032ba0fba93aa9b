"""The disk as the event loop sees it: work is queued, done in order by one thread, and reported back to the loop.

Group commit falls out of it: at most one write and sync is under way; what the loop submits meanwhile is written
together by the next one. An OSError stops everything: nothing that was queued is done or reported, and ``failed`` is
called once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from node.durable.entries import size_of
from node.durable.storage import FRAME_BYTES, Change, Storage

CHANGES_PER_SYNC_MAX = 1024
"""With :data:`~node.durable.storage.FRAME_BYTES` this bounds what is joined: after a disk that hung, whoever waits is
told frame by frame, and not when all is written.
"""

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


_Order = tuple[Callable[[], object], list[Callable[[], None]]]
"""Work for the thread, and whom to tell."""


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
        self._work: SimpleQueue[_Order | None] = SimpleQueue()
        self._busy = False
        self._broken = False
        self._seal: asyncio.TimerHandle | None = None
        self._sealed = True
        self._used_at_s = 0.0
        self._thread = Thread(target=self._serve, name="disk", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or queued: a promise that needs no write may be sent at once."""
        return not self._busy and not self._queue and not self._broken

    @property
    def queued(self) -> int:
        """What waits for the work under way."""
        return len(self._queue)

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
        if self._seal is not None:
            self._seal.cancel()
        self._work.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _start_next(self) -> None:
        first = self._queue.popleft()
        if isinstance(first, _Job):
            self._order(first.work, [first.done])
            return
        writes = [first]
        size = 0
        while self._queue and isinstance(self._queue[0], _Write) and len(writes) < CHANGES_PER_SYNC_MAX:
            size += _size(writes[-1])
            if size >= FRAME_BYTES:
                break
            writes.append(self._queue.popleft())  # type: ignore[arg-type]  # the condition above says that it is a _Write
        changes = [write.change for write in writes if write.change is not None]
        dones = [write.done for write in writes]
        if changes:
            self._sealed = False
            self._order(lambda: self._storage.persist(changes), dones)
        else:
            _call(dones)

    def _order(self, work: Callable[[], object], dones: list[Callable[[], None]]) -> None:
        self._busy = True
        self._work.put((work, dones))

    def _serve(self) -> None:
        """The thread. An executor would do, but its locks and futures cost more than all else around a short sync."""
        while (order := self._work.get()) is not None:
            work, dones = order
            error: BaseException | None = None
            try:
                work()
            except BaseException as failure:  # noqa: BLE001  # the thread's edge: the loop is told
                error = failure
            self._loop.call_soon_threadsafe(self._finished, error, dones)

    def _finished(self, error: BaseException | None, dones: list[Callable[[], None]]) -> None:
        self._busy = False
        if self._broken:
            return
        if error is not None:
            self._break(error)
            return
        try:
            _call(dones)
        except Exception as defect:  # noqa: BLE001  # the edge of a callback: a node half told must not go on
            self._break(defect)
            return
        self.flush()
        self._used_at_s = self._loop.time()
        if self._seal is None and not self._sealed:
            self._seal = self._loop.call_later(SEAL_AFTER_S, self._seal_if_quiet)

    def _break(self, error: BaseException) -> None:
        self._broken = True
        self._queue.clear()
        self._failed(error)

    def _seal_if_quiet(self) -> None:
        """Looks again later if there was work since: to move a timer with every sync would cost more."""
        self._seal = None
        quiet_s = self._loop.time() - self._used_at_s
        if self.idle and quiet_s >= SEAL_AFTER_S:
            self._sealed = True
            self._order(self._storage.seal, [])
        elif not self._broken:
            self._seal = self._loop.call_later(max(SEAL_AFTER_S - quiet_s, 0.001), self._seal_if_quiet)


def _size(write: _Write) -> int:
    return size_of(write.change.entries) if write.change is not None else 0


def _call(dones: list[Callable[[], None]]) -> None:
    for done in dones:
        done()
