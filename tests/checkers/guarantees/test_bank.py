"""Claims about the bank: what is refused, what is inferred, and what the public vectors expect."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from checkers.guarantees.bank import BANK
from checkers.history import History, HistoryError
from checkers.verdict import Validity
from tests.checkers.guarantees.objects import Bank
from tests.checkers.guarantees.spoiled import Event, correct, one_of, small
from tests.checkers.guarantees.told import op, story


def spoil(stream: random.Random, ok: list[Event]) -> None:
    """Changes a balance."""
    event = one_of(stream, ok, "read")
    if event is None:
        return
    balances = dict(event["value"])
    account = stream.choice(sorted(balances))
    change = stream.randrange(4)
    if change == 3:
        other = stream.choice(sorted(balances))
        balances[account] -= 12
        balances[other] += 12
    else:
        balances[account] += change
    event["value"] = balances


def compare(seeds: range) -> int:
    """With and without a set total: every read that differs from the total, or has a balance below zero, is counted."""
    refused = 0
    for seed in seeds:
        history = small(seed, Bank, spoil)
        reads = [dict(item.result) for item in history.operations if item.f == "read" and item.outcome == "ok"]
        totals = [sum(read.values()) for read in reads]
        below = sum(any(balance < 0 for balance in read.values()) for read in reads)
        result = BANK.check(history, {"total": 40})
        assert result.statistics["wrong_total"] == sum(total != 40 for total in totals), seed
        assert result.statistics["negative_balance"] == below, seed
        inferred = BANK.check(history)
        usual = max(Counter(totals).values(), default=0)
        assert inferred.statistics["wrong_total"] == len(totals) - usual, seed
        broken = bool(below or len(set(totals)) > 1)
        assert (inferred.validity is Validity.INVALID) == broken, seed
        refused += broken
    return refused


def test_it_agrees_with_its_definition() -> None:
    """On small random histories sums and signs are counted as a definition counts them."""
    assert 100 < compare(range(500)) < 450


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_agrees_with_its_definition_on_many() -> None:
    """The same on a hundred thousand."""
    refused = compare(range(10_000, 110_000))
    print(f"bank: 100000 histories, {refused} refused")
    assert refused > 10_000


def test_correct_banks_are_never_refused() -> None:
    """Whatever ended unknown, a bank that keeps its money is accepted, with and without settings."""
    accounts = {"total": 40, "accounts": ["a0", "a1", "a2", "a3"]}
    for seed in range(120):
        history = History.of(correct(seed, Bank(), info=0.2))
        for settings in ({}, accounts):
            assert BANK.check(history, settings).validity is not Validity.INVALID, seed


def read(time: int, balances: Any, *, process: int = 0) -> list[Event]:
    return op(process, "read", None, balances, time, time + 1)


BROKEN: dict[str, tuple[History, dict[str, Any], str]] = {
    "wrong total": (
        story(read(0, {"a": 5, "b": 5}), read(2, {"a": 5, "b": 5}), read(4, {"a": 5, "b": 4}, process=3)),
        {},
        "The read by process 3 at 0.004 s shows balances of 9 in all; the read by process 0 at 0.000 s shows 10 in "
        "all, and transfers don't change that.",
    ),
    "negative balance": (
        story(read(0, {"a": -1, "b": 11})),
        {},
        "The read by process 0 at 0.000 s shows balances in which a: -1 is below zero.",
    ),
    "unexpected account": (
        story(read(0, {"a": 5, "b": 5}), read(2, {"a": 5, "b": 5, "c": 0})),
        {},
        "The read by process 0 at 0.002 s shows balances with c; no such account is in most reads or in any transfer.",
    ),
    "missing account": (
        story(read(0, {"a": 5})),
        {"accounts": ["a", "b"], "total": 5},
        "The read by process 0 at 0.000 s shows balances without b.",
    ),
    "no balance": (
        story(read(0, {"a": 5, "b": None})),
        {},
        "The read by process 0 at 0.000 s shows balances in which b has no balance.",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_banks_are_refused_by_name(kind: str) -> None:
    """The smallest bank that breaks a rule is refused by it, in a sentence."""
    history, settings, sentence = BROKEN[kind]
    (finding,) = BANK.check(history, settings).findings
    assert (finding.kind, finding.message) == (kind, sentence)


def test_what_was_inferred_is_told() -> None:
    """The statistics say what the reads were held against, and where that came from."""
    (told,) = BANK.check(story(read(0, {"a": 5, "b": 5}))).statistics["held_against"]
    assert (told["total"], told["total_from"], told["accounts"]) == (10, "what most reads show", ["a", "b"])
    (told,) = BANK.check(story(read(0, {"a": 5})), {"total": 5, "accounts": ["a"]}).statistics["held_against"]
    assert told["total_from"] == told["accounts_from"] == "the setting"


def test_balances_below_zero_can_be_allowed() -> None:
    """As in Jepsen's option."""
    history = story(read(0, {"a": -1, "b": 11}))
    assert BANK.check(history, {"negative_balances": True}).validity is Validity.VALID


def test_nothing_read_is_unknown() -> None:
    """Transfers alone prove nothing."""
    transfer = {"from": "a", "to": "b", "amount": 1}
    assert BANK.check(story(op(0, "transfer", transfer, transfer, 0, 1))).validity is Validity.UNKNOWN


def test_values_of_another_form_are_errors() -> None:
    """A read that is no object and a transfer without accounts are named."""
    with pytest.raises(HistoryError, match="the result of a read is 5"):
        BANK.check(story(read(0, 5)))
    with pytest.raises(HistoryError, match="a transfer has the value 7"):
        BANK.check(story(op(0, "transfer", 7, 7, 0, 1)))
