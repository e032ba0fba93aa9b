"""Operations and values in sentences: every data type reads well, and what is long is cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from checkers.operation import Operation, Outcome
from checkers.wording import VALUE_CHARACTERS_MAX, Wording, deed, show


def operation(f: str, value: Any = None, result: Any = None, *, ended: bool = True) -> Operation:
    return Operation(
        index=0,
        process=3,
        f=f,
        key=None,
        value=value,
        result=result,
        outcome=Outcome.OK if ended else Outcome.INFO,
        call_index=0,
        return_index=1 if ended else None,
        call_ns=0,
        return_ns=1 if ended else None,
    )


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (operation("read", None, 7), "the read of 7"),
        (operation("read", None, None), "the read of null"),
        (operation("read", ended=False), "a read"),
        (operation("write", 7, 7), "the write of 7"),
        (operation("write", 7, (3, 7)), "the write of 7 as version 3"),
        (operation("cas", (1, 2), (1, 2)), "the compare-and-set 1 → 2"),
        (operation("dequeue", None, None), "the dequeue that found nothing"),
        (operation("pop", None, 4), "the pop of 4"),
        (operation("poll", ended=False), "a poll"),
        (operation("enqueue", "a", "a"), 'the enqueue of "a"'),
        (operation("contains", 4, False), "the contains of 4 that returned false"),
        (operation("contains", True, True), "the contains of true that returned true"),
        (operation("acquire", None, None), "the acquire"),
        (operation("acquire", None, 12), "the acquire that got token 12"),
        (operation("release", None, None), "the release"),
        (operation("append", "x", 4), 'the append of "x" at offset 4'),
        (operation("append", "x", "x"), 'the append of "x"'),
        (operation("increment", 2, 9), "the increment of 2 that returned 9"),
        (operation("delete", None, None), "the delete"),
        (
            operation("txn", (("append", "x", 1), ("r", "y", None)), (("append", "x", 1), ("r", "y", (2, 3)))),
            "the transaction (append 1 to x; read [2,3] from y)",
        ),
        (operation("txn", (("w", 1, 2),), ended=False), "the transaction (write 2 to 1)"),
        (operation("txn", tuple(("w", "x", n) for n in range(9)), ended=False), "and 3 more)"),
        (operation("txn", "broken", ended=False), 'the transaction ("broken")'),
    ],
)
def test_deeds(item: Operation, words: str) -> None:
    """What was done, with its value and what came back."""
    assert deed(item) == words or (words.startswith("and") and deed(item).endswith(words))


def test_long_values_show_their_beginning_and_end() -> None:
    """Texts and lists; the ends are where they differ."""
    text = show("a" * 500 + "END")
    assert len(text) <= VALUE_CHARACTERS_MAX + 3
    assert text.endswith('END"')
    assert show(list(range(100))) == "[0,1,2, ... 94 more ..., 97,98,99]"
    assert len(show(["x" * 1_000] * 50)) <= 2 * VALUE_CHARACTERS_MAX
    assert show([1, 2, 3]) == "[1,2,3]"


def at(call_ns: int, return_ns: int, call_index: int = 4) -> Operation:
    return replace(operation("read", None, 7), call_ns=call_ns, return_ns=return_ns, call_index=call_index)


def test_times_are_told_so_that_a_person_can_tell_them_apart() -> None:
    """Seconds with the decimals it takes, nanoseconds below a millisecond, numbers of events that have no times."""
    spread, close = [at(0, 2_500_000_000)], [at(2_500_000_000, 2_500_010_000)]
    assert Wording(spread).ended(spread[0]) == "2.500 s"
    assert Wording(close).ended(close[0]) == "2.50001 s"
    short = [at(1_100, 90_000)]
    assert (Wording(short).began(short[0]), Wording(short).ended(short[0])) == ("1,100 ns", "90,000 ns")
    untimed = [replace(at(11, 12, call_index=11), return_index=12)]
    assert (Wording(untimed).began(untimed[0]), Wording(untimed).ended(untimed[0])) == ("event 11", "event 12")
