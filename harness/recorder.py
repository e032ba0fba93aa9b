"""Writes ``history.jsonl`` while the run goes on (``docs/formats.md``), and hands the same events to whoever watches.

The recorder reads the clock itself: taking the time and taking the place in the file are one step, so the order of the
file is the order of the times, and every time is later than the one before it (by a nanosecond at least: no ties for a
checker to break). Lines are encoded at once and reach the file together, whole, with one ``write`` each :data:`FLUSH_S`
or :data:`FLUSH_EVENTS`. After a SIGKILL the page cache still has them; only a torn write (a full disk) can leave a
partial last line. There is no fsync: the history outlives the controller, not the machine it ran on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.errors import HarnessError

FLUSH_S = 0.05
FLUSH_EVENTS = 250
"""Also the longest batch that a subscriber gets: it bounds how long one flush holds the event loop."""

NEMESIS = "nemesis"

Subscriber = Callable[[list[Mapping[str, Any]]], None]

_TYPES = {outcome: outcome.value for outcome in Outcome}  # plain strings: orjson takes twice as long over an enum


class Recorder:
    """The history of one run. Used from one event loop (or, in tests, from none: then it flushes by count and on
    close).
    """

    def __init__(self, path: Path, clock: Callable[[], int], *, create: bool = True) -> None:
        """Creates the file, which must not be there yet (unless ``create`` is false: then it must).

        Raises:
            HarnessError: it cannot be created, or is there already.
        """
        self._path = path
        self._clock = clock
        self._time_ns = -(1 << 63)
        self._index = 0
        # One growing buffer: to keep the encoder's own (oversized) results until a flush costs as much as encoding.
        self._buffer = bytearray()
        self._buffered = 0
        self._fresh: list[Mapping[str, Any]] = []
        self._subscribers: list[Subscriber] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None
        try:
            how = os.O_CREAT | os.O_EXCL if create else 0  # never over the evidence of another run
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | how, 0o644)
        except OSError as error:
            raise HarnessError(f"the history {path} cannot be created: {error.strerror}") from error

    @property
    def events(self) -> int:
        """Number of events recorded so far."""
        return self._index

    def subscribe(self, subscriber: Subscriber) -> None:
        """Hands every later event to ``subscriber``, in batches, once they are in the file. It must not keep the loop
        long.
        """
        self._subscribers.append(subscriber)

    def invoke(self, process: int, invocation: Invocation, *, final: bool = False) -> int:
        """Records that an operation begins now; returns the time.

        Raises:
            HarnessError: the history cannot be written.
        """
        f, key, value = invocation.f, invocation.key, invocation.value
        event: dict[str, Any] = {"index": 0, "time": 0, "process": process, "type": "invoke", "f": f, "value": value}
        if key is not None:
            event["key"] = key
        if final:
            event["final"] = True
        return self._record(event)

    def complete(self, process: int, invocation: Invocation, completion: Completion, *, final: bool = False) -> int:
        """Records that an operation ended now; returns the time. Unless it was ok, the argument stays: an ``info`` must
        not lose it.

        Raises:
            HarnessError: the history cannot be written.
        """
        f, key, argument = invocation.f, invocation.key, invocation.value
        outcome = completion.outcome
        value = completion.value if outcome is Outcome.OK else argument
        event: dict[str, Any] = {
            "index": 0,
            "time": 0,
            "process": process,
            "type": _TYPES[outcome],
            "f": f,
            "value": value,
        }
        if key is not None:
            event["key"] = key
        if completion.error is not None:
            event["error"] = completion.error
        if completion.extra:
            event = {**event, **completion.extra, **event}  # the order of the fields, and their values, win
        if final:
            event["final"] = True
        return self._record(event)

    def nemesis(self, type: str, f: str, value: Any) -> int:  # noqa: A002 (the word of the format)
        """Records a fault event (no operation); returns the time.

        Raises:
            HarnessError: the history cannot be written.
        """
        return self._record({"index": 0, "time": 0, "process": NEMESIS, "type": type, "f": f, "value": value})

    def _record(self, event: dict[str, Any]) -> int:
        if self._failure is not None:
            raise self._failure
        time_ns = self._clock()
        if time_ns <= self._time_ns:
            time_ns = self._time_ns + 1
        event["index"] = self._index
        event["time"] = time_ns
        try:
            self._buffer += orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError as error:
            raise HarnessError(f"an event that JSON cannot say: {event!r:.300}: {error}") from error
        self._time_ns = time_ns
        self._index += 1
        self._buffered += 1
        if self._subscribers:
            self._fresh.append(event)
        if self._buffered >= FLUSH_EVENTS:
            self.flush()
        elif self._timer is None:
            self._schedule()
        return time_ns

    def _schedule(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._timer = loop.call_later(FLUSH_S, self._flush_on_time)

    def _flush_on_time(self) -> None:
        self._timer = None
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001 (a timer has no caller: the next event raises it)
            self._failure = error

    def flush(self) -> None:
        """Puts everything recorded so far into the file, then hands it to the subscribers.

        Raises:
            HarnessError: the file cannot be written.
        """
        block, self._buffer, self._buffered = self._buffer, bytearray(), 0
        fresh, self._fresh = self._fresh, []
        if block:
            self._write(block)
        if fresh:
            for subscriber in self._subscribers:
                subscriber(fresh)

    def _write(self, block: bytearray) -> None:
        view = memoryview(block)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self._failure = HarnessError(
                f"the history {self._path} cannot be written: {error.strerror}; free space or choose another folder"
            )
            raise self._failure from error

    def close(self) -> None:
        """Writes what is left and closes the file. Safe to call twice.

        Raises:
            HarnessError: the file could not be written, now or before.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._file < 0:
            return
        file = self._file
        try:
            if self._failure is None:
                self.flush()
        finally:
            self._file = -1
            os.close(file)
        if self._failure is not None:
            raise self._failure
