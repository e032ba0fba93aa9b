"""Locks, versioned registers and lists: what each allows, said by hand; and what they refuse to be told."""

from __future__ import annotations

from typing import Any

import pytest

from checkers import History, HistoryError, linearizability
from checkers.models import MODELS


def history(*rows: tuple[Any, ...]) -> History:
    """Rows (process, f, argument, result, call, return); a return of None is ``info``."""
    events: list[dict[str, Any]] = []
    for process, f, value, result, call, return_ in rows:
        base = {"process": process, "f": f}
        events.append({**base, "time": call, "type": "invoke", "value": value})
        if return_ is not None:
            events.append({**base, "time": return_, "type": "ok", "value": result})
    return History.of(sorted(events, key=lambda event: int(event["time"])))


def sequential(*rows: tuple[Any, ...]) -> History:
    """Rows (process, f, argument, result), one after another."""
    return history(*[(*row, 2 * place, 2 * place + 1) for place, row in enumerate(rows)])


def valid(made: History, model: str, initial: Any = None, null_read: str = "value") -> bool:
    result = linearizability.check(made, model=model, initial=initial, null_read=null_read, search_only=True)
    assert result.validity in ("valid", "invalid")
    return result.validity == "valid"


def acquire(process: int, token: int | None = None) -> tuple[Any, ...]:
    return process, "acquire", None, token


def release(process: int) -> tuple[Any, ...]:
    return process, "release", None, None


def test_only_the_holder_releases() -> None:
    """The owned mutex asks who releases; the plain one does not."""
    made = sequential(acquire(1), release(2))
    assert valid(made, "mutex")
    assert not valid(made, "owned-mutex")
    assert valid(sequential(acquire(1), release(1), acquire(2)), "owned-mutex")
    assert valid(sequential(release(5)), "owned-mutex", initial=5)


def test_who_crashed_while_acquiring_may_hold_it_for_ever() -> None:
    """An acquire that nobody saw end explains why nobody gets the lock, but not why two do."""
    assert valid(history((1, "acquire", None, None, 0, None), (2, "acquire", None, None, 2, 3)), "owned-mutex")
    both = [(2, "acquire", None, None, 2, 3), (3, "acquire", None, None, 4, 5)]
    assert not valid(history((1, "acquire", None, None, 0, None), *both), "owned-mutex")


def test_a_reentrant_mutex_is_released_as_often() -> None:
    """Two acquires need two releases before another process gets it; a bound refuses a third."""
    assert not valid(sequential(acquire(1), acquire(1), release(1), acquire(2)), "reentrant-mutex")
    assert valid(sequential(acquire(1), acquire(1), release(1), release(1), acquire(2)), "reentrant-mutex")
    thrice = sequential(acquire(1), acquire(1), acquire(1))
    assert valid(thrice, "reentrant-mutex")
    assert not valid(thrice, "reentrant-mutex", initial={"bound": 2})
    assert valid(sequential(release(4)), "reentrant-mutex", initial={"holder": 4})


def test_fencing_tokens_grow() -> None:
    """Each is greater than all before, told or not."""
    assert valid(sequential(acquire(1, 3), release(1), acquire(2, 7)), "fenced-lock")
    assert not valid(sequential(acquire(1, 3), release(1), acquire(2, 3)), "fenced-lock")
    assert not valid(sequential(acquire(1, 3)), "fenced-lock", initial=5)
    assert not valid(sequential(acquire(1, 3), release(2)), "fenced-lock")


@pytest.mark.parametrize(("last", "fits"), [(8, True), (7, False)])
def test_tokens_that_nobody_saw_take_their_place(last: int, fits: bool) -> None:
    """Two unseen ones between 5 and 8 are 6 and 7; between 5 and 7 there is room for one only."""
    unseen = [acquire(1), release(1), acquire(2), release(2)]
    assert valid(sequential(acquire(3, 5), release(3), *unseen, acquire(4, last)), "fenced-lock") == fits


def test_a_lock_without_tokens_so_far_may_begin_anywhere() -> None:
    """Unseen tokens before the first that was told say nothing, negative ones included."""
    assert valid(sequential(acquire(1), release(1), acquire(2, -4), release(2), acquire(1, -3)), "fenced-lock")


def test_versions_grow_by_one_with_every_write() -> None:
    """Reads tell both, writes may; a version that was passed over is a write that nobody sees."""
    assert valid(sequential((1, "write", "a", [1, "a"]), (1, "read", None, [1, "a"])), "versioned-register")
    assert not valid(sequential((1, "write", "a", "a"), (1, "read", None, [2, "a"])), "versioned-register")
    assert not valid(sequential((1, "write", "a", [2, "a"])), "versioned-register")
    unseen = (2, "write", "b", None, 0, None)
    assert valid(history(unseen, (1, "write", "a", [2, "a"], 1, 2)), "versioned-register")


def test_compare_and_set_by_version() -> None:
    """By value, or by version and value."""
    write, again = (1, "write", "a", "a"), (1, "write", "b", "b")
    back = (1, "write", "a", "a")
    by_value = (1, "cas", ["a", "c"], None)
    assert valid(sequential(write, again, back, by_value, (1, "read", None, [4, "c"])), "versioned-register")
    assert valid(sequential(write, again, back, (1, "cas", [[3, "a"], "c"], None)), "versioned-register")
    assert not valid(sequential(write, again, back, (1, "cas", [[1, "a"], "c"], None)), "versioned-register")


def test_null_of_a_versioned_register() -> None:
    """As a value, null is what nobody wrote; as unknown it says nothing, but a version beside it does."""
    written = (1, "write", "a", "a")
    for result in (None, [0, None]):
        assert valid(sequential((1, "read", None, result)), "versioned-register")
        assert not valid(sequential(written, (1, "read", None, result)), "versioned-register")
    assert valid(sequential(written, (1, "read", None, None)), "versioned-register", null_read="unknown")
    assert valid(sequential(written, (1, "read", None, [1, None])), "versioned-register", null_read="unknown")
    assert not valid(sequential(written, (1, "read", None, [2, None])), "versioned-register", null_read="unknown")
    assert valid(sequential(written, (1, "read", None, [None, "a"])), "versioned-register")
    assert valid(sequential((1, "read", None, [7, "z"])), "versioned-register", initial=(7, "z"))


def txn(*steps: list[Any]) -> tuple[Any, ...]:
    asked = [[kind, name, None if kind == "r" else value] for kind, name, value in steps]
    return 1, "txn", asked, list(steps)


def test_transactions_see_lists_whole() -> None:
    """Their own appends included, in the order of the appends; null is the empty list."""
    first = txn(["append", "x", 1], ["r", "x", [1]], ["r", "y", None])
    assert valid(sequential(first, txn(["append", "y", 2]), txn(["r", "x", [1]], ["r", "y", [2]])), "list-append")
    assert not valid(sequential(first, txn(["r", "x", []])), "list-append")
    assert not valid(sequential(first, txn(["r", "x", None])), "list-append")
    assert valid(sequential(first, txn(["r", "x", None])), "list-append", null_read="unknown")
    assert valid(sequential(txn(["r", "x", [4, 5]])), "list-append", initial={"x": [4, 5]})
    skew = [txn(["r", "x", []], ["append", "y", 1]), txn(["r", "y", []], ["append", "x", 1])]
    assert not valid(sequential(*skew), "list-append")


@pytest.mark.parametrize(
    ("model", "initial", "words"),
    [
        ("owned-mutex", "broken", "use 'unlocked' or the number of a process"),
        ("reentrant-mutex", "locked", "use 'unlocked' or an object like"),
        ("reentrant-mutex", {"bound": -1}, "depth and bound are counts"),
        ("reentrant-mutex", {"depth": 2}, "depth and bound are counts"),
        ("fenced-lock", "5", "use null, or the last token"),
    ],
)
def test_initial_values_that_are_none(model: str, initial: Any, words: str) -> None:
    """Refused with what to write."""
    with pytest.raises(ValueError, match=words):
        MODELS[model](null_read="value").start(initial)


@pytest.mark.parametrize(
    ("model", "row", "words"),
    [
        ("fenced-lock", acquire(1, "a"), "the fencing token of a lock is an integer"),  # type: ignore[arg-type]
        ("fenced-lock", acquire(1, True), "the fencing token of a lock is an integer"),
        ("versioned-register", (1, "read", None, "a"), r"returns \[version, value\]"),
        ("versioned-register", (1, "write", "a", [1, "b"]), "completed as one of 'b'"),
        ("list-append", (1, "txn", [["w", "x", 1]], [["w", "x", 1]]), "write it as"),
        ("list-append", (1, "txn", [["r", "x", None]], [["r", "y", []]]), "completed as another one"),
        ("list-append", (1, "txn", [["r", "x", None]], [["r", "x", 3]]), "write it as"),
    ],
)
def test_histories_that_are_none(model: str, row: tuple[Any, ...], words: str) -> None:
    """Refused with the value."""
    with pytest.raises(HistoryError, match=words):
        valid(sequential(row), model)
