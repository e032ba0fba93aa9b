"""Operations and values in sentences: every data type reads well, and what is long is cut."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.operation import Operation, Outcome
from checkers.wording import VALUE_CHARACTERS_MAX, deed, show


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
