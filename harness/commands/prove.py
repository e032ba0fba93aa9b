"""``capsize faults --prove``: the table of faults and substrates, from real runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from faults import FAMILIES
from harness.commands.tables import wide_console
from harness.errors import HarnessError, UsageError, nearest
from harness.proving import Cell, cells, prove, write_cells
from harness.substrates import SUBSTRATES
from harness.systems import SYSTEMS
from harness.systems.protocol import System

MARKS: Mapping[bool | None, tuple[str, str]] = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("-", "")}


def prove_command(families: str | None, substrates: str, systems: str, runs_root: Path) -> int:
    """Proves each cell and prints the table; 0 if each that is not refused bit and healed, else 1."""
    chosen = _names(families, FAMILIES, "family") if families is not None else tuple(FAMILIES)
    wanted = {name: SYSTEMS[name] for name in _names(systems, SYSTEMS, "system")}
    refusals = {name: _refusals(name, wanted) for name in _names(substrates, SUBSTRATES, "substrate")}
    folder = runs_root.resolve() / "proofs" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    console, table = wide_console(), list[Cell]()
    for planned in cells(chosen, refusals, wanted):
        cell = planned
        if cell.refused is None:
            console.print(f"{cell.family} on {cell.substrate} with {cell.system} ...", highlight=False)
            cell = prove(cell, folder / cell.substrate / cell.system / cell.family)
            console.print(Text("    " + _outcome(cell)))
        table.append(cell)
    folder.mkdir(parents=True, exist_ok=True)
    write_cells(folder / "proofs.json", table)
    console.print(table_of(table))
    console.print(f"{folder / 'proofs.json'}", highlight=False)
    return 0 if all(cell.holds for cell in table) else 1


def _names(text: str, known: Mapping[str, object], kind: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise UsageError(f"unknown {kind} {name!r}: {nearest(name, known)}")
    if not names:
        raise UsageError(f"--{kind} {text!r} names none: {nearest('', known)}")
    return names


def _refusals(name: str, systems: Mapping[str, System]) -> Mapping[str, str]:
    """What a substrate cannot do here.

    Raises:
        HarnessError: it, or a system, cannot run here at all.
    """
    substrate = SUBSTRATES[name](keep_data=False)
    missing = [*substrate.missing()]
    for system in systems.values():
        missing += system.missing(system.Options())
    if missing:
        raise HarnessError(f"{name} cannot run here: {'; '.join(missing)} (`capsize doctor` tells more)")
    return substrate.refused()


def _outcome(cell: Cell) -> str:
    return cell.trouble or f"bit: {MARKS[cell.bit][0]}; healed: {MARKS[cell.healed][0]}; {cell.validity}"


def table_of(table: Sequence[Cell]) -> Table:
    """The table as people read it."""
    shown = Table(box=None, pad_edge=False, header_style="bold", title="Faults, proved", title_justify="left")
    for column in ("fault", "substrate", "system", "bit", "evidence", "healed", "evidence", "run"):
        shown.add_column(column, overflow="fold", no_wrap=column in ("fault", "bit", "healed"))
    for cell in table:
        if cell.refused is not None:
            row = [Text("refused", "yellow"), Text(cell.refused), Text("-"), Text("-"), Text("-")]
        else:
            trouble = Text(cell.trouble, "red")
            bit, healed = Text(*MARKS[cell.bit]), Text(*MARKS[cell.healed])
            run = Text(cell.validity or "no verdict")
            row = [bit, Text(cell.bit_words) or trouble, healed, Text(cell.healed_words), run]
        shown.add_row(cell.family, cell.substrate, cell.system, *row)
    return shown
