"""Claims about watches: a correct watchable store is never refused; each guarantee, broken on purpose, is."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from checkers.guarantees.watch import KINDS, WATCH
from checkers.history import HistoryError
from checkers.verdict import Validity
from tests.checkers.guarantees.told import Event, op, story

KEYS = ("a1", "a2", "b1")


class Store:
    """A store with revisions, correct by construction: transactions change one key or two at one revision."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.revision, self.fresh = 1, 0
        self.state: dict[str, int] = {}
        self.log: list[dict[str, Any]] = []
        self.events: list[list[Event]] = []
        self.time = 0

    def run(self, operations: int) -> list[list[Event]]:
        for _ in range(operations):
            self.time += 3
            self.random.choice((self.write, self.write, self.delete, self.read, self.pair))()
        for process in range(40, 44):
            self.watch(process)
        return self.events

    def change(self, key: str, type_: str) -> None:
        before = self.state.pop(key, None)
        change = {"type": type_, "revision": self.revision, "key": key, "prev": before}
        if type_ == "put":
            self.fresh += 1
            self.state[key] = change["value"] = self.fresh
        self.log.append(change)

    def put(self, key: str) -> Any:
        self.change(key, "put")
        return self.state[key]

    def tell(self, f: str, key: str, value: Any, result: Any) -> None:
        unknown = self.random.random() < 0.2
        self.events.append(
            op(
                len(self.events),
                f,
                value,
                value if unknown else result,
                self.time,
                self.time + 1,
                "info" if unknown else "ok",
                key=key,
            )
        )

    def write(self) -> None:
        self.revision += 1
        key = self.random.choice(KEYS)
        value = self.put(key)
        self.tell("write", key, value, [self.revision, value])

    def pair(self) -> None:
        self.revision += 1
        for key in self.random.sample(KEYS, 2):
            value = self.put(key)
            self.tell("write", key, value, [self.revision, value])

    def delete(self) -> None:
        key = self.random.choice(KEYS)
        if key in self.state:
            self.revision += 1
            self.change(key, "delete")
            self.tell("delete", key, None, [self.revision, None])
        else:
            self.tell("delete", key, None, None)

    def read(self) -> None:
        key = self.random.choice(KEYS)
        last = next((item for item in reversed(self.log) if item["key"] == key and item["type"] == "put"), None)
        result = [last["revision"], last["value"]] if last and key in self.state else None
        self.tell("read", key, None, result)

    def watch(self, process: int) -> None:
        request: dict[str, Any] = self.random.choice(
            ({"key": "a1"}, {"prefix": "a"}, {"prefix": "a", "prev": True}, {"prev": True}, {"without": ["delete"]}, {})
        )
        begin = self.random.randint(1, self.revision)
        request = {**request, "from": begin} if self.random.random() < 0.5 else request
        end = self.random.randint(begin, self.revision)
        stream: list[dict[str, Any]] = []
        for revision in range(begin, end + 1):
            here = [item for item in self.log if item["revision"] == revision and wanted(request, item)]
            stream += [{**item, "batch": revision} if request.get("prev") else without_prev(item) for item in here]
            if self.random.random() < 0.2:
                stream.append({"type": "progress", "revision": revision})
        self.events.append(op(process, "watch", request, stream, self.time + 5, self.time + 9))


def without_prev(item: dict[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in item.items() if name != "prev"}, "batch": item["revision"] // 2}


def wanted(request: dict[str, Any], item: dict[str, Any]) -> bool:
    named = item["key"] == request.get("key", item["key"]) and item["key"].startswith(request.get("prefix", ""))
    return named and item["type"] not in request.get("without", ())


def test_a_correct_store_is_never_refused() -> None:
    """Watches of keys, prefixes and everything, from any revision, over writes that ended unknown."""
    judged = 0
    for seed in range(200):
        result = WATCH.check(story(*Store(seed).run(20)))
        assert result.validity is not Validity.INVALID, (seed, [finding.message for finding in result.findings])
        judged += result.statistics["events"] > 5
    assert judged > 120


Stream = list[dict[str, Any]]
Break = Callable[[Stream, dict[str, Any], random.Random], bool]


def changes(stream: Stream) -> Stream:
    return [item for item in stream if item["type"] != "progress"]


def swap(stream: Stream, request: dict[str, Any], stream_: random.Random) -> bool:  # noqa: ARG001
    for at in range(len(stream) - 1):
        one, other = stream[at], stream[at + 1]
        if "progress" not in (one["type"], other["type"]) and one["revision"] < other["revision"]:
            stream[at], stream[at + 1] = other, one
            return True
    return False


def repeat(stream: Stream, request: dict[str, Any], stream_: random.Random) -> bool:  # noqa: ARG001
    if changes(stream):
        stream.append(dict(stream_.choice(changes(stream))))
        return True
    return False


def split(stream: Stream, request: dict[str, Any], stream_: random.Random) -> bool:  # noqa: ARG001
    for one, other in zip(changes(stream), changes(stream)[1:], strict=False):
        if one["revision"] == other["revision"]:
            other["batch"] = 10**6
            return True
    return False


def part(stream: Stream, request: dict[str, Any], stream_: random.Random) -> bool:  # noqa: ARG001
    for one, other in zip(changes(stream), changes(stream)[1:], strict=False):
        if one["revision"] == other["revision"]:
            stream.remove(other)
            return True
    return False


def gap(stream: Stream, request: dict[str, Any], stream_: random.Random) -> bool:  # noqa: ARG001
    revisions = sorted({item["revision"] for item in changes(stream)})
    if len(revisions) < 3:
        return False
    stream[:] = [item for item in stream if item["revision"] != revisions[1] or item["type"] == "progress"]
    return True


def late_start(stream: Stream, request: dict[str, Any], stream_: random.Random) -> bool:  # noqa: ARG001
    revisions = sorted({item["revision"] for item in changes(stream)})
    if len(revisions) < 2 or "from" not in request:
        return False
    stream[:] = [item for item in stream if item["revision"] > revisions[0]]
    return True


def early_progress(stream: Stream, request: dict[str, Any], stream_: random.Random) -> bool:  # noqa: ARG001
    items = changes(stream)
    if len(items) < 2:
        return False
    stream.insert(stream.index(items[-1]), {"type": "progress", "revision": items[-1]["revision"]})
    return True


def other_prev(stream: Stream, request: dict[str, Any], stream_: random.Random) -> bool:  # noqa: ARG001
    seen: set[str] = set()
    for item in changes(stream):
        if item["key"] in seen and request.get("prev"):
            item["prev"] = 10**6
            return True
        seen.add(item["key"])
    return False


def stranger(stream: Stream, request: dict[str, Any], stream_: random.Random) -> bool:  # noqa: ARG001
    if "prefix" not in request and "key" not in request:
        return False
    last = max([item["revision"] for item in stream], default=10**6)
    stream.append({"type": "delete", "revision": last + 10**6, "key": "c1", "batch": -1})
    return True


def invented(stream: Stream, request: dict[str, Any], stream_: random.Random) -> bool:  # noqa: ARG001
    puts = [item for item in changes(stream) if item["type"] == "put"]
    if puts:
        puts[0]["value"] = 10**6
    return bool(puts)


BREAKS: dict[str, tuple[Break, str]] = {
    "two events swapped": (swap, "ordered"),
    "an event again": (repeat, "unique"),
    "a revision in two responses": (split, "atomic"),
    "half of a revision": (part, "atomic"),
    "a revision left out": (gap, "reliable"),
    "the first revision left out": (late_start, "resumable"),
    "progress before an event": (early_progress, "bookmarkable"),
    "another previous value": (other_prev, "previous value"),
    "a key that was not asked for": (stranger, "filter"),
    "a value that nobody wrote": (invented, "phantom event"),
    "a value that others saw otherwise": (invented, "events differ"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_watches_are_refused_by_the_named_guarantee(name: str) -> None:
    """A stream that was broken in one documented way is refused by the guarantee that forbids it, naming the watch."""
    break_, kind = BREAKS[name]
    broken = 0
    for seed in range(80):
        store = Store(seed)
        events = store.run(20)
        witness = [dict(item) for item in store.log]
        events.append(op(90, "watch", {"from": 1}, witness, store.time + 5, store.time + 9))
        target = next(one for one in events if one[0]["f"] == "watch" and one[0]["process"] != 90)
        if not break_(target[1]["value"], target[0]["value"], random.Random(seed)):
            continue
        broken += 1
        result = WATCH.check(story(*events))
        finding = next((finding for finding in result.findings if finding.kind == kind), None)
        assert finding is not None, (seed, [finding.message for finding in result.findings])
        assert target[0]["process"] in {item.process for item in finding.operations}
    assert broken >= 8


def test_every_guarantee_is_broken_by_a_test() -> None:
    """A check that can't fail is none."""
    assert {kind for _, kind in BREAKS.values()} == set(KINDS)


def put(revision: int, value: int, **more: Any) -> dict[str, Any]:
    return {"type": "put", "revision": revision, "key": "x", "value": value, **more}


def test_acknowledged_writes_are_known_without_another_watch() -> None:
    """A write that told its revision is missed by a stream that goes around it."""
    history = story(
        op(0, "write", 5, [3, 5], 0, 1, key="x"),
        op(1, "watch", {"key": "x"}, [put(2, 4), put(4, 6)], 2, 3),
    )
    reliable = next(finding for finding in WATCH.check(history).findings if finding.kind == "reliable")
    assert reliable.message == (
        'The watch by process 1 at 0.002 s received revisions 2 and 4, but not the put of 5 to "x" at revision 3 (that '
        "change was told by the write of process 0)."
    )


def test_nothing_is_missing_behind_the_last_event() -> None:
    """Events come with any delay."""
    history = story(op(0, "write", 5, [3, 5], 0, 1, key="x"), op(1, "watch", {"key": "x"}, [], 2, 3))
    assert WATCH.check(history).validity is Validity.UNKNOWN


def test_a_compacted_watch_owes_no_beginning() -> None:
    """What was compacted away can't be resumed from."""
    stream = [{"type": "compacted", "revision": 4}, put(5, 6)]
    history = story(op(0, "write", 5, [3, 5], 0, 1, key="x"), op(1, "watch", {"from": 2}, stream, 2, 3))
    assert "resumable" not in {finding.kind for finding in WATCH.check(history).findings}


def test_what_is_not_in_the_vocabulary_is_an_error() -> None:
    """Requests, streams and events of another form are named with their line."""
    for request, stream, words in (
        (5, [], "the request of a watch is 5"),
        ({}, 5, "the result of a watch is 5"),
        ({}, [{"type": "poke", "revision": 1}], "a watch received"),
        ({}, [{"type": "put"}], "an event without a revision"),
        ({"from": "x"}, [], "from is 'x'"),
    ):
        with pytest.raises(HistoryError, match=words):
            WATCH.check(story(op(0, "watch", request, stream, 0, 1)))
