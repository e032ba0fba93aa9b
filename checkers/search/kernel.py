"""The loops of the compiled search: arrays in, arrays out, no object of Python's, and no lock held while they run.

This is the search of :mod:`checkers.search.exploration`, move by move in the same order, written for numba. What it
knows lies in arrays that the caller owns (:mod:`checkers.search.compiled`), so it can stop at any step and go on from
there: when it meets a transition that nobody has computed yet (:data:`MISSING`), when its memory is full
(:data:`FULL`), and now and then to be asked about the time (:data:`PAUSED`).

Search states are rows of 64-bit words: one of return and model state, some of operations linearized ahead (a bit a
slot), some of counts of info operations (packed, with a spare bit a field). They are found again through an
open-addressing table of row numbers; states that differ only in the counts hang in a chain behind the first.

Compiled code is kept on disk beside this file, or where ``NUMBA_CACHE_DIR`` says, so that compiling (8 s of processor
time) is paid once a machine; later processes load it in 0.6 s, numba included. All of it stands in this one file,
though it is long: numba compiles again what changed in a file, but not what a changed file is called from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., Any])

FOUND, REFUSED, MISSING, FULL, PAUSED = 0, 1, 2, 3, 4
"""Why the kernel returned."""

UNKNOWN = -2
"""The entry of a transition that nobody computed yet (-1: illegal)."""

ONE, OBSERVATIONS, ACTIONS, INFOS = 0, 1, 2, 3
"""What is likely to be asked next after a missing transition: nothing more, or the same of all open observations, of
all open actions, of all info operations.
"""

DEPTH, COUNT, BEST, BEST_DEPTH, UNSAVED, COMMON, BACKTRACKED, FURTHEST = range(8)
NEED, NEED_STATE, NEED_KIND, NEED_NUMBER = range(8, 12)
REGISTERS = 12
"""Places in the array of what the kernel must know when it goes on."""

_njit: Any = numba.njit
"""Untyped: its stubs lack the options that leave wrappers out."""

_ROOT, _NO_MOVE = -1, -(2**31)
_LOW = 0xFFFFFFFF


class Operations(NamedTuple):
    """Completed operations by number. ``act`` and ``obs``: those open when one returns, itself first; ``twin``: the
    place of the one before in ``act`` that does the same, or -1; ``fresh``: observations not open at the return before.
    """

    kind: Ints
    slot: Ints
    act_start: Words
    act: Ints
    twin: Ints
    obs_start: Words
    obs: Ints
    fresh_start: Words
    fresh: Ints


class Supply(NamedTuple):
    """:class:`checkers.search.supply.Supply` as arrays; ``info`` holds kinds of info operations by value from
    ``start`` on. ``come`` and ``gone``: by value, how many operations on the path took the state there, and from there;
    ``later``: room to count in. All empty if the check does not apply.
    """

    observed: Ints
    made: Ints
    arrivals: Ints
    departures: Ints
    start: Words
    info: Ints
    come: Ints
    gone: Ints
    later: Ints


class Unknowns(NamedTuple):
    """Kinds of info operations: where their count lies in a search state, the first return that each may precede, and
    the last return at which their value matters.
    """

    kind: Ints
    word: Ints
    shift: Ints
    mask: Words
    many: Ints
    first: Words
    available: Ints
    last: Ints
    guard: Words


class Memory(NamedTuple):
    """Search states as ``rows`` of words, the next in the ``chain`` of each, and the table of first rows."""

    rows: Words
    chain: Ints
    heads: Ints


class Frames(NamedTuple):
    """The path from the root: the search state, the next move to try, the move that led here; and the best path."""

    row: Ints
    cursor: Ints
    move: Ints
    saved: Ints


def compiled(function: F) -> F:
    """Compiles a function that Python calls, to run without the interpreter's lock; kept on disk where that can be
    written.
    """
    try:
        made = _njit(nogil=True, cache=True, no_cfunc_wrapper=True)(function)
    except RuntimeError:  # no folder to keep it in: compile in every process
        made = _njit(nogil=True, no_cfunc_wrapper=True)(function)
    return cast(F, made)


def part(function: F) -> F:
    """Compiles a function that only compiled ones call: without a way in from Python, which halves the compiling."""
    return cast(F, _njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function))


@compiled
def fill_open(operations: Operations, by_call: Words, call: Words, return_: Words, observes: Any, kinds: int) -> None:
    """Writes the lists of open operations, whose lengths are known, by one sweep through the history."""
    open_ = np.empty(len(call), dtype=np.int32)
    last = np.full(kinds, -1, dtype=np.int64)
    held, began, fresh = 0, 0, 0
    for number in range(len(call)):
        if number > 0:  # the first one has returned
            held -= 1
            for place in range(held):
                open_[place] = open_[place + 1]
        while began < len(call) and call[by_call[began]] < return_[number]:
            place = held
            while place > 0 and open_[place - 1] > by_call[began]:
                open_[place] = open_[place - 1]
                place -= 1
            open_[place] = by_call[began]
            held += 1
            began += 1
        act, obs = operations.act_start[number], operations.obs_start[number]
        start = act
        for other in open_[:held]:
            if observes[other]:
                operations.obs[obs] = other
                obs += 1
                if number == 0 or call[other] > return_[number - 1]:
                    operations.fresh[fresh] = other
                    fresh += 1
            else:
                before = last[operations.kind[other]]
                operations.act[act] = other
                operations.twin[act] = before if before >= start else -1
                last[operations.kind[other]] = act
                act += 1


@part
def _transition(keys: Words, values: Ints, state: int, kind: int) -> int:
    """The state after a call, -1 if it is illegal, :data:`UNKNOWN` if nobody computed it yet."""
    key = np.int64(state) << 32 | kind
    mask = len(keys) - 1
    place = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)) & mask
    while keys[place] != key:
        if keys[place] == -1:
            return UNKNOWN
        place = (place + 1) & mask
    return int(values[place])


@compiled
def remember(keys: Words, values: Ints, new_keys: Words, new_values: Ints) -> int:
    """Puts transitions into the table (which has room); returns how many were not there before."""
    mask = len(keys) - 1
    added = 0
    for number in range(len(new_keys)):
        key = new_keys[number]
        if key == -1:
            continue
        place = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)) & mask
        while keys[place] != -1 and keys[place] != key:
            place = (place + 1) & mask
        added += keys[place] == -1
        keys[place] = key
        values[place] = new_values[number]
    return added


@part
def _home(words: Words, width: int, size: int) -> int:
    """Where in a table of that size a search state's place is looked for first: all but its counts."""
    hashed = np.uint64(0)
    for word in range(width):
        hashed = (hashed ^ np.uint64(words[word])) * np.uint64(0x9E3779B97F4A7C15)
        hashed ^= hashed >> np.uint64(29)
    return int(np.int64(hashed & np.uint64(size - 1)))


@part
def _same(memory: Memory, row: int, words: Words, width: int) -> bool:
    for word in range(width):  # noqa: SIM110 (numba knows no generators)
        if memory.rows[row, word] != words[word]:
            return False
    return True


@part
def _no_worse(memory: Memory, row: int, words: Words, width: int, guard: Words) -> bool:
    """Had the state in a row used no more info operations of any kind?"""
    for word in range(len(guard)):
        held = guard[word]
        if ((words[width + word] | held) - memory.rows[row, width + word]) & held != held:
            return False
    return True


@part
def _insert(memory: Memory, count: int, words: Words, width: int, guard: Words) -> bool:
    """Remembers a search state as row ``count``, unless one at least as good was seen."""
    size = len(memory.heads)
    place = _home(words, width, size)
    head = memory.heads[place]
    while head >= 0 and not _same(memory, head, words, width):
        place = (place + 1) & (size - 1)
        head = memory.heads[place]
    row = head
    while row >= 0:
        if _no_worse(memory, row, words, width, guard):
            return False
        row = memory.chain[row]
    for word in range(len(words)):
        memory.rows[count, word] = words[word]
    if head < 0:
        memory.heads[place] = count
        memory.chain[count] = -1
    else:
        memory.chain[count] = memory.chain[head]
        memory.chain[head] = count
    return True


@compiled
def rehash(rows: Words, heads: Ints, width: int, old: Ints) -> None:
    """Fills a larger table with the first rows of an old one."""
    size = len(heads)
    for at in range(len(old)):
        row = old[at]
        if row >= 0:
            place = _home(rows[row], width, size)
            while heads[place] >= 0:
                place = (place + 1) & (size - 1)
            heads[place] = row


@part
def _is_ahead(words: Words, slot: int) -> bool:
    return bool(words[1 + (slot >> 6)] >> (slot & 63) & 1)


@part
def _toggle(words: Words, slot: int) -> None:
    words[1 + (slot >> 6)] ^= np.int64(1) << (slot & 63)


@part
def _observe(
    operations: Operations,
    keys: Words,
    values: Ints,
    words: Words,
    state: int,
    observations: Ints,
    order: Ints,
    length: int,
) -> tuple[int, int]:
    """Takes those of some open observations that are legal in the state, and writes them down if there is room.

    Returns the kind of a missing transition, or -1, and the length of the order.
    """
    for other in observations:
        slot = operations.slot[other]
        if not _is_ahead(words, slot):
            after = _transition(keys, values, state, operations.kind[other])
            if after == UNKNOWN:
                return operations.kind[other], length
            if after == state:
                _toggle(words, slot)
                if length < len(order):
                    order[length] = other
                    length += 1
    return -1, length


@part
def _settle(
    operations: Operations,
    keys: Words,
    values: Ints,
    words: Words,
    number: int,
    state: int,
    order: Ints,
    length: int,
) -> tuple[int, int, int]:
    """Linearizes open observations that are legal and passes over returns that are satisfied.

    Returns the next return, the kind of a missing transition or -1, and the length of the order.
    """
    total = len(operations.kind)
    if number == total:
        return number, -1, length
    open_ = operations.obs[operations.obs_start[number] : operations.obs_start[number + 1]]
    missing, length = _observe(operations, keys, values, words, state, open_, order, length)
    while missing < 0 and _is_ahead(words, operations.slot[number]):
        _toggle(words, operations.slot[number])
        number += 1
        if number == total:
            break
        open_ = operations.fresh[operations.fresh_start[number] : operations.fresh_start[number + 1]]
        missing, length = _observe(operations, keys, values, words, state, open_, order, length)
    return number, missing, length


@part
def _move_values(supply: Supply, move: int, by: int) -> None:
    """Counts where an operation on the path took the state, and from where."""
    if move >= 0 and supply.made[move] >= 0:
        supply.come[supply.made[move]] += by
        if supply.observed[move] >= 0:
            supply.gone[supply.observed[move]] += by


@part
def _hidden(unknowns: Unknowns, supply: Supply, words: Words, width: int, value: int, number: int) -> int:
    """Info operations left that take the state to a value and were invoked before a return."""
    total = 0
    for place in range(supply.start[value], supply.start[value + 1]):
        info = supply.info[place]
        used = words[width + unknowns.word[info]] >> unknowns.shift[info] & unknowns.mask[info]
        first, last = unknowns.first[info], unknowns.first[info + 1]
        total += max(0, np.searchsorted(unknowns.available[first:last], number, side="right") - used)
    return total


@part
def _short(
    operations: Operations, unknowns: Unknowns, supply: Supply, words: Words, width: int, number: int, here: int
) -> int:
    """The open operation that returns first among those whose demand exceeds the supply, or -1."""
    found = -1
    act, obs = operations.act_start[number + 1] - 1, operations.obs_start[number + 1] - 1
    act_first, obs_first = operations.act_start[number], operations.obs_start[number]
    while act >= act_first or obs >= obs_first:  # from the last to return to the first
        if obs < obs_first or (act >= act_first and operations.act[act] > operations.obs[obs]):
            other = operations.act[act]
            act -= 1
        else:
            other = operations.obs[obs]
            obs -= 1
        value = supply.observed[other]
        if value < 0:
            continue
        if _is_ahead(words, operations.slot[other]):
            supply.later[value] += supply.made[other] >= 0
            continue
        demand = max(1, supply.departures[other] - supply.gone[value] + supply.later[value])
        offer = (here == value) + supply.arrivals[other] - supply.come[value]
        if demand > offer and demand > offer + _hidden(unknowns, supply, words, width, value, other):
            found = other
    for place in range(act_first, operations.act_start[number + 1]):
        value = supply.observed[operations.act[place]]
        if value >= 0:
            supply.later[value] = 0
    return found


@part
def _left(unknowns: Unknowns, info: int, words: Words, width: int, number: int) -> bool:
    """Is an info operation of this kind left that began before the return?"""
    used = words[width + unknowns.word[info]] >> unknowns.shift[info] & unknowns.mask[info]
    return bool(used < unknowns.many[info] and unknowns.available[unknowns.first[info] + used] <= number)


@part
def _is_merged(operations: Operations, words: Words, place: int) -> bool:
    """Does an open operation that returns earlier do the same, and is not yet linearized?"""
    place = operations.twin[place]
    while place >= 0:
        if not _is_ahead(words, operations.slot[operations.act[place]]):
            return True
        place = operations.twin[place]
    return False


@part
def _next_move(
    operations: Operations,
    unknowns: Unknowns,
    keys: Words,
    values: Ints,
    words: Words,
    width: int,
    cursor: int,
    prune: bool,
) -> tuple[int, int, int, int, int]:
    """The next way on from a search state: (cursor, move, state after it, state and kind of a missing transition).

    Moves are numbers of operations, or -2 - a kind of info operation. The cursor counts: operation ``number`` itself;
    the open actions once (those after which it is legal) and again (the others); the info operations likewise.
    """
    number, state = words[0] >> 32, words[0] & _LOW
    wanted = operations.kind[number]
    if cursor == 0:
        after = _transition(keys, values, state, wanted)
        if after == UNKNOWN:
            return 0, _NO_MOVE, ONE, state, wanted
        if after >= 0:
            return 1, number, after, -1, -1
        cursor = 1
    start = operations.act_start[number]
    count = operations.act_start[number + 1] - start
    while cursor <= 2 * count:
        second = cursor > count
        place = start + cursor - 1 - (count if second else 0)
        other = operations.act[place]
        if other != number and not _is_ahead(words, operations.slot[other]):
            what = operations.kind[other]
            if not _is_merged(operations, words, place):
                after = _transition(keys, values, state, what)
                if after == UNKNOWN:
                    return cursor, _NO_MOVE, ACTIONS, state, what
                if after >= 0:
                    then = _transition(keys, values, after, wanted)
                    if then == UNKNOWN:
                        return cursor, _NO_MOVE, ONE, after, wanted
                    if (then < 0) == second:
                        return cursor + 1, other, after, -1, -1
        cursor += 1
    base, count = 2 * count + 1, len(unknowns.kind)
    while cursor < base + 2 * count:
        second = cursor >= base + count
        info = cursor - base - (count if second else 0)
        if _left(unknowns, info, words, width, number) and not (prune and unknowns.last[info] < number):
            what = unknowns.kind[info]
            after = _transition(keys, values, state, what)
            if after == UNKNOWN:
                return cursor, _NO_MOVE, INFOS, state, what
            if after >= 0 and after != state:
                then = _transition(keys, values, after, wanted)
                if then == UNKNOWN:
                    return cursor, _NO_MOVE, ONE, after, wanted
                if (then < 0) == second:
                    return cursor + 1, -2 - info, after, -1, -1
        cursor += 1
    return cursor, _NO_MOVE, ONE, -1, -1


@part
def _take(operations: Operations, unknowns: Unknowns, words: Words, width: int, move: int) -> None:
    """Marks what was linearized."""
    if move >= 0:
        _toggle(words, operations.slot[move])
    elif move <= -2:
        info = -2 - move
        words[width + unknowns.word[info]] += np.int64(1) << unknowns.shift[info]


@part
def _save(frames: Frames, now: Words) -> None:
    """Copies the moves of the best path that are not yet saved."""
    for depth in range(now[COMMON], now[BEST_DEPTH]):
        frames.saved[depth] = frames.move[depth]
    now[COMMON] = now[BEST_DEPTH]
    now[UNSAVED] = 0


@compiled
def explore(
    operations: Operations,
    unknowns: Unknowns,
    supply: Supply,
    state_values: Ints,
    keys: Words,
    values: Ints,
    memory: Memory,
    frames: Frames,
    now: Words,
    room: int,
    steps: int,
    prune: bool,
) -> int:
    """Searches on from where ``now`` says until one of :data:`FOUND`, :data:`REFUSED`, :data:`MISSING`,
    :data:`FULL` (``room`` search states are known), :data:`PAUSED` (after so many ``steps``).
    """
    total = len(operations.kind)
    width = memory.rows.shape[1] - len(unknowns.guard)
    words = np.zeros(memory.rows.shape[1], dtype=np.int64)
    nowhere = np.zeros(0, dtype=np.int32)
    for _step in range(steps):
        if now[COUNT] >= room:
            return FULL
        depth = now[DEPTH]
        if depth == 0 and now[COUNT] > 0:
            if now[UNSAVED]:
                _save(frames, now)
            return REFUSED
        if depth == 0:
            words[:] = 0
            cursor, move, state = 0, _ROOT, 0
        else:
            words[:] = memory.rows[frames.row[depth - 1]]
            cursor, move, state, from_, kind = _next_move(
                operations, unknowns, keys, values, words, width, frames.cursor[depth - 1], prune
            )
            if move == _NO_MOVE and kind >= 0:
                frames.cursor[depth - 1] = cursor
                now[NEED], now[NEED_STATE], now[NEED_KIND], now[NEED_NUMBER] = state, from_, kind, words[0] >> 32
                return MISSING
            if move == _NO_MOVE:
                if now[UNSAVED]:
                    _save(frames, now)
                if len(supply.made):
                    _move_values(supply, frames.move[depth - 1], -1)
                now[BACKTRACKED] = 1
                now[DEPTH] = depth - 1
                now[COMMON] = min(now[COMMON], depth - 1)
                continue
        number = words[0] >> 32
        _take(operations, unknowns, words, width, move)
        number, missing, _ = _settle(operations, keys, values, words, number, state, nowhere, 0)
        if missing >= 0:
            now[NEED], now[NEED_STATE], now[NEED_KIND], now[NEED_NUMBER] = OBSERVATIONS, state, missing, number
            return MISSING
        words[0] = number << 32 | state
        if depth > 0:
            frames.cursor[depth - 1] = cursor
        if not _insert(memory, now[COUNT], words, width, unknowns.guard):
            continue
        frames.row[depth], frames.cursor[depth], frames.move[depth] = now[COUNT], 0, move
        now[COUNT] += 1
        if number > now[BEST]:
            now[BEST], now[BEST_DEPTH], now[UNSAVED] = number, depth + 1, 1
            if number == total:
                _save(frames, now)
                return FOUND
        if len(supply.made):
            _move_values(supply, move, 1)
            if now[BACKTRACKED] and prune:
                short = _short(operations, unknowns, supply, words, width, number, state_values[state])
                if short >= 0:
                    now[FURTHEST] = max(now[FURTHEST], short)
                    _move_values(supply, move, -1)
                    if now[UNSAVED]:
                        _save(frames, now)
                    now[COMMON] = min(now[COMMON], depth)
                    continue
        now[DEPTH] = depth + 1
    return PAUSED


@compiled
def replay(
    operations: Operations,
    unknowns: Unknowns,
    keys: Words,
    values: Ints,
    moves: Ints,
    width: int,
    order: Ints,
) -> int:
    """Writes the order that a path of moves stands for: numbers of operations, or -2 - a kind of info operation.

    Returns its length.
    """
    words = np.zeros(width + len(unknowns.guard), dtype=np.int64)
    number, state, length = 0, 0, 0
    for move in moves:
        if move != _ROOT:
            kind = operations.kind[move] if move >= 0 else unknowns.kind[-2 - move]
            state = _transition(keys, values, state, kind)
            _take(operations, unknowns, words, width, move)
            order[length] = move
            length += 1
        number, _, length = _settle(operations, keys, values, words, number, state, order, length)
    return length
