"""Watches: clients follow what happens to a key, or to all keys with a prefix, from a revision on.

A revision is a log index, so it means the same on every node, over restarts and leader changes: whoever is cut off goes
on at any node with the revision behind the last one that it has. Events come in the order of the log, none lost, none
twice, all those of one revision in one reply. What a node tells it has applied, so it is committed and never taken
back; but a follower, or a node that is cut off, may be behind. Every reply says up to which index all is told; a quiet
watch gets such a reply every second, so that it can go on from there.

**What is bounded.** The node remembers the last changes of all keys (:class:`History`): that is the only buffer there
is. A watch that keeps up is sent what a turn brought; one whose connection does not take more is served from the
history when it does; and one that falls behind the history, or asks for a revision before it, is ended with
"compacted", and told the first revision that can be had. To go on, its client reads what it follows, and watches from
the index of that read. A snapshot that was received, or a start from one, is a beginning of the history.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from node import kv_pb2
from node.machine.result import weight
from node.operation_codec import event_to_proto
from node.serving.events import Event

EVENTS_MAX = 20_000
EVENT_BYTES_MAX = 32 << 20
"""What a node remembers, at most: the events' keys and values, and :data:`EVENT_WEIGHT` for each."""
EVENT_WEIGHT = 64
WATCHES_MAX = 1000
"""At one node; more are refused."""
SERVED_MAX = 512
"""Revisions that one reply from the history looks at; a turn has other things to do."""
PROGRESS_NS = 1_000_000_000
"""How often a quiet watch is told how far it is."""


class Listener(Protocol):
    """Takes the replies to one watch."""

    wanted: bool
    """Whether anybody is still there."""

    @property
    def writable(self) -> bool:
        """Whether the connection takes more now."""

    def __call__(self, reply: kv_pb2.Reply) -> None:
        """One reply; the last one has no ``more``."""


class History:
    """The last changes of all keys, by revision."""

    def __init__(self, first: int, *, events_max: int = EVENTS_MAX, bytes_max: int = EVENT_BYTES_MAX) -> None:
        """``first``: the first revision that will be added, or may have been without changes."""
        self.first = first
        """Of all revisions from it on, the changes are known."""
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._records: list[Sequence[Event]] = []
        self._begin = 0
        self._count = self._weight = 0

    def add(self, events: Sequence[Event]) -> None:
        """The events of the next revision; the oldest may have to go."""
        self._records.append(events)
        self._account(events, 1)
        while self._count > self._events_max or self._weight > self._bytes_max:
            forgotten = self._records[self._begin]
            self._begin += 1
            self._account(forgotten, -1)
            self.first = forgotten[0].revision + 1
        if self._begin > 1024 and self._begin * 2 > len(self._records):  # seldom, so that it costs nothing
            del self._records[: self._begin]
            self._begin = 0

    def since(self, revision: int, count: int) -> Sequence[Sequence[Event]]:
        """Up to ``count`` revisions with changes, from ``revision`` on, which must be known."""
        place = bisect.bisect_left(self._records, revision, lo=self._begin, key=lambda record: record[0].revision)
        return self._records[place : place + count]

    def reset(self, first: int) -> None:
        """The state was replaced: what led to it is not known."""
        self.first, self._records, self._begin, self._count, self._weight = first, [], 0, 0, 0

    def _account(self, events: Sequence[Event], sign: int) -> None:
        self._count += sign * len(events)
        for event in events:  # nearly always one, of a register: every write pays for this
            value = event.value
            self._weight += sign * (
                EVENT_WEIGHT + len(event.key) + (len(value) if type(value) is bytes else weight(value))
            )


@dataclass(slots=True, eq=False)
class _Watch:
    key: str
    prefix: bool
    listener: Listener
    next_revision: int
    """The first that it was not told of."""
    told_ns: int
    behind: bool
    """Whether it is served from the history."""
    pending: list[Event] = field(default_factory=list)

    def wants(self, event: Event) -> bool:
        return event.key.startswith(self.key) if self.prefix else event.key == self.key


class Watches:
    """All watches at one node."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._by_key: dict[str, set[_Watch]] = defaultdict(set)
        self._by_prefix: dict[str, set[_Watch]] = defaultdict(set)
        self._pending: set[_Watch] = set()
        self._behind: set[_Watch] = set()
        self._all: dict[_Watch, None] = {}
        self._look_ns = 0
        """When quiet ones are looked for next."""

    def __len__(self) -> int:
        return len(self._all)

    def watch(self, request: kv_pb2.WatchRequest, listener: Listener, applied: int, now_ns: int) -> None:
        """A new one. Its first reply says that it is there."""
        start = request.start or applied + 1
        if len(self._all) >= WATCHES_MAX:
            listener(kv_pb2.Reply(outcome=kv_pb2.BUSY, detail=f"{WATCHES_MAX} watches are under way"))
        elif start < self._history.first:
            listener(self._compacted())
        else:
            watch = _Watch(request.key, request.prefix, listener, start, now_ns, behind=start <= applied)
            self._all[watch] = None
            self._places(watch)[watch.key].add(watch)
            if watch.behind:
                self._behind.add(watch)
            listener(kv_pb2.Reply(outcome=kv_pb2.OK, index=min(start - 1, applied), more=True))

    def applied(self, events: Sequence[Event]) -> None:
        """What the next command changed."""
        self._history.add(events)
        if self._all:
            for event in events:
                self._dispatch(event)

    def reset(self, index: int) -> None:
        """The state was replaced by that of this index."""
        self._history.reset(index + 1)
        for watch in list(self._all):
            if watch.next_revision <= index:
                self._end(watch, self._compacted())

    def flush(self, applied: int, now_ns: int) -> None:
        """Sends what there is, up to the index that is applied. At the end of a turn, after its trace."""
        pending, self._pending = self._pending, set()
        for watch in pending:
            if watch.listener.wanted and not watch.listener.writable:
                watch.next_revision, watch.behind = watch.pending[0].revision, True
                watch.pending = []
                self._behind.add(watch)
            else:
                events, watch.pending = watch.pending, []
                self._send(watch, events, applied, now_ns)
        for watch in list(self._behind):
            self._serve(watch, applied, now_ns)
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + PROGRESS_NS // 4
            self._tell_progress(applied, now_ns)

    def _tell_progress(self, applied: int, now_ns: int) -> None:
        for watch in [watch for watch in self._all if now_ns - watch.told_ns >= PROGRESS_NS]:
            if not watch.listener.wanted:
                self._forget(watch)
            elif not watch.behind and watch.listener.writable:
                self._send(watch, (), applied, now_ns)

    def stop(self) -> None:
        """The node goes down."""
        for watch in list(self._all):
            self._end(watch, kv_pb2.Reply(outcome=kv_pb2.STOPPING))

    def _dispatch(self, event: Event) -> None:
        for watch in self._by_key.get(event.key, ()):
            self._note(watch, event)
        for prefix, watches in self._by_prefix.items():
            if event.key.startswith(prefix):
                for watch in watches:
                    self._note(watch, event)

    def _note(self, watch: _Watch, event: Event) -> None:
        if not watch.behind and event.revision >= watch.next_revision:
            watch.pending.append(event)
            self._pending.add(watch)

    def _serve(self, watch: _Watch, applied: int, now_ns: int) -> None:
        """The next piece of the history, if its connection takes it."""
        if watch.next_revision < self._history.first:
            self._end(watch, self._compacted())
        elif not watch.listener.wanted:
            self._forget(watch)
        elif watch.listener.writable:
            records = self._history.since(watch.next_revision, SERVED_MAX)
            index = records[-1][0].revision if len(records) == SERVED_MAX else applied
            watch.behind = index < applied
            if not watch.behind:
                self._behind.discard(watch)
            self._send(watch, [event for record in records for event in record if watch.wants(event)], index, now_ns)

    def _send(self, watch: _Watch, events: Iterable[Event], index: int, now_ns: int) -> None:
        index = max(index, watch.next_revision - 1)  # of one that begins in the future, nothing before it is told
        watch.next_revision, watch.told_ns = index + 1, now_ns
        watch.listener(kv_pb2.Reply(outcome=kv_pb2.OK, index=index, more=True, events=map(event_to_proto, events)))

    def _compacted(self) -> kv_pb2.Reply:
        return kv_pb2.Reply(outcome=kv_pb2.COMPACTED, index=self._history.first)

    def _end(self, watch: _Watch, reply: kv_pb2.Reply) -> None:
        self._forget(watch)
        watch.listener(reply)

    def _forget(self, watch: _Watch) -> None:
        del self._all[watch]
        self._pending.discard(watch)
        self._behind.discard(watch)
        places = self._places(watch)
        places[watch.key].discard(watch)
        if not places[watch.key]:
            del places[watch.key]

    def _places(self, watch: _Watch) -> dict[str, set[_Watch]]:
        return self._by_prefix if watch.prefix else self._by_key
