"""The fast reader of large files and the builder that reads event by event give one history, or refuse alike."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History, HistoryBuilder, HistoryError
from checkers.blocks import Blocks, IrregularError
from checkers.formats import jsonl
from checkers.history import ABSENT
from checkers.values import ValueTable, identity

EQUAL = ("process", "outcome", "call", "return_", "call_ns", "return_ns", "final")
CODED = {"value": "values", "expected": "values", "result": "values", "key": "keys"}
NAMED = {"f": "functions", "node": "nodes", "error": "errors"}

VALUES = (None, 0, 1, True, 1.0, "1", "", "é", 2**70, -1, [], [1, [2]], [1, True], {"a": 1}, {"b": {"c": []}}, False)
KEYS = (None, "k", 1, True, [1], {"a": None}, "other")
ERRORS = ("timeout", ["a", 1], {"why": None}, 7)


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """So small that histories of a few lines are many blocks, and lines are cut between reads."""
    before, jsonl.BLOCK_BYTES = jsonl.BLOCK_BYTES, 150
    yield
    jsonl.BLOCK_BYTES = before


def slowly(path: Path) -> History:
    builder = HistoryBuilder(source=str(path))
    builder.read(jsonl.events(str(path), builder.notes))
    return builder.history()


def is_regular(path: Path) -> bool:
    """Does the fast reader do it alone?"""
    blocks = Blocks()
    try:
        for events in jsonl.blocks(str(path), []):
            blocks.add(events)
        blocks.operations()
    except IrregularError:
        return False
    return True


def decoded(table: ValueTable, codes: list[int]) -> list[Any]:
    return [ABSENT if code == ABSENT else identity(table.values[code]) for code in codes]


def assert_same(fast: History, slow: History) -> None:
    for name in EQUAL:
        assert getattr(fast, name).tolist() == getattr(slow, name).tolist(), name
    for name, table in CODED.items():
        ours, theirs = (decoded(getattr(each, table), getattr(each, name).tolist()) for each in (fast, slow))
        assert ours == theirs, name
    for name, table in NAMED.items():
        ours, theirs = ([*getattr(each, table), None] for each in (fast, slow))
        codes = zip(getattr(fast, name).tolist(), getattr(slow, name).tolist(), strict=True)
        assert all(ours[mine] == theirs[yours] for mine, yours in codes), name
        assert set(ours) == set(theirs), table
    for table in ("values", "keys"):
        assert getattr(fast, table).codes.keys() == getattr(slow, table).codes.keys(), table
    assert all(getattr(fast, name).dtype == getattr(slow, name).dtype for name in (*EQUAL, *CODED, *NAMED))
    assert (fast.nemesis, fast.notes, fast.events) == (slow.nemesis, slow.notes, slow.events)
    assert list(fast.operations) == list(slow.operations)


def random_events(random_: random.Random) -> list[dict[str, Any]]:
    """A proper history of everything that there can be: faults, info, ties, keys, nodes, errors, final reads, pairs,
    processes that are used again, completions that do not repeat their key.
    """
    time, open_, events = random_.choice((0, -5)), {}, []
    for _ in range(random_.randint(0, 30)):
        time += random_.choice((0, 0, 1, 3))
        process = random_.choice((0, 1, 2, 70_000))
        if random_.random() < 0.1:
            fault = {"process": "nemesis", "type": "info", "f": "inject", "value": random_.choice(VALUES)}
            events.append({"time": time, **fault})
            continue
        if process not in open_:
            f = random_.choice(("read", "write", "cas", "txn"))
            pair = [random_.choice(VALUES), random_.choice(VALUES)]
            call = {"f": f, "value": pair if f == "cas" else random_.choice(VALUES), "key": random_.choice(KEYS)}
            open_[process] = call
            event = {**call, "type": "invoke"}
        else:
            call = open_.pop(process)
            event = {
                **call,
                "type": random_.choice(("ok", "ok", "ok", "fail", "info")),
                "value": random_.choice(VALUES),
            }
            if random_.random() < 0.3:
                event["key"] = None
        extras = {"error": ERRORS, "node": ("n1", "n2"), "final": (True, False), "attempts": (1, 2), "index": (7,)}
        event |= {name: random_.choice(said) for name, said in extras.items() if random_.random() < 0.15}
        events.append({"time": time, "process": process, **event})
    return events


def lines(events: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)


@settings(max_examples=120)
@given(seed=st.integers(0, 2**32), end=st.sampled_from(["\n", "\r\n", "torn", "whole"]))
def test_both_readers_give_one_history(seed: int, end: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Columns are equal, tables up to their numbering; and the fast reader needs no help for a proper history."""
    text = lines(random_events(random.Random(seed)))
    text += '{"time":1,"proc' if end == "torn" else ""
    text = text.rstrip("\n") if end == "whole" else text
    path = tmp_path_factory.mktemp("blocks") / "history.jsonl"
    path.write_bytes(text.replace("\n", "\r\n" if end == "\r\n" else "\n").encode())
    assert is_regular(path)
    assert_same(History.read(path, format="jsonl"), slowly(path))


def spoil(random_: random.Random, text: str) -> str:
    """One to three changes of lines or bytes that mostly make it no history."""
    for _ in range(random_.randint(1, 3)):
        rows = text.splitlines(keepends=True) or ["{}\n"]
        at = random_.randrange(len(rows))
        change = random_.randrange(9)
        if change == 0:
            del rows[at]
        elif change == 1:
            rows.insert(random_.randrange(len(rows) + 1), rows[at])
        elif change == 2:
            random_.shuffle(rows)
        elif change == 3:
            rows[at] = rows[at].rstrip("\n")  # two events on a line
        elif change == 4:
            rows.insert(at, random_.choice((" \n", "\n", "[]\n", "null\n", "{}\n", "\t", "\r")))
        elif change == 5:
            rows[at] = rows[at].replace(",", random_.choice((",\n", "\n,", ", ")), 1)
        elif change == 6:
            said = random_.choice(('"time": 1.5', '"time": "1"', '"time": true', f'"time": {2**65}', '"time": null'))
            rows[at] = rows[at].replace('"time"', f'{said}, "was"', 1)
        elif change == 7:
            said = random_.choice(('"x"', "1.0", "true", "-1", "null", str(2**64), "[0]", '"0"'))
            rows[at] = rows[at].replace('"process": ', f'"process": {said}, "was": ', 1)
        else:
            cut = random_.randrange(len(rows[at]))
            rows[at] = rows[at][:cut] + random_.choice('{}[]",:0\n\x00\\é') + rows[at][cut + 1 :]
        text = "".join(rows)
    return text


def outcome(read: Any, path: Path) -> History | str:
    try:
        history: History = read(path)
    except HistoryError as error:
        return str(error)
    return history


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32))
def test_both_readers_refuse_alike(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is no history is none for either, with the same words; what still is one is the same."""
    random_ = random.Random(seed)
    path = tmp_path_factory.mktemp("blocks") / "history.jsonl"
    path.write_bytes(spoil(random_, lines(random_events(random_))).encode())
    fast = outcome(lambda at: History.read(at, format="jsonl"), path)
    slow = outcome(slowly, path)
    if isinstance(fast, History) and isinstance(slow, History):
        assert_same(fast, slow)
    else:
        assert fast == slow
