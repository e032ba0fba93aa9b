"""``trace.jsonl``: what the node says of itself, for checkers (docs/formats.md). The same code runs in the correct node
and in a planted one.

Events of one turn of the loop gather in memory and go out in one ``os.write`` *before* any message or reply that would
reveal them: whoever sends calls :meth:`Trace.flush` first. So a SIGKILL can cost lines that nobody heard of, and tear
the last one, but never a line that somebody acted on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from node.machine import Result, digest
from node.raft.messages import Configuration, Entry, EntryKind, Role, Snapshot

EntryMark = tuple[int, int, str]


def entry_mark(entry: Entry) -> EntryMark:
    """How traces tell an entry: index, term, hash of kind and data."""
    return entry.index, entry.term, digest(_KIND_PREFIXES[entry.kind] + entry.data)


_KIND_PREFIXES = {kind: b"%d " % kind for kind in EntryKind}


class Trace:
    """An open trace. Raises OSError when it can't be written: a node that can't testify must not go on."""

    def __init__(self, path: Path, node: str, *, clocks: Callable[[], tuple[int, int]] | None = None) -> None:
        """Appends to ``path``. ``clocks`` gives (CLOCK_MONOTONIC, CLOCK_REALTIME) in nanoseconds."""
        self._node = node
        self._clocks = clocks or (lambda: (time.monotonic_ns(), time.time_ns()))
        self._lines: list[bytes] = []
        self._marks: dict[int, tuple[Entry, EntryMark]] = {}
        """Of entries that are not applied yet, by index: told twice, computed once."""
        self._last_result: tuple[Result | None, str] = (None, "")
        """Most results are the same object as the one before: told a thousand times, computed once."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            self._lines.append(b"\n")  # an earlier incarnation was killed within a line

    def start(
        self,
        *,
        identity: str,
        term: int,
        vote: str | None,
        last: tuple[int, int],
        snapshot: Snapshot,
        voters: Iterable[str],
    ) -> None:
        """An incarnation begins with this, recovered from disk. ``last``: index and term of the log's end."""
        self._event(
            "start",
            identity=identity,
            term=term,
            vote=vote,
            last_index=last[0],
            last_term=last[1],
            snapshot_index=snapshot.index,
            snapshot_term=snapshot.term,
            voters=tuple(voters),
        )

    def role(self, role: Role, term: int, leader: str | None) -> None:
        """Role or known leader changed."""
        self._event("role", role=role.value, term=term, leader=leader)

    def term(self, term: int) -> None:
        """The term rose."""
        self._event("term", term=term)

    def vote(self, term: int, candidate: str) -> None:
        """A vote was decided (it goes out only once it is durable)."""
        self._event("vote", term=term, **{"for": candidate})

    def append(self, entries: Iterable[Entry]) -> None:
        """Entries entered the log."""
        marks = {entry.index: (entry, entry_mark(entry)) for entry in entries}
        self._marks.update(marks)
        self._event("append", entries=[mark for _, mark in marks.values()])

    def truncate(self, index: int) -> None:
        """The log was cut from ``index`` on."""
        self._event("truncate", **{"from": index})

    def durable(self, term: int, vote: str | None, index: int) -> None:
        """Hard state and log up to ``index`` were handed to the disk and synced."""
        self._event("durable", term=term, vote=vote, index=index)

    def commit(self, index: int, term: int) -> None:
        """The commit index rose."""
        self._event("commit", index=index, term=term)

    def apply(self, applied: Iterable[tuple[Entry, Result]]) -> None:
        """Entries went through the state machine."""
        self._event("apply", entries=[(*self._mark(entry), self._digest(result)) for entry, result in applied])

    def snapshot(self, action: str, snapshot: Snapshot, state_hash: str) -> None:
        """A snapshot was ``taken`` or ``installed``, and is durable."""
        if action == "installed":
            self._marks.clear()  # entries that it took the place of are never applied
        self._event("snapshot", action=action, index=snapshot.index, term=snapshot.term, hash=state_hash)

    def config(self, index: int, configuration: Configuration) -> None:
        """The configuration as of the entry at ``index`` came into force: by that entry, or by the cut of a later
        one.
        """
        joint = {"outgoing": configuration.outgoing} if configuration.outgoing else {}
        learners = {"learners": configuration.learners} if configuration.learners else {}
        self._event("config", index=index, voters=configuration.voters, **joint, **learners)

    def match(self, term: int, match: Mapping[str, int]) -> None:
        """What a leader knows now: up to which index each follower agrees with it."""
        self._event("match", term=term, match=dict(match))

    def ack(self, index: int, term: int) -> None:
        """All writes up to ``index`` that clients of this node wait for are acknowledged now."""
        self._event("ack", index=index, term=term)

    def lag(self, max_ms: float) -> None:
        """The event loop's worst lag since the last such line."""
        self._event("lag", max_ms=round(max_ms, 3))

    def flush(self) -> None:
        """Hands all gathered lines to the kernel. Cheap when there are none."""
        if not self._lines:
            return
        view = memoryview(b"".join(self._lines))
        self._lines.clear()
        while view:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        """Flushes and closes."""
        self.flush()
        os.close(self._fd)

    def _mark(self, entry: Entry) -> EntryMark:
        """Of an entry that is applied: it is not asked for again."""
        of, mark = self._marks.pop(entry.index, (None, None))
        return mark if mark is not None and of is entry else entry_mark(entry)

    def _digest(self, result: Result) -> str:
        last, known = self._last_result
        if result is not last:
            known = result.digest()
            self._last_result = (result, known)
        return known

    def _event(self, event: str, **fields: Any) -> None:
        monotonic, wall = self._clocks()
        line = {"time": monotonic, "wall": wall, "node": self._node, "event": event, **fields}
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
