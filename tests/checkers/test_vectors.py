"""Public histories with known verdicts: every one gets its verdict, under every variant that states one.

Truth is brute force where the manifest has it, else what the source expects, else what Elle is recorded to say under
its consistency models and options.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from checkers import History, Options, Validity, check

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"
FOLDERS = {
    "elle-cli-bank": 2,
    "elle-cli-list-append": 1,
    "elle-cli-long-fork": 1,
    "elle-cli-rw-register": 1,
    "elle-cli-set": 1,
    "elle-list-append": 14,
    "elle-rw-register": 9,
    "knossos-cas-register": 60,
    "knossos-multi-register": 1,
    "knossos-mutex": 1,
    "limo-queue": 35,
    "limo-stack": 19,
    "porcupine-etcd": 50,
    "porcupine-kv": 2,
}
"""The folders, and how many histories each holds."""

ELLE_OPTIONS = {"linearizable_keys", "sequential_keys", "wfr_keys"}

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="../shared/vectors is not there")


def variants(entry: dict[str, Any]) -> Iterator[tuple[Options, bool]]:
    """Options, and whether the history is valid under them, as the manifest records."""
    null_read = entry.get("null_read") or "value"
    if "brute_force" in entry:
        for name, valid in entry["brute_force"].items():
            yield Options(consistency_model=name.replace("_", "-")), valid
    elif entry["expected"] is not None:
        settings = {"group_size": 3} if entry["model"] == "long-fork" else {}
        yield Options(initial=entry["initial"], null_read=null_read, settings=settings), entry["expected"]
    if "expected_if_initial_null" in entry:
        yield Options(null_read="unknown"), entry["expected_if_initial_null"]
    if "expected_if_initial_null_and_null_reads_count" in entry:
        yield Options(), entry["expected_if_initial_null_and_null_reads_count"]
    yield from elle(entry)


def elle(entry: dict[str, Any]) -> Iterator[tuple[Options, bool]]:
    """What Elle is recorded to say, where brute force does not say it and all its options have a counterpart here."""
    for stated in entry.get("elle_checks", ()):
        options = stated.get("options", {})
        covered = {"serializable", "strict-serializable"} if "brute_force" in entry else set()
        names = stated["consistency_models"] or ()
        for name in names if len(names) == 1 else ():
            if name not in covered and set(options) <= ELLE_OPTIONS and isinstance(stated["valid"], bool):
                yield Options(consistency_model=name, settings=options), stated["valid"]


def entries(folder: str) -> list[dict[str, Any]]:
    every = json.loads((VECTORS / "manifest.json").read_text())["histories"]
    return [entry for entry in every if entry["file"].startswith(f"{folder}/")]


@pytest.mark.parametrize("folder", FOLDERS)
def test_verdicts(folder: str) -> None:
    """Valid where the truth is valid, invalid where it is invalid; unknown counts as wrong."""
    wrong = []
    for entry in entries(folder):
        history = History.read(VECTORS / entry["file"])
        for options, expected in variants(entry):
            result = check(history, model=entry["model"], options=options)
            if result.validity is not (Validity.VALID if expected else Validity.INVALID):
                wrong.append((entry["file"], options, result.validity, expected))
    assert wrong == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_all_of_them_are_there(folder: str) -> None:
    """The folders hold what the test believes it judges, and the manifest states a truth for each."""
    assert len(entries(folder)) == FOLDERS[folder]
    assert [entry["file"] for entry in entries(folder) if not list(variants(entry))] == []


def test_no_folder_is_forgotten() -> None:
    """Every history of the manifest is in one of the folders."""
    every = json.loads((VECTORS / "manifest.json").read_text())["histories"]
    assert {entry["file"].split("/")[0] for entry in every} == set(FOLDERS)


@pytest.mark.parametrize("folder", ["knossos-cas-register", "porcupine-etcd"])
def test_both_methods_agree(folder: str) -> None:
    """Where the polynomial method applied, the search alone says the same."""
    for entry in entries(folder):
        history = History.read(VECTORS / entry["file"])
        for options, expected in variants(entry):
            searched = check(history, model=entry["model"], options=replace(options, search_only=True))
            assert (searched.validity is Validity.VALID) == expected
            assert searched.statistics["keys_decided"] == 0
