"""Why a register history is impossible, in words and as data: one function a kind of conflict.

Each sentence states facts of the operations that it names (who returned before whom began, who saw what) and must be
true as it stands; the facts of time are repeated in the finding's evidence, where pages can draw them and tests check
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from checkers.deciders.register.conflicts import Conflict
from checkers.history import FAIL, History
from checkers.operation import Operation, Outcome
from checkers.verdict import LINEARIZABILITY, Finding
from checkers.wording import Wording, arrows, capital, deed, listed, place, show, step, value_of


class _Case:
    """A conflict with its operations as rows, and the words for them."""

    def __init__(self, history: History, conflict: Conflict, initial: Any) -> None:
        self.history = history
        self.conflict = conflict
        self.initial = initial
        self.key = history.keys.values[conflict.key]
        self.rows = tuple(history.operation(row) for row in conflict.rows)
        self.by_row = dict(zip(conflict.rows, self.rows, strict=True))
        self.path = [self.by_row[row] for row in conflict.path]
        self.words = Wording(self.rows)
        self.cited: list[Operation] = []
        """Failed attempts that the sentence names besides: a reader wants to see them."""

    def role(self, name: str) -> Operation:
        return self.by_row[self.conflict.roles[name]]

    def has(self, name: str) -> bool:
        return name in self.conflict.roles

    def where(self) -> str:
        return place(self.key)

    def proved(self) -> str:
        """That what nobody saw end did happen: a clause, or nothing."""
        hidden = [item for item in self.rows if item.outcome is Outcome.INFO and item.f == "cas"]
        if not hidden:
            return ""
        names = listed([f"{step(item)} by {self.words.who(item)}" for item in hidden[:3]])
        more = f" (and {len(hidden) - 3} more)" if len(hidden) > 3 else ""
        what = "it" if len(hidden) == 1 else "they"
        return (
            f" Nobody saw {names}{more} end, but {what} must have happened, because the new value was seen afterwards."
        )


def explain(history: History, conflict: Conflict, initial: Any) -> Finding:
    """The finding for a conflict that :func:`checkers.deciders.register.judgement.judge` found in the history."""
    case = _Case(history, conflict, initial)
    returns = [item.return_ns for item in case.rows if item.outcome is Outcome.OK and item.return_ns is not None]
    message = _SENTENCES[conflict.kind](case)
    return Finding(
        checker=LINEARIZABILITY,
        kind=conflict.kind,
        message=message,
        key=case.key,
        operations=(*case.rows, *case.cited),
        nodes=tuple(sorted({item.node for item in case.rows if item.node is not None})),
        time_ns=max(returns, default=None),
        evidence={
            "before": [list(pair) for pair in conflict.before],
            "roles": dict(conflict.roles),
            "path": list(conflict.path),
            "initial": initial,
        },
    )


def _phantom_read(case: _Case) -> str:
    read = case.role("read")
    told = f"The read of {case.where()} by {case.words.who(read)} at {case.words.began(read)} returned"
    return f"{told} {show(read.result)}, {_nobody_wrote(case, read.result)}."


def _nobody_wrote(case: _Case, value: Any) -> str:
    history, code = case.history, case.history.values.find(value)
    writes = (history.value == code) & (history.f != history.function("read"))
    begins = f"the initial value is {show(case.initial)}"
    failed = np.flatnonzero(writes & (history.outcome == FAIL) & (history.key == case.conflict.key))
    if len(failed):
        attempt = history.operation(int(failed[0]))
        case.cited.append(attempt)
        only = "the only attempt" if len(failed) == 1 else f"each of the {len(failed)} attempts, the first"
        return f"but {only} to write it ({deed(attempt)} by {case.words.who(attempt)}) certainly failed, and {begins}"
    elsewhere = np.flatnonzero(writes & (history.outcome != FAIL))
    if len(elsewhere):
        other = history.operation(int(elsewhere[0]))
        return f"a value that was written to {place(other.key)} only, never to {case.where()}, and {begins}"
    return f"a value that nobody ever tried to write, and {begins}"


def _phantom_cas(case: _Case) -> str:
    cas = case.role("cas")
    value = cas.value[0]
    needs = f"so {case.where()} held {show(value)}, {_nobody_wrote(case, value)}."
    return f"{capital(case.words.deed(cas))} at {case.words.began(cas)} took effect, {needs}{case.proved()}"


def _read_before_write(case: _Case) -> str:
    read, write = case.role("read"), case.role("write")
    over = f"was over at {case.words.ended(read)}, before {case.words.deed(write)} began at {case.words.began(write)}"
    told = f"The read of {case.where()} by {case.words.who(read)} at {case.words.began(read)} returned"
    return f"{told} {show(read.result)} and {over}; nothing else ever wrote {show(read.result)}.{case.proved()}"


def _two_consumers(case: _Case) -> str:
    first, second = case.role("first"), case.role("second")
    value = show(first.value[0])
    both = f"Both {case.words.deed(first)} and {case.words.deed(second)} took effect on {case.where()}"
    once = "was written only once" if case.has("write") else "was there only at the beginning"
    first_replaced = f"{value} {once}, and the first to find it replaced it"
    return f"{both}, so each of them found {value}; but {first_replaced}.{case.proved()}"


def _cycle(case: _Case) -> str:
    if len(case.path) == 1:
        cas = case.path[0]
        told = f"{capital(case.words.deed(cas))} took effect, so {case.where()} held {show(cas.value[0])} before"
        begins = f"the initial value is {show(case.initial)}"
        return f"{told}; but nothing else ever wrote it, and {begins}.{case.proved()}"
    chain = arrows([case.path[0].value[0], *(item.value[1] for item in case.path)])
    told = f"The {len(case.path)} compare-and-sets {chain} on {case.where()} took effect"
    circle = "each needs a value that only another of them wrote, so none of them can have been first"
    return f"{told}; but {circle}.{case.proved()}"


def _stale_read(case: _Case) -> str:
    if case.has("began"):
        return _replaced_read(case)
    read, seen = case.role("read"), case.role("seen")
    told = f"The read of {case.where()} by {case.words.who(read)} at {case.words.began(read)} returned"
    before = f"{case.words.seen(seen)}, before this read began"
    if not case.has("write"):
        return f"{told} the initial value {show(read.result)}; but {before}."
    write, there, newer = case.role("write"), case.role("there"), case.role("newer")
    began = f"before {case.words.deed(newer)} began at {case.words.began(newer)}"
    old = case.words.seen(there)
    if there == write:
        old = f"{case.words.deed(write)} returned at {case.words.ended(write)}"
    return f"{told} {show(read.result)}; but {old}, {began}, and {before}. {show(read.result)} was written only once."


def _replaced_read(case: _Case) -> str:
    read, returned = case.role("began"), case.role("returned")
    value = show(read.result)
    told = f"The read of {case.where()} by {case.words.who(read)} at {case.words.began(read)} returned {value}"
    replaced = f"{value} had been replaced ({_path(case)})"
    once = "was written only once" if case.has("write") else "is the initial value and nothing ever wrote it"
    return (
        f"{told}; but {replaced}: {case.words.seen(returned)}, before this read began. {value} {once}.{case.proved()}"
    )


def _path(case: _Case) -> str:
    if len(case.path) == 1:
        return case.words.deed(case.path[0])
    chain = arrows([case.path[0].value[0], *(item.value[1] for item in case.path)])
    return f"{len(case.path)} compare-and-sets: {chain}"


def _before_origin(case: _Case) -> str:
    began, returned = case.role("began"), case.role("returned")
    over = f"{capital(case.words.deed(returned))} on {case.where()} was over at {case.words.ended(returned)}"
    if case.path == [returned]:
        only = f"it found {show(value_of(began))}, and nothing but {case.words.deed(began)} ever wrote that"
        return f"{over}; but {only}, which began only at {case.words.began(began)}.{case.proved()}"
    made = f"{show(value_of(returned))} was made from {show(value_of(began))} ({_path(case)})"
    origin = f"{case.words.deed(began)} began only at {case.words.began(began)}"
    return f"{over}; but {made}, and {origin}; nothing else ever wrote {show(value_of(began))}.{case.proved()}"


def _came_back(case: _Case) -> str:
    pairs = [(case.role("first"), case.role("then")), (case.role("other first"), case.role("other then"))]
    one, other = (show(value_of(first)) for first, _ in pairs)
    facts = [
        f"{case.words.deed(first)} was over at {case.words.ended(first)}, before {case.words.deed(then)} began at "
        f"{case.words.began(then)}"
        for first, then in pairs
    ]
    told = f"{capital(case.where())} held {one} before {other} and {other} before {one}"
    return f"{told}, though each was written only once: {facts[0]}; and {facts[1]}."


def _inside_chain(case: _Case) -> str:
    chains = _chains(case)
    facts = [
        f"{case.words.deed(first)} was over at {case.words.ended(first)}, before {case.words.deed(then)} began at "
        f"{case.words.began(then)}"
        for first, then in ((case.by_row[a], case.by_row[b]) for a, b in case.conflict.before)
    ]
    if len(facts) == 1:
        rule = f"{case.where()} began with {show(case.initial)}, and compare-and-sets changed it directly: {chains[0]}"
    else:
        proof = f"the compare-and-sets on {case.where()} prove that values followed one another directly"
        rule = f"{proof}: {listed(chains)}"
    end = (
        "nothing else can come in between, but the times say that it did"
        if len(facts) > 1
        else "so all of these came first, but the times say otherwise"
    )
    return f"{capital(rule)}; {end}: {listed(facts)}.{case.proved()}"


def _chains(case: _Case) -> list[str]:
    """The path as chains of values, each shown once."""
    chains: list[list[Any]] = []
    for item in case.path:
        if chains and show(chains[-1][-1]) == show(item.value[0]):
            chains[-1].append(item.value[1])
        else:
            chains.append([item.value[0], item.value[1]])
    return [arrows(chain) for chain in chains]


_SENTENCES: Mapping[str, Callable[[_Case], str]] = {
    "phantom read": _phantom_read,
    "phantom compare-and-set": _phantom_cas,
    "read before write": _read_before_write,
    "two compare-and-sets consumed one value": _two_consumers,
    "compare-and-set cycle": _cycle,
    "stale read": _stale_read,
    "value before its origin": _before_origin,
    "value came back": _came_back,
    "operation inside a compare-and-set chain": _inside_chain,
}

KINDS: Sequence[str] = tuple(_SENTENCES)
"""Every kind of conflict that the log-linear method names."""
