"""Every anomaly by its smallest history: found under its name, refused by the models that forbid it and no others."""

from __future__ import annotations

from typing import Any

import pytest

from checkers import History, Validity, check
from checkers.transactions import consistency
from checkers.transactions.anomalies import IMPLIES, SEVERITY, implied
from checkers.transactions.consistency import ALIASES, CONSISTENCY_MODELS
from tests.checkers.transactions.stories import told

LISTS: dict[str, History] = {
    "internal": told("ax1 rx2", "ax2"),
    "unwritten-read": told("ax1", "rx19"),
    "duplicate-elements": told("ax1", "rx11"),
    "incompatible-order": told("ax1", "ax2", "rx1", "rx2"),
    "G1a": told("ax1", "rx1", outcomes="fo"),
    "dirty-update": told("ax1", "ax2", "rx12", outcomes="foo"),
    "G1b": told("ax1 ax2", "rx1"),
    "future-read": told("rx1 ax1"),
    "lost-update": told("rx ax1", "rx ax2"),
    "G0": told("ax1 ay1", "ax2 ay2", "rx12 ry21"),
    "G1c": told("ax1 ry1", "ay1 rx1"),
    "G-single-item": told("ax1 ay1", "rx1 ry"),
    "G-nonadjacent-item": told("ax1", "rx1 ry", "ay1", "ry1 rx"),
    "G2-item": told("rx ay1", "ry ax1"),
    "G0-process": told("ax1", "ax2", "rx21", together=False),
    "G1c-process": told("rx1", "ax1", together=False),
    "G-single-item-process": told("ax1", "rx", together=False),
}


@pytest.mark.parametrize("name", LISTS)
def test_is_found_under_its_name(name: str) -> None:
    """The anomaly is among those found, and strict serializability is refused with a finding of that kind."""
    result = check(LISTS[name], model="list-append")
    assert name in result.statistics["anomalies"]
    assert name in {finding.kind for finding in result.findings}
    assert result.validity is Validity.INVALID


@pytest.mark.parametrize("model", CONSISTENCY_MODELS)
@pytest.mark.parametrize("name", LISTS)
def test_models_refuse_what_they_forbid(name: str, model: str) -> None:
    """A model refuses a history if and only if it forbids something that was found in it."""
    result = check(LISTS[name], model="list-append", consistency_model=model)
    forbidden = set(result.statistics["anomalies"]) & consistency.forbidden(model)
    assert (result.validity is Validity.INVALID) == bool(forbidden)
    assert {finding.kind for finding in result.findings} == forbidden
    assert all(finding.message and finding.operations for finding in result.findings)


@pytest.mark.parametrize(
    ("name", "holds", "fails"),
    [
        ("G0", [], "read-uncommitted"),
        ("G1c", ["read-uncommitted"], "read-committed"),
        ("G-single-item", ["cursor-stability"], "snapshot-isolation"),
        ("G-nonadjacent-item", ["consistent-view"], "snapshot-isolation"),
        ("G2-item", ["snapshot-isolation"], "repeatable-read"),
        ("lost-update", ["read-committed"], "snapshot-isolation"),
        (
            "G-single-item-process",
            ["serializable", "strong-session-read-committed"],
            "strong-session-snapshot-isolation",
        ),
    ],
)
def test_where_it_stands(name: str, holds: list[str], fails: str) -> None:
    """The known places of the anomalies among the models (Adya; Bailis; Cerone)."""
    verdict = {m: check(LISTS[name], model="list-append", consistency_model=m).validity for m in (*holds, fails)}
    assert verdict == {**dict.fromkeys(holds, Validity.VALID), fails: Validity.INVALID}


REGISTERS: list[tuple[str, History, dict[str, Any]]] = [
    ("internal", told("wx1 rx=2", "wx2"), {}),
    ("unwritten-read", told("rx=7"), {}),
    ("G1a", told("wx1", "rx=1", outcomes="fo"), {}),
    ("G1b", told("wx1 wx2", "rx=1"), {}),
    ("future-read", told("rx=1 wx1"), {}),
    ("lost-update", told("wx1", "rx=1 wx2", "rx=1 wx3"), {}),
    ("G1c", told("wx1 ry=1", "wy1 rx=1"), {}),
    ("G-single-item", told("wx1 wy1", "rx=1 ry="), {}),
    ("G2-item", told("rx= wy1", "ry= wx1"), {}),
    ("G1c-process", told("rx=1", "wx1", together=False), {}),
    ("cyclic-versions", told("wx1", "wx2", "rx=1", together=False), {"sequential_keys": True}),
    ("cyclic-versions", told("wx1", "wx2", "rx=1", together=False), {"linearizable_keys": True}),
    ("cyclic-versions", told("rx=1 wx2", "rx=2 wx1"), {"wfr_keys": True}),
    ("no-serial-order-realtime", told("wx1", "wx2", "rx=1", together=False), {}),
]


@pytest.mark.parametrize(("name", "history", "settings"), REGISTERS)
def test_registers(name: str, history: History, settings: dict[str, Any]) -> None:
    """The same for registers; with assumptions, the order of versions that they bring."""
    result = check(history, model="rw-register", settings=settings)
    assert name in {finding.kind for finding in result.findings}
    assert result.validity is Validity.INVALID


def test_an_info_transaction_that_was_seen_took_effect() -> None:
    """All of it did: who missed its other append contradicts who saw the one."""
    history = told("ax1 ay1", "rx1 ry", outcomes="io")
    assert check(history, model="list-append", consistency_model="serializable").validity is Validity.INVALID
    assert check(told("ax1 ay1", "rx ry", outcomes="io"), model="list-append").validity is Validity.VALID


def test_an_info_transaction_may_take_effect_late() -> None:
    """Long after it was invoked, and after what its process did next."""
    history = told("ax1", "rx", "rx1", together=False, outcomes="ioo")
    assert check(history, model="list-append").validity is Validity.VALID


def test_unread_appends_come_last() -> None:
    """Nobody read what the two appended, yet each missed the other's (Elle's issue with such histories)."""
    history = told("ry ax1", "rx ay1")
    assert check(history, model="list-append", consistency_model="serializable").validity is Validity.INVALID


def test_appends_of_one_transaction_keep_their_order() -> None:
    """A list that shows them the other way round is impossible, with nothing in between."""
    result = check(told("ax1 ax2", "rx21"), model="list-append", consistency_model="serializable")
    assert result.findings[0].kind == "incompatible-order"


def test_true_is_not_one() -> None:
    """Python calls them equal; JSON does not."""
    events = [
        {"type": "invoke", "process": 0, "f": "txn", "value": [["append", "x", 1]], "time": 0},
        {"type": "ok", "process": 0, "f": "txn", "value": [["append", "x", 1]], "time": 1},
        {"type": "invoke", "process": 0, "f": "txn", "value": [["r", "x", None]], "time": 2},
        {"type": "ok", "process": 0, "f": "txn", "value": [["r", "x", [True]]], "time": 3},
    ]
    assert check(History.of(events), model="list-append").findings[0].kind == "unwritten-read"


def test_only_the_anomalies_asked_for() -> None:
    """With the setting ``anomalies``, others are counted and refuse nothing."""
    asked = {"anomalies": "G0"}
    result = check(LISTS["G1c"], model="list-append", settings=asked)
    assert result.validity is Validity.VALID
    assert "G1c" in result.statistics["anomalies"]
    assert check(LISTS["G1c"], model="list-append", settings={"anomalies": ["G1"]}).validity is Validity.INVALID


def test_not_and_may_be() -> None:
    """The weakest models that are ruled out, and the strongest that are not."""
    statistics = check(LISTS["G2-item"], model="list-append").statistics
    assert statistics["not"] == ["repeatable-read"]
    assert {"snapshot-isolation", "update-serializable"} & set(statistics["may_be"])


def test_the_table_is_closed() -> None:
    """Models include models of the table, and every anomaly that is looked for is forbidden by some."""
    for name, model in CONSISTENCY_MODELS.items():
        assert set(model.includes) <= set(CONSISTENCY_MODELS), name
    assert set(ALIASES.values()) <= set(CONSISTENCY_MODELS)
    assert all(consistency.ruled_out([name]) for name in SEVERITY)
    assert set(SEVERITY) <= set(IMPLIES)
    assert implied(["G0"]) >= {"G1c", "G1", "G0-process", "G0-realtime", "G1c-realtime"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"consistency_model": "serialisable"}, "serialisable"),
        ({"settings": {"wfr": True}}, "wfr"),
        ({"settings": {"anomalies": "G7"}}, "G7"),
        ({"initial": 3}, "3"),
    ],
)
def test_wrong_options(options: dict[str, Any], says: str) -> None:
    """Refused with the value and what there is instead."""
    with pytest.raises(ValueError, match=says):
        check(LISTS["G0"], model="list-append", **options)


def test_wrong_setting_of_registers() -> None:
    """An assumption is true or false."""
    with pytest.raises(ValueError, match="wfr_keys"):
        check(told("wx1"), model="rw-register", settings={"wfr_keys": "perhaps"})


def test_many_are_counted_and_some_are_shown() -> None:
    """Thirty reads of a value that nobody wrote: ten findings, and how many more there are."""
    registers = check(told(*["rx=9"] * 30), model="rw-register", consistency_model="read-uncommitted")
    assert (len(registers.findings), registers.statistics["findings_left_out"]) == (10, 20)
