"""Claims about the door to the guarantees: the table, the public vectors, and what every check promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from checkers import CHECKS, History, Options, Validity, check
from checkers.guarantees import GUARANTEES
from checkers.history import HistoryError
from tests.checkers.guarantees.told import op, story

ROOT = Path(__file__).parents[3]
VECTORS = ROOT.parent / "shared" / "vectors"
NAMES = {"set": "set-full"}
SETTINGS: dict[str, dict[str, Any]] = {"long-fork": {"group_size": 3}}


def entries() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    every = json.loads((VECTORS / "manifest.json").read_text())["histories"]
    return [entry for entry in every if entry["model"] in ("set", "bank", "long-fork")]


@pytest.mark.skipif(not VECTORS.exists(), reason="../shared/vectors is not there")
def test_public_vectors() -> None:
    """Sets, banks and long forks get the verdicts that the manifest states."""
    told = {}
    for entry in entries():
        name = NAMES.get(entry["model"], entry["model"])
        options = Options(settings=SETTINGS.get(name, {}))
        told[entry["file"]] = check(History.read(VECTORS / entry["file"]), model=name, options=options).validity
    assert told == {entry["file"]: Validity.VALID if entry["expected"] else Validity.INVALID for entry in entries()}
    assert len(told) == 4


@pytest.mark.parametrize("name", GUARANTEES)
def test_an_empty_history_is_unknown(name: str) -> None:
    """Nothing can have been broken, so nothing was proved; every check says so, with a reason."""
    result = check(story(), model=name)
    assert result.validity is Validity.UNKNOWN
    (finding,) = result.findings
    assert (finding.checker, finding.kind) == (name, "nothing to judge")
    assert finding.message.endswith(".")


@pytest.mark.parametrize("name", GUARANTEES)
def test_every_check_is_in_the_table_and_refuses_what_it_does_not_know(name: str) -> None:
    """By its own name; foreign functions and settings are errors that say what there is."""
    assert CHECKS[name].summary
    with pytest.raises(HistoryError, match=f"{name} has no function 'fly'"):
        check(story(op(0, "fly", None, 1, 0, 1)), model=name)
    with pytest.raises(ValueError, match=f"{name} has no setting 'wings'"):
        check(story(), model=name, options=Options(settings={"wings": 2}))


@pytest.mark.parametrize("name", [name for name, guarantee in GUARANTEES.items() if not guarantee.has_initial])
def test_an_initial_value_that_nothing_has_is_refused(name: str) -> None:
    """Nothing that was asked is passed over in silence."""
    with pytest.raises(ValueError, match="begins with nothing"):
        check(story(), model=name, initial=5)


def test_the_docs_tell_of_every_check_and_setting() -> None:
    """docs/checkers/guarantees.md names each of them."""
    text = (ROOT / "docs" / "checkers" / "guarantees.md").read_text()
    for guarantee in GUARANTEES.values():
        assert f"`{guarantee.name}`" in text
        assert all(f"`{setting}`" in text for setting in guarantee.settings), guarantee.name


def test_results_are_plain_json() -> None:
    """Statistics and evidence can be written down as they are."""
    history = story(op(0, "add", 1, 1, 0, 1), op(0, "read", None, [2, 2], 2, 3))
    for name in ("set-full", "durability"):
        result = check(history, model=name)
        json.dumps([result.statistics, [finding.evidence for finding in result.findings]])
