"""`capsize faults --prove`: every fault family on every substrate and system, in a real run each; did it bite, did it
heal, and what was the evidence? What is refused is told with its reason.

A cell is one short run of a scenario with one fault, in a process of its own; what it says comes from the run's
``schedule.jsonl`` alone. A cell holds when the fault bit, was healed, and the run was not invalid.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from faults import FAMILIES
from harness.errors import EXIT_CODES
from harness.evidence import told
from harness.planning.examples import EXAMPLES
from harness.systems.protocol import ABILITIES as SYSTEM_ABILITIES
from harness.systems.protocol import System

AT, LASTS, LOAD = "2s", "2s", "6s"
NODES = 3
RUN_TIMEOUT_S = 120.0
SHARPER: Mapping[str, str] = {
    "disk": "{target: one, kind: error, operations: [fsync]}",
    "rot": "{target: one, kind: flip, files: '*.wal'}",
}
"""Where a family's example is not what convinces most: an operation that fails can be counted, and a log's record that
rotted is found by everybody who reads it.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One family on one substrate with one system."""

    family: str
    substrate: str
    system: str
    refused: str | None = None
    """Why it cannot be injected there."""
    bit: bool | None = None
    healed: bool | None = None
    bit_words: str = ""
    healed_words: str = ""
    validity: str | None = None
    summary: str = ""
    trouble: str = ""
    """What went wrong, if the run did not get to a fault."""
    folder: str = ""
    took_s: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether there is nothing to complain about."""
        return self.refused is not None or (self.bit is True and self.healed is True and self.validity == "valid")


def cells(
    families: Iterable[str], refusals: Mapping[str, Mapping[str, str]], systems: Mapping[str, System]
) -> Iterator[Cell]:
    """The table, with nothing in it but what is refused. ``refusals``: by substrate, abilities that it does not have,
    each with the reason.
    """
    for family in families:
        for substrate, lacking in refusals.items():
            for name, system in systems.items():
                without = SYSTEM_ABILITIES - system.abilities
                reasons = {**lacking, **{ability: f"{name} has no means for {ability}" for ability in without}}
                needs = sorted(FAMILIES[family].needs & set(reasons))
                refused = "; ".join(reasons[need] for need in needs) if needs else None
                yield Cell(family=family, substrate=substrate, system=name, refused=refused)


def scenario_of(cell: Cell, hosts: Path | None = None) -> str:
    """The scenario that proves it; ``hosts`` is the file of those that it runs on."""
    where = "" if hosts is None else f"hosts: {hosts}\n"
    parameters = SHARPER.get(cell.family, EXAMPLES[cell.family])
    return (
        f"name: prove-{cell.family}\n"
        f"about: Does {cell.family} bite on {cell.substrate}, and does it heal?\n"
        f"system: {cell.system}\n"
        f"substrate: {cell.substrate}\n{where}"
        f"nodes: {NODES}\ntime: {LOAD}\nseed: 1\nok_min: 20\n"
        "workload: {name: register, rate: 100, keys: 5}\n"
        f"faults:\n  - {{at: {AT}, for: {LASTS}, {cell.family}: {parameters}}}\n"
    )


def prove(cell: Cell, folder: Path, hosts: Path | None = None) -> Cell:
    """Runs it; ``folder`` is where its scenario and its run go."""
    began_s = time.monotonic()
    found = _run(cell, folder, hosts)
    return _with(found, took_s=round(time.monotonic() - began_s, 1))


def _run(cell: Cell, folder: Path, hosts: Path | None) -> Cell:
    folder.mkdir(parents=True, exist_ok=True)
    scenario, run = folder / "scenario.yaml", folder / "run"
    scenario.write_text(scenario_of(cell, hosts), encoding="utf-8")
    argv = [sys.executable, "-m", "harness", "run", str(scenario), "--folder", str(run), "--runs", str(folder)]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return _with(cell, folder=str(run), trouble=f"the run did not end within {RUN_TIMEOUT_S:g} s")
    (folder / "output.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["nothing"]
    if done.returncode not in EXIT_CODES.values():
        return _with(cell, folder=str(run), trouble=f"exit {done.returncode}: {said[0]}")
    return read_cell(cell, run)


def read_cell(cell: Cell, run: Path) -> Cell:
    """What a run's folder says of its one fault."""
    rows = [orjson.loads(line) for line in (run / "schedule.jsonl").read_bytes().splitlines()]
    verdict = orjson.loads((run / "verdict.json").read_bytes())
    found = _with(cell, folder=str(run), validity=verdict["validity"])
    row = next((row for row in rows if row["family"] == cell.family), None)
    if row is None:
        return _with(found, trouble="the fault never came")
    if verdict["validity"] != "valid":
        found = _with(found, trouble=verdict["sentence"])
    return _with(
        found,
        bit=_holds(row["bit"]),
        healed=_holds(row["healed"]),
        bit_words=told(row, "bit"),
        healed_words=told(row, "healed"),
        summary=row["summary"],
    )


def _holds(proof: Mapping[str, Any] | None) -> bool:
    return proof is not None and bool(proof["holds"])


def _with(cell: Cell, **changes: Any) -> Cell:
    return Cell(**{**asdict(cell), **changes})


def write_cells(path: Path, table: Sequence[Cell]) -> None:
    """The table as JSON, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    rows = [{**asdict(cell), "holds": cell.holds} for cell in table]
    temporary.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    os.replace(temporary, path)
