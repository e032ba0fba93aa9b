"""Public histories with known verdicts: every register-like one gets its verdict, under every variant that
states one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checkers import History, Validity, check

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"
FOLDERS = ("knossos-cas-register", "knossos-multi-register", "knossos-mutex", "porcupine-etcd", "porcupine-kv")

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="../shared/vectors is not there")


def variants(entry: dict[str, Any]) -> Iterator[tuple[Any, str, bool]]:
    """(initial, null_read, expected verdict), as the manifest records."""
    yield entry["initial"], entry.get("null_read") or "value", entry["expected"]
    if "expected_if_initial_null" in entry:
        yield None, "unknown", entry["expected_if_initial_null"]
    if "expected_if_initial_null_and_null_reads_count" in entry:
        yield None, "value", entry["expected_if_initial_null_and_null_reads_count"]


def entries(folder: str) -> list[dict[str, Any]]:
    every = json.loads((VECTORS / "manifest.json").read_text())["histories"]
    return [entry for entry in every if entry["file"].startswith(f"{folder}/") and entry["expected"] is not None]


@pytest.mark.parametrize("folder", FOLDERS)
def test_verdicts(folder: str) -> None:
    """Valid where the source says valid, invalid where it says invalid; unknown counts as wrong."""
    wrong = []
    for entry in entries(folder):
        history = History.read(VECTORS / entry["file"])
        for initial, null_read, expected in variants(entry):
            result = check(history, model=entry["model"], initial=initial, null_read=null_read)
            if result.validity is not (Validity.VALID if expected else Validity.INVALID):
                wrong.append((entry["file"], initial, null_read, result.validity))
    assert wrong == []


def test_all_of_them_are_there() -> None:
    """The folders hold what the test believes it judges."""
    assert [len(entries(folder)) for folder in FOLDERS] == [60, 1, 1, 50, 2]


@pytest.mark.parametrize("folder", ["knossos-cas-register", "porcupine-etcd"])
def test_both_methods_agree(folder: str) -> None:
    """Where the log-linear method applied, the search alone says the same."""
    for entry in entries(folder):
        history = History.read(VECTORS / entry["file"])
        for initial, null_read, expected in variants(entry):
            searched = check(history, model=entry["model"], initial=initial, null_read=null_read, search_only=True)
            assert (searched.validity is Validity.VALID) == expected
            assert searched.statistics["keys_decided"] == 0
