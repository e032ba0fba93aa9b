"""Elle's own test histories: the anomalies that it names, and the models that it rules out, are found here too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checkers import History, Options, Validity, check
from checkers.transactions import consistency
from checkers.transactions.anomalies import SEVERITY, implied

VECTORS = Path(__file__).parents[3].parent / "shared" / "vectors"

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="../shared/vectors is not there")

WITHOUT_COUNTERPART = {"transaction_order"}
"""Options of Elle that say what nobody else can know."""


def entries() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    every = json.loads((VECTORS / "manifest.json").read_text())["histories"]
    return [entry for entry in every if entry["model"] in ("list-append", "rw-register")]


def stated(entry: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Options]]:
    """What Elle says, and the question to which it says so."""
    for said in entry.get("elle_checks", ()):
        settings = dict(said.get("options", {}))
        if WITHOUT_COUNTERPART & set(settings):
            continue
        if said["consistency_models"] is None:
            yield said, Options(settings={**settings, "anomalies": said["anomalies_asked"]})
        else:
            yield said, Options(settings=settings, consistency_model=",".join(said["consistency_models"]))


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry["file"].split("/")[1])
def test_brute_force_decides(entry: dict[str, Any]) -> None:
    """Serializable and strictly serializable as all orders say, where the manifest has it."""
    history = History.read(VECTORS / entry["file"])
    for name, valid in entry.get("brute_force", {}).items():
        result = check(history, model=entry["model"], consistency_model=name.replace("_", "-"))
        assert result.validity is (Validity.VALID if valid else Validity.INVALID)


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry["file"].split("/")[1])
def test_what_elle_refuses(entry: dict[str, Any]) -> None:
    """Refused here too, for the anomalies that it names (or worse ones); and what it rules out is ruled out."""
    history = History.read(VECTORS / entry["file"])
    for said, options in stated(entry):
        result = check(history, model=entry["model"], options=options)
        found = implied(result.statistics["anomalies"])
        # Elle passes over values that nobody wrote (its issue 8): where it sees a lost update, the value is unwritten.
        named = set(said["anomaly_types"]) & set(SEVERITY)
        assert named <= found
        if said["valid"] is False:
            assert result.validity is Validity.INVALID
        assert set(said["not"]) <= consistency.ruled_out(result.statistics["anomalies"])


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry["file"].split("/")[1])
def test_what_elle_accepts(entry: dict[str, Any]) -> None:
    """Accepted here too, unless all orders say that it was wrong."""
    history = History.read(VECTORS / entry["file"])
    for said, options in stated(entry):
        wrong = (
            entry.get("brute_force", {}).get("serializable") is False and "serializable" in options.consistency_model
        )
        if said["valid"] is True and not (wrong and not options.settings.get("anomalies")):
            assert check(history, model=entry["model"], options=options).validity is Validity.VALID
