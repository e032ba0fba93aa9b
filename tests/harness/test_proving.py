"""The table of faults and substrates says what runs left, and what is refused with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from faults import FAMILIES
from harness.commands.prove import counted, prove_command, section_of
from harness.errors import UsageError
from harness.planning.scenario import parse_scenario
from harness.planning.schedule import plan_schedule
from harness.proving import Cell, cells, read_cell, scenario_of, write_cells
from harness.systems import SYSTEMS

CELL = Cell(family="kill", substrate="process", system="raftkv")


def run_of(folder: Path, *, bit: bool = True, healed: bool = True, validity: str = "valid", **row: Any) -> Path:
    """A run's folder with one fault."""
    fault = {
        "family": "kill",
        "summary": "n1 killed",
        "bit": {"holds": bit, "evidence": {"pids_left": {"n1": []}}},
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
    assert (cell.bit_words, cell.healed_words) == ("n1: dead, no process left", "n1: running; n2: running")


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


def test_the_page_has_a_line_for_every_cell(tmp_path: Path) -> None:
    """And says how many hold."""
    good = read_cell(CELL, run_of(tmp_path))
    table = [good, Cell(family="disk", substrate="ssh", system="etcd", refused="a | b")]
    page = section_of(table).splitlines()
    assert (
        "| kill | process | raftkv | yes | n1: dead, no process left | yes | n1: running; n2: running | valid |" in page
    )
    assert "| disk | ssh | etcd | refused | a / b | - |  | - |" in page
    assert counted(table).startswith("1 of 1 cells bit, were healed, and their runs are valid; 1 are refused")


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "--hosts FILE"), ("- {address: 10.0.0.1}", "lists 1: 3 are needed"), ("- {adress: 1}", "address")],
    ids=str,
)
def test_hosts_that_are_missing_are_asked_for(tmp_path: Path, text: str | None, said: str) -> None:
    """Before anything is run."""
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text(text or "")
    with pytest.raises(UsageError, match=said):
        prove_command("kill", "ssh", "raftkv", tmp_path, None if text is None else hosts, None)
    assert [path.name for path in tmp_path.iterdir()] == ["hosts.yaml"]
