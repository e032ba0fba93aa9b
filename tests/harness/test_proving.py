"""The table of faults and substrates says what runs left, and what is refused with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from faults import FAMILIES
from harness.planning.scenario import parse_scenario
from harness.planning.schedule import plan_schedule
from harness.proving import Cell, cells, read_cell, scenario_of, words, write_cells
from harness.systems import SYSTEMS

CELL = Cell(family="kill", substrate="process", system="raftkv")


def run_of(folder: Path, *, bit: bool = True, healed: bool = True, validity: str = "valid", **row: Any) -> Path:
    """A run's folder with one fault."""
    fault = {
        "family": "kill",
        "summary": "n1 killed",
        "bit": {"holds": bit, "evidence": {"pids_left": {"n1": []}, "ms": 1.23456}},
        "healed": {"holds": healed, "evidence": {"state": {"n1": "running", "n2": "running"}}},
        **row,
    }
    (folder / "schedule.jsonl").write_bytes(orjson.dumps(fault) + b"\n")
    (folder / "verdict.json").write_bytes(orjson.dumps({"validity": validity, "sentence": "it was stale"}))
    return folder


def test_a_cell_that_holds(tmp_path: Path) -> None:
    """It bit, was healed, and the run was valid."""
    cell = read_cell(CELL, run_of(tmp_path))
    assert cell.holds
    assert (cell.bit_words, cell.healed_words) == ("pids left n1: ; ms 1.235", "state n1+n2: running")


@pytest.mark.parametrize(
    "trouble",
    [{"bit": False}, {"healed": False}, {"validity": "invalid"}, {"validity": "unknown"}, {"family": "pause"}],
    ids=str,
)
def test_a_cell_that_does_not(tmp_path: Path, trouble: dict[str, Any]) -> None:
    """Any of these is enough."""
    cell = read_cell(CELL, run_of(tmp_path, **trouble))
    assert not cell.holds
    assert cell.validity in ("valid", "invalid", "unknown")


def test_what_is_refused_is_not_held_against_anybody(tmp_path: Path) -> None:
    """By the substrate or the system, with the reason; all others must be run."""
    table = list(cells(FAMILIES, {"process": {}, "ssh": {"power": "no disk"}}, {"raftkv": SYSTEMS["raftkv"]}))
    refused = {(cell.family, cell.substrate): cell.refused for cell in table if cell.refused is not None}
    assert refused[("power", "ssh")] == "no disk"
    assert ("power", "process") not in refused
    assert ("kill", "ssh") not in refused
    assert not any(cell.holds for cell in table if cell.refused is None)
    write_cells(tmp_path / "proofs.json", table)
    assert len(orjson.loads((tmp_path / "proofs.json").read_bytes())) == len(table) == 2 * len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_cell_is_a_scenario_with_one_fault(family: str) -> None:
    """The examples load, and the fault is over before the load is."""
    for system in SYSTEMS:
        text = scenario_of(Cell(family=family, substrate="process", system=system))
        (fault,) = plan_schedule(parse_scenario(text, "t.yaml"), 1)
        assert fault.family == family
        assert (fault.at_ns or 0) + fault.for_ns < parse_scenario(text, "t.yaml").head.time


def test_words_are_short() -> None:
    """However much evidence there is."""
    assert len(words({"links": {f"n{number}": list(range(100)) for number in range(100)}})) <= 110
    assert words({"errors": [], "left": {}, "means": "netem"}) == "means netem"
