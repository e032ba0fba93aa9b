"""Watch guarantees: what a client that follows changes may rely on.

The guarantees that etcd publishes for its Watch API (etcd.io, "etcd API guarantees", version 3.6), judged as its
robustness tests judge them (etcd-io/etcd, tests/robustness/validate), and against acknowledged writes and reads too:

- **ordered**: no event comes after one of a later revision;
- **unique**: no event comes twice on one watch;
- **atomic**: the events of one revision come in one response, all of them;
- **reliable**: between two events that came, none is missing;
- **resumable**: a watch from a revision begins with the first event of that revision or later;
- **bookmarkable**: when progress up to a revision is told, everything up to it has come, and nothing of it comes later;
- **previous value**: if it was asked for, it is what the event before it on that key left;
- **filter**: only what was asked for comes.

Missing is what is *known* to have happened: an acknowledged write, a read, or an event of another watch told its
revision. Beyond the last event or progress of a stream nothing is missing: events come with any delay. Two accounts of
one change that differ are refused (**events differ**), and so is a value that nobody wrote (**phantom event**).
Previous values are compared within one stream, and only if nothing was filtered out of it.

:mod:`checkers.guarantees.watch_events` has the vocabulary.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.guarantees.accusation import SHOWN_MAX, Case, nothing_judged
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.settings import Settings
from checkers.guarantees.watch_events import (
    CHANGES,
    COMPACTED,
    PROGRESS,
    PUT,
    Item,
    Known,
    Watch,
    acknowledged_changes,
    attempted,
    watches,
)
from checkers.history import History
from checkers.values import identity
from checkers.verdict import Finding, Result
from checkers.wording import show

NAME = "watch"


@dataclass(frozen=True, slots=True)
class _Breach:
    """What is wrong with one watch: the sentence goes on from "the watch ... "; ``rows``: who else proves it."""

    kind: str
    words: str
    item: Item
    rows: tuple[int, ...] = ()


@dataclass(slots=True)
class _Truth:
    """All known changes: by (revision, key), and in the order of their revisions."""

    by_place: dict[tuple[int, Hashable], Known] = field(default_factory=dict)
    differing: list[tuple[Known, Known]] = field(default_factory=list)
    ordered: list[Known] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)

    def tell(self, known: Known) -> None:
        place = (known.change.revision, known.change.name)
        first = self.by_place.setdefault(place, known)
        if first.change.content != known.change.content:
            self.differing.append((first, known))

    def sort(self) -> None:
        self.ordered = sorted(self.by_place.values(), key=lambda known: known.change.revision)
        self.revisions = [known.change.revision for known in self.ordered]

    def between(self, first: int, last: int) -> Iterator[Known]:
        """Changes of the revisions ``first..last``."""
        begin, end = bisect.bisect_left(self.revisions, first), bisect.bisect_right(self.revisions, last)
        return iter(self.ordered[begin:end])


def judge(history: History, settings: Settings) -> Result:  # noqa: ARG001 (there are no settings)
    """Does every watch keep its guarantees?

    Raises:
        HistoryError: a request or a stream is not in the vocabulary.
    """
    every = list(watches(history))
    truth = _Truth()
    for known in acknowledged_changes(history):
        truth.tell(known)
    for watch in every:
        for change in watch.changes:
            truth.tell(Known(change=change, row=watch.row))
    truth.sort()
    written = attempted(history)
    found = [(watch, breach) for watch in every for breach in _breaches(watch, truth, written)]
    counts = Counter(breach.kind for _, breach in found)
    findings: list[Finding] = []
    for kind in _JUDGES:
        findings.extend(_finding(history, *pair) for pair in [one for one in found if one[1].kind == kind][:SHOWN_MAX])
    findings.extend(_differ(history, *pair) for pair in truth.differing[:SHOWN_MAX])
    events = sum(len(watch.changes) for watch in every)
    if not findings and not any(watch.items for watch in every):
        findings.append(
            nothing_judged(NAME, "No watch that ended ok received anything, so no guarantee can be judged.")
        )
    statistics = {
        "watches": len(every),
        "events": events,
        "progress_notifications": sum(item.type == PROGRESS for watch in every for item in watch.items),
        "known_changes": len(truth.ordered),
        **{kind.replace(" ", "_"): counts[kind] for kind in _JUDGES},
        "events_differ": len(truth.differing),
    }
    return Result(checker=NAME, findings=tuple(findings), statistics=statistics)


def _breaches(watch: Watch, truth: _Truth, written: Mapping[Hashable, frozenset[Hashable]]) -> Iterator[_Breach]:
    for judge_one in _JUDGES.values():
        yield from judge_one(watch, truth, written)


Written = Mapping[Hashable, frozenset[Hashable]]


def _ordered(watch: Watch, truth: _Truth, written: Written) -> Iterator[_Breach]:  # noqa: ARG001
    latest: Item | None = None
    seen: set[tuple[int, Hashable]] = set()
    for change in watch.changes:
        again = (change.revision, change.name) in seen
        seen.add((change.revision, change.name))
        if latest is not None and change.revision < latest.revision and not again:
            yield _Breach("ordered", f"received {_told(change)} after {_told(latest)}", change)
        if latest is None or change.revision > latest.revision:
            latest = change


def _unique(watch: Watch, truth: _Truth, written: Written) -> Iterator[_Breach]:  # noqa: ARG001
    seen: set[tuple[int, Hashable]] = set()
    for change in watch.changes:
        place = (change.revision, change.name)
        if place in seen:
            yield _Breach("unique", f"received {_told(change)} twice", change)
        seen.add(place)


def _atomic(watch: Watch, truth: _Truth, written: Written) -> Iterator[_Breach]:  # noqa: ARG001
    batch: dict[int, Any] = {}
    there = {(change.revision, change.name) for change in watch.changes}
    first: dict[tuple[int, Hashable], Any] = {}
    for change in watch.changes:
        place = (change.revision, change.name)
        again = place in first  # a repeated event is unique's matter
        first.setdefault(place, change.batch)
        if change.batch is not None and not again:
            before = batch.setdefault(change.revision, change.batch)
            if before != change.batch:
                parts = f"in parts, in responses {show(before)} and {show(change.batch)}"
                what = f"received revision {change.revision} {parts}"
                yield _Breach("atomic", what, change)
    for revision in sorted({revision for revision, _ in there}):
        for known in truth.between(revision, revision):
            if watch.wants(known.change) and (revision, known.change.name) not in there:
                what = f"received revision {revision} without {_told(known.change)}, which is part of it"
                yield _Breach("atomic", what, known.change, (known.row,))


def _missing(watch: Watch, truth: _Truth, first: int, last: int) -> Iterator[Known]:
    there = {(change.revision, change.name) for change in watch.changes}
    for known in truth.between(first, last):
        if watch.wants(known.change) and (known.change.revision, known.change.name) not in there:
            yield known


def _reliable(watch: Watch, truth: _Truth, written: Written) -> Iterator[_Breach]:  # noqa: ARG001
    if watch.changes:
        revisions = [change.revision for change in watch.changes]
        for known in _missing(watch, truth, min(revisions) + 1, max(revisions) - 1):
            if known.change.revision not in revisions:
                before = max(revision for revision in revisions if revision < known.change.revision)
                after = min(revision for revision in revisions if revision > known.change.revision)
                what = f"received revisions {before} and {after}, but not {_told(known.change)}"
                yield _Breach("reliable", what, known.change, (known.row,))


def _resumable(watch: Watch, truth: _Truth, written: Written) -> Iterator[_Breach]:  # noqa: ARG001
    compacted = any(item.type == COMPACTED for item in watch.items)
    if watch.since is not None and watch.changes and not compacted:
        first = min(watch.changes, key=lambda change: change.revision)
        for known in _missing(watch, truth, watch.since, first.revision - 1):
            what = f"from revision {watch.since} began with {_told(first)}, without {_told(known.change)}"
            yield _Breach("resumable", what, known.change, (known.row,))
            return


def _bookmarkable(watch: Watch, truth: _Truth, written: Written) -> Iterator[_Breach]:  # noqa: ARG001
    told: Item | None = None
    there: set[tuple[int, Hashable]] = set()
    begin = watch.since
    for item in watch.items:
        if item.type in CHANGES:
            if told is not None and item.revision <= told.revision:
                yield _Breach("bookmarkable", f"received {_told(item)} after progress up to {told.revision}", item)
            there.add((item.revision, item.name))
            begin = item.revision if begin is None else begin
        elif item.type == PROGRESS:
            told = item if told is None or item.revision > told.revision else told
            for known in truth.between(item.revision + 1 if begin is None else begin, item.revision):
                if watch.wants(known.change) and (known.change.revision, known.change.name) not in there:
                    what = f"was told progress up to {item.revision} without having received {_told(known.change)}"
                    yield _Breach("bookmarkable", what, known.change, (known.row,))
                    break


def _previous_value(watch: Watch, truth: _Truth, written: Written) -> Iterator[_Breach]:  # noqa: ARG001
    if not watch.prev or watch.without:
        return
    left: dict[Hashable, Item] = {}
    for change in watch.changes:
        before = left.get(change.name)
        if before is not None and before.revision < change.revision:
            value = before.value if before.type == PUT else None
            if identity(change.prev) != identity(value):
                what = f"received {_told(change)} with the previous value {show(change.prev)} after {_told(before)}"
                yield _Breach("previous value", what, change)
        if before is None or before.revision < change.revision:
            left[change.name] = change


def _filter(watch: Watch, truth: _Truth, written: Written) -> Iterator[_Breach]:  # noqa: ARG001
    for change in watch.changes:
        if not watch.wants(change):
            asked = [f"key {show(watch.key)}"] * (watch.key is not None)
            asked += [f"prefix {show(watch.prefix)}"] * (watch.prefix is not None)
            asked += [f"from revision {watch.since}"] * (watch.since is not None)
            asked += [f"without {name}s" for name in sorted(watch.without)]
            yield _Breach("filter", f"({', '.join(asked)}) received {_told(change)}, which it did not ask for", change)


def _phantom(watch: Watch, truth: _Truth, written: Written) -> Iterator[_Breach]:  # noqa: ARG001
    for change in watch.changes:
        values = written.get(change.name)
        if change.type == PUT and values is not None and identity(change.value) not in values:
            yield _Breach("phantom event", f"received {_told(change)}, but nobody wrote that value to that key", change)


_JUDGES: Mapping[str, Callable[[Watch, _Truth, Written], Iterator[_Breach]]] = {
    "ordered": _ordered,
    "unique": _unique,
    "atomic": _atomic,
    "reliable": _reliable,
    "resumable": _resumable,
    "bookmarkable": _bookmarkable,
    "previous value": _previous_value,
    "filter": _filter,
    "phantom event": _phantom,
}
"""Each guarantee by the kind of its findings."""

KINDS = (*_JUDGES, "events differ")


def _told(change: Item) -> str:
    what = f"put of {show(change.value)} to" if change.type == PUT else "delete of"
    return f"the {what} {show(change.key)} at revision {change.revision}"


def _finding(history: History, watch: Watch, breach: _Breach) -> Finding:
    case = Case(history, [watch.row, *breach.rows])
    watcher = case.operations[0]
    who = f"{case.words.who(watcher)} at {case.words.began(watcher)}"
    known = ""
    for other in case.operations[1:]:
        how = "received by another watch" if other.f == "watch" else f"told by the {other.f}"
        known = f" (that change was {how} of {case.words.who(other)})"
    message = f"The watch by {who} {breach.words}{known}."
    evidence = {"revision": breach.item.revision, "event_key": breach.item.key, "type": breach.item.type}
    return case.finding(NAME, breach.kind, message, key=breach.item.key, watch=watch.row, **evidence)


def _differ(history: History, first: Known, second: Known) -> Finding:
    case = Case(history, [first.row, second.row])
    told = []
    for known in (first, second):
        row = history.operation(known.row)
        told.append(f"{_told(known.change)} by the {row.f} of {case.words.who(row)} at {case.words.began(row)}")
    message = f"One change was told in two ways: {told[0]}, and {told[1]}."
    change = first.change
    evidence = {"revision": change.revision, "event_key": change.key, "rows": [first.row, second.row]}
    return case.finding(NAME, "events differ", message, key=change.key, **evidence)


WATCH = Guarantee(
    name=NAME,
    judge=judge,
    functions=frozenset({"watch", "write", "put", "cas", "delete", "read"}),
    summary="watches: ordered, unique, atomic, reliable, resumable, bookmarkable, previous values, filters (as etcd's)",
)
