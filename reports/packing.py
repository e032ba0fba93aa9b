"""A whole history inside a page: columns as bytes, small enough that 200,000 operations open at once.

JSON would cost tens of megabytes and a second of parsing. Here each column is a typed array; times are differences; the
bytes of each column are regrouped by significance (all lowest bytes first, then the next), because neighbouring
operations share their high bytes; and the whole is gzipped, which every browser undoes by itself
(``DecompressionStream``), and written in base64.

Layout of the unzipped bytes: 4 bytes (little-endian) length of a JSON header, the header, then each column's planes in
the header's order.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from checkers.history import NEVER, History
from reports.lenient import plain
from reports.outcomes import shown_outcomes

TEXT_MAX = 160
"""Longer values are cut in the page; the history file has them whole."""

OPEN = 2**32 - 1
"""The duration of an operation that nobody saw end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lanes:
    """Processes arranged in lanes. ``of`` is each operation's lane."""

    of: np.ndarray[Any, np.dtype[np.uint16]]
    labels: tuple[str, ...]

    def worker_of(self, history: History) -> Mapping[int, int]:
        """The lane of each process."""
        processes, first = np.unique(history.process, return_index=True)
        return dict(zip(processes.tolist(), self.of[first].tolist(), strict=True))


def pack(history: History, lanes: Lanes, end_ns: int) -> str:
    """The history as base64 text for :file:`static/timeline.js`. ``end_ns`` is the end of the time axis."""
    unit = max(1000, -(-max(end_ns, 1) // (OPEN - 1)))
    call = np.maximum(history.call_ns, 0) // unit
    took = np.where(history.return_ns < 0, OPEN, np.clip((history.return_ns - history.call_ns) // unit, 0, OPEN - 1))
    columns: Mapping[str, Any] = {
        "call": np.diff(call, prepend=0).astype("<u4"),
        "took": took.astype("<u4"),
        "process": history.process.astype("<i4"),
        "lane": lanes.of.astype("<u2"),
        "f": history.f.astype("<u2"),
        "key": history.key.astype("<i4"),
        "value": history.value.astype("<i4"),
        "expected": history.expected.astype("<i4"),
        "result": history.result.astype("<i4"),
        "outcome": shown_outcomes(history).astype("<u1"),
        "node": history.node.astype("<i2"),
        "error": history.error.astype("<i4"),
        "final": history.final.astype("<u1"),
    }
    header = {
        "count": len(history),
        "unit_ns": unit,
        "end_ns": end_ns,
        "columns": [[name, column.dtype.str[1:]] for name, column in columns.items()],
        "functions": _shown(history.functions),
        "keys": _shown(history.keys.values),
        "values": _shown(history.values.values),
        "nodes": _shown(history.nodes),
        "errors": _shown(history.errors),
        "lanes": lanes.labels,
    }
    head = orjson.dumps(header)
    body = b"".join(_planes(column) for column in columns.values())
    return base64.b64encode(
        gzip.compress(len(head).to_bytes(4, "little") + head + body, compresslevel=5, mtime=0)
    ).decode()


def _planes(column: Any) -> bytes:
    """The column's bytes, regrouped by significance."""
    size = column.dtype.itemsize
    return bytes(np.ascontiguousarray(column).view(np.uint8).reshape(-1, size).T.tobytes())


def _shown(values: Sequence[Any]) -> list[Any]:
    """Numbers that JavaScript holds exactly stay numbers (they pack well); everything else becomes text."""
    return [value if type(value) is int and abs(value) < 2**53 else _text(value) for value in values]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    words = value if isinstance(value, str) else plain(value, TEXT_MAX)
    return words if len(words) <= TEXT_MAX else f"{words[:TEXT_MAX]}… ({len(words)} characters)"


def arrange(history: History) -> Lanes:
    """A lane a worker: a process whose operation ended ``info`` goes on under a new number, in the same lane.

    Which number follows which is not in the history. If the numbers of a lane are congruent modulo the first
    generation's size (as the interpreter gives them out) that is used; else each new process takes the lane that became
    free last.
    """
    if not len(history):
        return Lanes(of=np.zeros(0, np.uint16), labels=())
    processes, first = np.unique(history.process, return_index=True)
    begins = history.call_ns[first]
    ends = _ends(history, processes)
    order = np.argsort(begins, kind="stable")
    lane_of = _congruent(processes, begins, ends, order)
    if lane_of is None:
        lane_of = _by_vacancy(begins, ends, order)
    of = lane_of[np.searchsorted(processes, history.process)].astype(np.uint16)
    return Lanes(of=of, labels=_labels(history, of, int(lane_of.max()) + 1))


def _ends(history: History, processes: Any) -> Any:
    """When each process's last operation was over."""
    over = np.where(history.return_ns < 0, NEVER, history.return_ns)
    ends = np.zeros(len(processes), np.int64)
    np.maximum.at(ends, np.searchsorted(processes, history.process), over)
    return ends


def _congruent(processes: Any, begins: Any, ends: Any, order: Any) -> Any:
    generation = int(np.searchsorted(begins[order], ends.min(), side="left"))
    if generation == 0 or not np.array_equal(np.sort(processes[order][:generation]), np.arange(generation)):
        return None
    lanes = processes % generation
    free = np.full(generation, np.iinfo(np.int64).min)
    for place in order:
        if begins[place] < free[lanes[place]]:
            return None
        free[lanes[place]] = ends[place]
    return lanes


def _by_vacancy(begins: Any, ends: Any, order: Any) -> Any:
    lanes = np.zeros(len(begins), np.int64)
    free: list[int] = []  # when each lane became free
    for place in order:
        vacant = [lane for lane, since in enumerate(free) if since <= begins[place]]
        lane = max(vacant, key=lambda number: free[number]) if vacant else len(free)
        free[lane : lane + 1] = [int(ends[place])]
        lanes[place] = lane
    return lanes


def _labels(history: History, of: Any, count: int) -> tuple[str, ...]:
    """``worker 3 · n2`` if all its operations were answered by one node, else the number alone."""
    labels = []
    for lane in range(count):
        nodes = np.unique(history.node[of == lane])
        nodes = nodes[nodes >= 0]
        labels.append(f"worker {lane} · {history.nodes[int(nodes[0])]}" if len(nodes) == 1 else f"worker {lane}")
    return tuple(labels)
