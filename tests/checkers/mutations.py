"""Twelve ways to break a correct history so that it is broken by construction, for every data type that they fit.

A way changes what one operation reports (or whether another happened), after making sure from the times alone that no
order can be left. It returns the numbers of the operations that it changed, or whose loss it staged: an explanation
must name one of them. Values are unique, which is what makes the arguments short; each stands beside its way.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.checkers import things
from tests.checkers.simulated import Thing, simulate

WAYS: Mapping[str, str] = {
    "stale": "an observation shows what had been replaced before it began",
    "lost": "an acknowledged update is missing where it must be seen",
    "reordered": "two observations, one after the other, show two updates in the wrong order",
    "duplicate": "one update is delivered, or seen, twice",
    "phantom": "an observation shows what nobody ever wrote",
    "future": "an observation shows an update that began only afterwards",
    "came back": "a value is seen, then its successor, then the value again",
    "failed seen": "an operation that certainly failed is seen",
    "wrong empty": "nothing is seen where something must be",
    "wrong key": "an observation shows what was written under another key only",
    "two winners": "two operations succeed of which only one can",
    "torn": "an observation shows part of what was there, or too much of it",
}
"""The twelve ways, and what each does."""


@dataclass(kw_only=True, slots=True)
class Op:
    """An operation that a way may change: times are positions, ``ret`` None if nobody saw it end."""

    number: int
    process: int
    f: str
    value: Any
    key: Any = None
    result: Any = None
    outcome: str = "info"
    call: int = 0
    ret: int | None = None
    error: Any = None

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"


Ops = list[Op]
Way = Callable[[Ops, random.Random], set[int] | None]


def operations(events: Iterable[Mapping[str, Any]]) -> Ops:
    """The operations of a history's events, in the order of their invocations."""
    open_: dict[int, Op] = {}
    every: Ops = []
    for position, event in enumerate(events):
        if event["type"] == "invoke":
            what = {name: event.get(name) for name in ("process", "f", "value", "key")}
            op = open_[event["process"]] = Op(number=len(every), call=position, **what)
            every.append(op)
        else:
            op = open_.pop(event["process"])
            op.outcome, op.ret, op.error = event["type"], position, event.get("error")
            op.result = event.get("value")
    return every


def events(ops: Ops) -> list[dict[str, Any]]:
    """The events again."""
    out: list[dict[str, Any]] = []
    for op in ops:
        base = {"process": op.process, "f": op.f, "key": op.key}
        out.append({**base, "time": op.call, "type": "invoke", "value": op.value})
        if op.ret is not None:
            value = op.result if op.ok else op.value
            out.append({**base, "time": op.ret, "type": op.outcome, "value": value, "error": op.error})
    return sorted(out, key=lambda event: event["time"])


# --- What the ways ask ----------------------------------------------------------------------------------------------


def before(one: Op, other: Op) -> bool:
    """Was one over before the other began?"""
    return one.ok and one.ret is not None and one.ret < other.call


def those(ops: Ops, *names: str, ok: bool = True) -> Ops:
    return [op for op in ops if op.f in names and (op.ok or not ok)]


def shuffled(random_: random.Random, ops: Sequence[Op]) -> Sequence[Op]:
    return random_.sample(ops, len(ops))


def pairs(random_: random.Random, first: Sequence[Op], second: Sequence[Op]) -> Iterator[tuple[Op, Op]]:
    """All pairs (one of each, not the same), in random order, a bounded number of them."""
    every = itertools.product(shuffled(random_, first), shuffled(random_, second))
    return ((one, other) for one, other in itertools.islice(every, 20_000) if one is not other)


def writers(ops: Ops) -> dict[Any, Op]:
    """Who wrote a register's values, as far as acknowledged."""
    return {written(op): op for op in those(ops, "write", "cas")}


def written(op: Op) -> Any:
    return op.value[1] if op.f == "cas" else op.value


# --- Registers ------------------------------------------------------------------------------------------------------


def register_stale(ops: Ops, random_: random.Random) -> set[int] | None:
    """w1 before w2 before the read, which now shows w1."""
    plain = those(ops, "write")
    for one, two in pairs(random_, plain, plain):
        reads = [read for read in those(ops, "read") if before(two, read)] if before(one, two) else []
        if reads:
            read = random_.choice(reads)
            read.result = one.value
            return {read.number}
    return None


def register_lost(ops: Ops, random_: random.Random) -> set[int] | None:
    """All reads of w2 show w1 instead, which was over before w2 began; one of them began after w2 was over."""
    plain = those(ops, "write")
    for one, two in pairs(random_, plain, plain):
        seen = [read for read in those(ops, "read") if read.result == two.value]
        if before(one, two) and any(before(two, read) for read in seen):
            for read in seen:
                read.result = one.value
            return {read.number for read in seen} | {two.number}
    return None


def register_reordered(ops: Ops, random_: random.Random) -> set[int] | None:
    """Two reads, one after the other, saw w1 and w2, written one after the other: exchanged."""
    by = writers(ops)
    reads = [read for read in those(ops, "read") if read.result in by]
    for one, two in pairs(random_, reads, reads):
        old, new = by[one.result], by[two.result]
        if before(one, two) and before(old, new) and old.f == new.f == "write":
            one.result, two.result = two.result, one.result
            return {one.number, two.number}
    return None


def register_phantom(ops: Ops, random_: random.Random) -> set[int] | None:
    """A value that nobody wrote."""
    return _changed(random_, those(ops, "read"), -1)


def _changed(random_: random.Random, candidates: Ops, result: Any) -> set[int] | None:
    if not candidates:
        return None
    op = random_.choice(candidates)
    op.result = result
    return {op.number}


def register_future(ops: Ops, random_: random.Random) -> set[int] | None:
    """The read was over before the write of what it shows began; nothing else writes that."""
    for read, write in pairs(random_, those(ops, "read"), those(ops, "write", ok=False)):
        if before(read, write):
            read.result = write.value
            return {read.number}
    return None


def register_came_back(ops: Ops, random_: random.Random) -> set[int] | None:
    """Three reads, one after the other: v1, v2, and now v1 again, which was written once."""
    reads = [read for read in those(ops, "read") if read.result is not None]
    for one, two in pairs(random_, reads, reads):
        later = [read for read in reads if before(two, read)] if before(one, two) and one.result != two.result else []
        if later:
            read = random_.choice(later)
            read.result = one.result
            return {read.number}
    return None


def register_failed_seen(ops: Ops, random_: random.Random) -> set[int] | None:
    """A write that was seen turns out to have failed for certain."""
    seen = {read.result for read in those(ops, "read")}
    writes = [op for op in those(ops, "write") if op.value in seen]
    if not writes:
        return None
    write = random_.choice(writes)
    write.outcome, write.error = "fail", "refused"
    return {write.number} | {read.number for read in those(ops, "read") if read.result == write.value}


def register_wrong_empty(ops: Ops, random_: random.Random) -> set[int] | None:
    """The initial value, which nobody writes, after an acknowledged write."""
    late = [read for read in those(ops, "read") if any(before(write, read) for write in those(ops, "write"))]
    return _changed(random_, late, None)


def register_two_winners(ops: Ops, random_: random.Random) -> set[int] | None:
    """A second compare-and-set consumed a value that was written once."""
    for one, two in pairs(random_, those(ops, "cas"), those(ops, "cas")):
        two.value = [one.value[0], two.value[1]]
        two.result = two.value
        return {one.number, two.number}
    return None


# --- Queues, stacks, priority queues --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Container:
    """The ways of containers; ``overtakes``: two takes, exchanged, are out of order."""

    put: str
    take: str
    overtakes: Callable[[Op, Op, Op, Op], bool]
    """(put of the first taken, put of the second, first take, second take), in the correct history."""

    def takes(self, ops: Ops) -> Ops:
        return [op for op in those(ops, self.take) if op.result is not None]

    def puts(self, ops: Ops) -> dict[Any, Op]:
        return {op.value: op for op in those(ops, self.put)}

    def reordered(self, ops: Ops, random_: random.Random) -> set[int] | None:
        """Two takes, one after the other, exchanged."""
        by = self.puts(ops)
        takes = [take for take in self.takes(ops) if take.result in by]
        for one, two in pairs(random_, takes, takes):
            if before(one, two) and self.overtakes(by[one.result], by[two.result], one, two):
                one.result, two.result = two.result, one.result
                return {one.number, two.number}
        return None

    def lost(self, ops: Ops, random_: random.Random) -> set[int] | None:
        """An acknowledged element that had to be taken before another is never taken: its take vanishes."""
        by = self.puts(ops)
        takes = [take for take in self.takes(ops) if take.result in by]
        for one, two in pairs(random_, takes, takes):
            if before(one, two) and self.overtakes(by[one.result], by[two.result], one, two):
                ops.remove(one)
                return {by[one.result].number, two.number, by[two.result].number}
        return None

    def duplicate(self, ops: Ops, random_: random.Random) -> set[int] | None:
        """Two takes of one element."""
        for one, two in pairs(random_, self.takes(ops), those(ops, self.take)):
            two.result = one.result
            return {one.number, two.number}
        return None

    def phantom(self, ops: Ops, random_: random.Random) -> set[int] | None:
        """An element that nobody put in."""
        return _changed(random_, those(ops, self.take), 1_000_003)

    def future(self, ops: Ops, random_: random.Random) -> set[int] | None:
        """A take was over before its element's put began (exchanged with the take that got it)."""
        by = self.puts(ops)
        takes = self.takes(ops)
        for one, two in pairs(random_, takes, takes):
            if two.result in by and before(one, by[two.result]):
                one.result, two.result = two.result, one.result
                return {one.number, two.number}
        return None

    def failed_seen(self, ops: Ops, random_: random.Random) -> set[int] | None:
        """The put of an element that was taken turns out to have failed for certain."""
        by = self.puts(ops)
        takes = [take for take in self.takes(ops) if take.result in by]
        if not takes:
            return None
        take = random_.choice(takes)
        put = by[take.result]
        put.outcome, put.error = "fail", "refused"
        return {take.number, put.number}

    def wrong_empty(self, ops: Ops, random_: random.Random) -> set[int] | None:
        """A take found nothing, wholly between an element's put and the beginning of its take."""
        by = self.puts(ops)
        takes = self.takes(ops)
        taken = {take.result: take for take in takes}
        if any(op.f == self.take and op.outcome == "info" for op in ops):
            return None  # which might have taken anything
        for take, put in pairs(random_, takes, list(by.values())):
            end = taken.get(put.value)
            if before(put, take) and take.result != put.value and (end is None or before(take, end)):
                left = {by[take.result].number} if take.result in by else set()
                take.result = None
                return {take.number, *left}  # what it had taken is there for good now
        return None

    def ways(self) -> Mapping[str, Way]:
        return {
            "reordered": self.reordered,
            "lost": self.lost,
            "duplicate": self.duplicate,
            "phantom": self.phantom,
            "future": self.future,
            "failed seen": self.failed_seen,
            "wrong empty": self.wrong_empty,
        }


QUEUE = Container("enqueue", "dequeue", lambda put1, put2, _1, _2: before(put1, put2))
STACK = Container(
    # Both were in when the first was taken, and the one taken second went in first: exchanged, the lower one was taken
    # before the upper one.
    "push",
    "pop",
    lambda put1, put2, take1, _: before(put2, put1) and before(put1, take1),
)
PRIORITY = Container(
    "insert",
    "poll",
    lambda put1, put2, take1, _: before(put1, take1) and before(put2, take1) and put1.value < put2.value,
)


# --- Sets, counters, logs, locks, texts -----------------------------------------------------------------------------


def set_flipped(present: bool) -> Way:
    """A contains answers the opposite of what it must: ``present``, of what was never there or is gone."""

    def way(ops: Ops, random_: random.Random) -> set[int] | None:
        adds = {op.value: op for op in those(ops, "add")}
        removes = {op.value: op for op in those(ops, "remove", ok=False)}
        for op in shuffled(random_, those(ops, "contains")):
            add, remove = adds.get(op.value), removes.get(op.value)
            if present:
                wrong = add is not None and remove is not None and before(add, remove) and before(remove, op)
            else:
                stays = remove is None or (op.ret is not None and op.ret < remove.call)
                wrong = add is not None and before(add, op) and stays
            if wrong:
                op.result = present
                return {op.number}
        return None

    return way


def set_future(ops: Ops, random_: random.Random) -> set[int] | None:
    """A contains found what began to be added only afterwards."""
    for op, add in pairs(random_, those(ops, "contains"), those(ops, "add", ok=False)):
        if before(op, add):
            op.value, op.result = add.value, True
            return {op.number}
    return None


def set_phantom(ops: Ops, random_: random.Random) -> set[int] | None:
    """A contains found what nobody added."""
    candidates = those(ops, "contains")
    if not candidates:
        return None
    op = random_.choice(candidates)
    op.value, op.result = -1, True
    return {op.number}


def set_failed_seen(ops: Ops, random_: random.Random) -> set[int] | None:
    """The add of what was found turns out to have failed for certain."""
    adds = {op.value: op for op in those(ops, "add")}
    found = [op for op in those(ops, "contains") if op.result is True and op.value in adds]
    if not found:
        return None
    add = adds[random_.choice(found).value]
    add.outcome, add.error = "fail", "refused"
    return {add.number} | {op.number for op in found if op.value == add.value}


def counter_low(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read of less than was acknowledged before it began."""
    for read in shuffled(random_, those(ops, "read")):
        least = sum(before(add, read) for add in those(ops, "add"))
        if least:
            read.result = random_.randrange(least)
            return {read.number}
    return None


def counter_high(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read of more than was even begun when it was over."""
    reads = those(ops, "read")
    if not reads:
        return None
    read = random_.choice(reads)
    most = sum(
        read.ret is not None and add.call < read.ret and add.outcome != "fail" for add in those(ops, "add", ok=False)
    )
    read.result = most + random_.randint(1, 3)
    return {read.number}


def counter_back(ops: Ops, random_: random.Random) -> set[int] | None:
    """Two reads, one after the other, exchanged where they differ."""
    reads = those(ops, "read")
    for one, two in pairs(random_, reads, reads):
        if before(one, two) and one.result < two.result:
            one.result, two.result = two.result, one.result
            return {one.number, two.number}
    return None


def list_reads(ops: Ops) -> Ops:
    return [op for op in those(ops, "read") if isinstance(op.result, list)]


def list_stale(put: str) -> Way:
    """A read lacks its end, the first element of which was acknowledged before the read began."""

    def way(ops: Ops, random_: random.Random) -> set[int] | None:
        by = {op.value: op for op in those(ops, put)}
        for read in shuffled(random_, list_reads(ops)):
            cuts = [place for place, value in enumerate(read.result) if value in by and before(by[value], read)]
            if cuts:
                read.result = read.result[: random_.choice(cuts)]
                return {read.number}
        return None

    return way


def list_torn(put: str) -> Way:
    """A read lacks one acknowledged element though it shows later ones."""

    def way(ops: Ops, random_: random.Random) -> set[int] | None:
        by = {op.value: op for op in those(ops, put)}
        for read in shuffled(random_, list_reads(ops)):
            inner = [value for value in read.result[:-1] if value in by and before(by[value], read)]
            if inner:
                lost = random_.choice(inner)
                read.result = [value for value in read.result if value != lost]
                return {read.number}
        return None

    return way


def list_with(change: Callable[[list[Any]], list[Any]]) -> Way:
    """A read shows one element too many."""

    def way(ops: Ops, random_: random.Random) -> set[int] | None:
        reads = [read for read in list_reads(ops) if read.result]
        if not reads:
            return None
        read = random_.choice(reads)
        read.result = change(read.result)
        return {read.number}

    return way


def list_future(put: str) -> Way:
    """A read ends with an element that began to be added only afterwards."""

    def way(ops: Ops, random_: random.Random) -> set[int] | None:
        for read, add in pairs(random_, list_reads(ops), those(ops, put, ok=False)):
            if before(read, add):
                read.result = [*read.result, add.value]
                return {read.number}
        return None

    return way


def list_lost(put: str) -> Way:
    """No read shows an element, though some began after it was acknowledged."""

    def way(ops: Ops, random_: random.Random) -> set[int] | None:
        for read, add in pairs(random_, list_reads(ops), those(ops, put)):
            if before(add, read):
                changed = {op.number for op in list_reads(ops) if add.value in op.result}
                for op in list_reads(ops):
                    op.result = [value for value in op.result if value != add.value]
                return {add.number, *changed}
        return None

    return way


def list_failed_seen(put: str) -> Way:
    """The add of an element that a read shows turns out to have failed for certain."""

    def way(ops: Ops, random_: random.Random) -> set[int] | None:
        by = {op.value: op for op in those(ops, put)}
        reads = [read for read in list_reads(ops) if any(value in by for value in read.result)]
        if not reads:
            return None
        add = by[random_.choice([value for value in random_.choice(reads).result if value in by])]
        add.outcome, add.error = "fail", "refused"
        return {add.number} | {read.number for read in reads if add.value in read.result}

    return way


def list_wrong_empty(put: str) -> Way:
    """A read of nothing after an acknowledged add."""

    def way(ops: Ops, random_: random.Random) -> set[int] | None:
        late = [read for read in list_reads(ops) if any(before(add, read) for add in those(ops, put))]
        return _changed(random_, late, [])

    return way


def log_reordered(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read shows two entries exchanged that were appended one after the other."""
    by = {op.value: op for op in those(ops, "append")}
    for read in shuffled(random_, list_reads(ops)):
        for place in range(len(read.result) - 1):
            one, two = read.result[place], read.result[place + 1]
            if one in by and two in by and before(by[one], by[two]):
                read.result = [*read.result[:place], two, one, *read.result[place + 2 :]]
                return {read.number}
    return None


def log_two_winners(ops: Ops, random_: random.Random) -> set[int] | None:
    """Two appends were told the same offset."""
    for one, two in pairs(random_, those(ops, "append"), those(ops, "append")):
        two.result = one.result
        return {one.number, two.number}
    return None


def lock_two_winners(ops: Ops, random_: random.Random) -> set[int] | None:
    """A release between two acquisitions, one after the other, turns out to have failed: two held it at once."""
    acquires = sorted(those(ops, "acquire"), key=lambda op: op.call)
    for one, two in shuffled(random_, list(itertools.pairwise(acquires))):  # type: ignore[arg-type]
        releases = [op for op in ops if op.f == "release" and op.outcome != "fail"]
        between = [op for op in releases if one.call < (op.ret or 1 << 60) and op.call < (two.ret or 0)]
        if before(one, two) and len(between) == 1 and between[0].ok and before(one, between[0]):
            between[0].outcome, between[0].error = "fail", "refused"
            return {one.number, two.number, between[0].number}
    return None


def token_reordered(ops: Ops, random_: random.Random) -> set[int] | None:
    """Two acquisitions, one after the other, exchange their tokens."""
    for one, two in pairs(random_, those(ops, "acquire"), those(ops, "acquire")):
        if before(one, two):
            one.result, two.result = two.result, one.result
            return {one.number, two.number}
    return None


def token_duplicate(ops: Ops, random_: random.Random) -> set[int] | None:
    """Two acquisitions got one token."""
    for one, two in pairs(random_, those(ops, "acquire"), those(ops, "acquire")):
        two.result = one.result
        return {one.number, two.number}
    return None


def text_stale(ops: Ops, random_: random.Random) -> set[int] | None:
    """A get lacks its last piece, which was acknowledged before the get began."""
    by = {op.value: op for op in those(ops, "append")}
    for get in shuffled(random_, [op for op in those(ops, "get") if op.result]):
        head, _, piece = get.result.rpartition("<")
        last = by.get("<" + head.rpartition("<")[2])
        if last is None or f"<{piece}" not in by:
            continue
        # Appended after what now comes last, so nobody can say that a put wiped it out before.
        if before(last, by[f"<{piece}"]) and before(by[f"<{piece}"], get):
            get.result = head
            return {get.number}
    return None


def text_phantom(ops: Ops, random_: random.Random) -> set[int] | None:
    """A get shows a piece that nobody wrote."""
    return _changed(random_, those(ops, "get"), "<-1>")


def text_duplicate(ops: Ops, random_: random.Random) -> set[int] | None:
    """A get shows the last piece twice."""
    for get in shuffled(random_, [op for op in those(ops, "get") if op.result]):
        get.result += "<" + get.result.rpartition("<")[2]
        return {get.number}
    return None


def text_wrong_empty(ops: Ops, random_: random.Random) -> set[int] | None:
    """A get of nothing after an acknowledged append."""
    late = [get for get in those(ops, "get") if any(before(put, get) for put in those(ops, "append", "put"))]
    return _changed(random_, late, None)


# --- Transactions ---------------------------------------------------------------------------------------------------


def steps(op: Op, kind: str) -> list[int]:
    return [place for place, step in enumerate(op.result or ()) if step[0] == kind]


def with_step(op: Op, place: int, value: Any) -> set[int]:
    op.result = [[*step[:2], value] if at == place else step for at, step in enumerate(op.result)]
    return {op.number}


def txn_reads(ops: Ops, random_: random.Random) -> Iterator[tuple[Op, int, Any, Any]]:
    """(transaction, place, key, what was read) of every read of a key that the transaction does not write itself."""
    for op in shuffled(random_, those(ops, "txn")):
        own = {step[1] for step in op.result if step[0] != "r"}
        for place in steps(op, "r"):
            if op.result[place][1] not in own:
                yield op, place, op.result[place][1], op.result[place][2]


def txn_writers(ops: Ops, kind: str, *, ok: bool = True) -> dict[Any, Op]:
    return {step[2]: op for op in those(ops, "txn", ok=ok) for step in op.value if step[0] == kind}


def append_stale(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read lacks its end, which was acknowledged before the transaction began."""
    by = txn_writers(ops, "append")
    for op, place, _, seen in txn_reads(ops, random_):
        cuts = [cut for cut, value in enumerate(seen) if value in by and before(by[value], op)]
        if cuts:
            return with_step(op, place, seen[: random_.choice(cuts)])
    return None


def append_phantom(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read shows an element that nobody appended."""
    for op, place, _, seen in txn_reads(ops, random_):
        return with_step(op, place, [*seen, -1])
    return None


def append_duplicate(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read shows an element twice."""
    for op, place, _, seen in txn_reads(ops, random_):
        if seen:
            return with_step(op, place, [*seen, random_.choice(seen)])
    return None


def append_reordered(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read shows two elements exchanged that were appended one after the other."""
    by = txn_writers(ops, "append")
    for op, place, _, seen in txn_reads(ops, random_):
        for at in range(len(seen) - 1):
            if seen[at] in by and seen[at + 1] in by and before(by[seen[at]], by[seen[at + 1]]):
                return with_step(op, place, [*seen[:at], seen[at + 1], seen[at], *seen[at + 2 :]])
    return None


def append_torn(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read lacks an acknowledged element though it shows later ones."""
    by = txn_writers(ops, "append")
    for op, place, _, seen in txn_reads(ops, random_):
        inner = [value for value in seen[:-1] if value in by and before(by[value], op)]
        if inner:
            lost = random_.choice(inner)
            return with_step(op, place, [value for value in seen if value != lost])
    return None


def append_future(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read ends with an element whose transaction began only afterwards."""
    by = txn_writers(ops, "append", ok=False)
    for op, place, key, seen in txn_reads(ops, random_):
        later = [value for value, writer in by.items() if before(op, writer) and ["append", key, value] in writer.value]
        if later:
            return with_step(op, place, [*seen, random_.choice(later)])
    return None


def append_wrong_empty(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read of nothing after an acknowledged append."""
    by = txn_writers(ops, "append")
    for op, place, _, seen in txn_reads(ops, random_):
        if seen and seen[0] in by and before(by[seen[0]], op):
            return with_step(op, place, [])
    return None


def txn_failed_seen(kind: str) -> Way:
    """The transaction whose write was read turns out to have failed for certain."""

    def way(ops: Ops, random_: random.Random) -> set[int] | None:
        by = txn_writers(ops, kind)
        for op, _, _, seen in txn_reads(ops, random_):
            values = [value for value in (seen if isinstance(seen, list) else [seen]) if value in by]
            if values:
                writer = by[random_.choice(values)]
                writer.outcome, writer.error, writer.result = "fail", "refused", None
                return {writer.number, op.number}
        return None

    return way


def txn_wrong_key(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read shows what was written under another key only."""
    for op, place, key, seen in txn_reads(ops, random_):
        kinds = [step for other in ops if other.ok for step in other.value if step[0] != "r" and step[1] != key]
        if kinds:
            value = random_.choice(kinds)[2]
            return with_step(op, place, [*seen, value] if isinstance(seen, list) else value)
    return None


def rw_phantom(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read shows a value that nobody wrote."""
    for op, place, _, _ in txn_reads(ops, random_):
        return with_step(op, place, -1)
    return None


def rw_future(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read shows a value whose transaction began only afterwards."""
    by = txn_writers(ops, "w", ok=False)
    for op, place, key, _ in txn_reads(ops, random_):
        later = [value for value, writer in by.items() if before(op, writer) and ["w", key, value] in writer.value]
        if later:
            return with_step(op, place, random_.choice(later))
    return None


def rw_wrong_empty(ops: Ops, random_: random.Random) -> set[int] | None:
    """A read of nothing (nobody writes that) after an acknowledged write."""
    by = txn_writers(ops, "w")
    for op, place, _, seen in txn_reads(ops, random_):
        if seen in by and before(by[seen], op):
            return with_step(op, place, None)
    return None


def rw_two_winners(ops: Ops, random_: random.Random) -> set[int] | None:
    """Two transactions read one value and replaced it: an update is lost."""
    updates = [
        (op, place, step[1], step[2])
        for op in shuffled(random_, those(ops, "txn"))
        for place, step in enumerate(op.result)
        if step[0] == "r" and place + 1 < len(op.result) and op.result[place + 1][:2] == ["w", step[1]]
    ]
    for one, two in itertools.combinations(updates, 2):
        if one[0] is not two[0] and one[2] == two[2] and one[3] is not None:
            return with_step(two[0], two[1], one[3]) | {one[0].number}
    return None


REGISTER: Mapping[str, Way] = {
    "stale": register_stale,
    "lost": register_lost,
    "reordered": register_reordered,
    "phantom": register_phantom,
    "future": register_future,
    "came back": register_came_back,
    "failed seen": register_failed_seen,
    "wrong empty": register_wrong_empty,
}


def of_lists(put: str) -> Mapping[str, Way]:
    """The ways of types whose reads show everything."""
    return {
        "stale": list_stale(put),
        "torn": list_torn(put),
        "lost": list_lost(put),
        "duplicate": list_with(lambda seen: [*seen, seen[0]]),
        "phantom": list_with(lambda seen: [*seen, -1]),
        "future": list_future(put),
        "failed seen": list_failed_seen(put),
        "wrong empty": list_wrong_empty(put),
    }


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A data type: its simulated object, the model that judges it, the ways to break it, and what may end unknown."""

    thing: Callable[[], Thing]
    model: str
    ways: Mapping[str, Way]
    unknown: Callable[[str], bool] = lambda _: True


KINDS: Mapping[str, Kind] = {
    "register": Kind(thing=things.PlainRegister, model="register", ways=REGISTER),
    "cas-register": Kind(
        thing=things.Register, model="cas-register", ways={**REGISTER, "two winners": register_two_winners}
    ),
    "fifo-queue": Kind(thing=things.FifoQueue, model="fifo-queue", ways=QUEUE.ways(), unknown=lambda f: f == "enqueue"),
    "stack": Kind(thing=things.Stack, model="stack", ways=STACK.ways(), unknown=lambda f: f == "push"),
    "priority-queue": Kind(
        thing=things.PriorityQueue, model="priority-queue", ways=PRIORITY.ways(), unknown=lambda f: f == "insert"
    ),
    "set": Kind(
        thing=things.Set,
        model="set",
        ways={
            "stale": set_flipped(True),
            "lost": set_flipped(False),
            "future": set_future,
            "phantom": set_phantom,
            "failed seen": set_failed_seen,
        },
    ),
    "grow-only set": Kind(thing=things.GrowOnlySet, model="set", ways=of_lists("add")),
    "set-full": Kind(thing=things.GrowOnlySet, model="set-full", ways=of_lists("add")),
    "counter": Kind(
        thing=things.Counter,
        model="counter",
        ways={"stale": counter_low, "phantom": counter_high, "reordered": counter_back},
    ),
    "log": Kind(
        thing=things.Log,
        model="log",
        ways={**of_lists("append"), "reordered": log_reordered, "two winners": log_two_winners},
    ),
    "mutex": Kind(thing=things.Mutex, model="mutex", ways={"two winners": lock_two_winners}, unknown=lambda _: False),
    "fenced-lock": Kind(
        thing=things.FencedLock,
        model="fenced-lock",
        ways={"two winners": lock_two_winners, "reordered": token_reordered, "duplicate": token_duplicate},
        unknown=lambda _: False,
    ),
    "kv": Kind(
        thing=things.KeyValue,
        model="kv",
        ways={
            "stale": text_stale,
            "phantom": text_phantom,
            "duplicate": text_duplicate,
            "wrong empty": text_wrong_empty,
        },
    ),
    "list-append": Kind(
        thing=things.ListAppend,
        model="list-append",
        ways={
            "stale": append_stale,
            "phantom": append_phantom,
            "duplicate": append_duplicate,
            "reordered": append_reordered,
            "torn": append_torn,
            "future": append_future,
            "wrong empty": append_wrong_empty,
            "failed seen": txn_failed_seen("append"),
            "wrong key": txn_wrong_key,
        },
    ),
    "rw-register": Kind(
        thing=things.ReadWrite,
        model="rw-register",
        ways={
            "phantom": rw_phantom,
            "future": rw_future,
            "wrong empty": rw_wrong_empty,
            "two winners": rw_two_winners,
            "failed seen": txn_failed_seen("w"),
            "wrong key": txn_wrong_key,
        },
    ),
}
"""Every data type that is broken on purpose."""


def correct(kind: Kind, random_: random.Random, *, operations_: int, concurrency: int, info: float = 0.02) -> Ops:
    """A correct history of a data type."""
    made = simulate(
        kind.thing(), random_, operations=operations_, concurrency=concurrency, info=info, may_end_unknown=kind.unknown
    )
    return operations(made.events)
