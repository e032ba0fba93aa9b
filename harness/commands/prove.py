"""``capsize faults --prove``: the table of faults and substrates, from real runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.table import Table
from rich.text import Text

from faults import FAMILIES
from harness.commands.tables import wide_console
from harness.errors import HarnessError, UsageError, nearest
from harness.host.machine import machine_facts
from harness.proving import NODES, Cell, cells, prove, write_cells
from harness.substrates import SUBSTRATES
from harness.substrates.ssh_hosts import Host, Hosts
from harness.systems import SYSTEMS
from harness.systems.protocol import System

HEADS = ("fault", "substrate", "system", "bit", "evidence", "healed", "evidence", "run")
HEAD = """# Proofs

Every fault on every substrate with every system, each in a short run of its own: what was seen when it had bitten, and
when it was healed. The page is written by `capsize faults --prove --markdown FILE`, which adds to a file that exists.
"""
ON_HOSTS = frozenset({"ssh"})
"""Substrates whose hosts somebody must name."""
MARKS: Mapping[bool | None, tuple[str, str]] = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("-", "")}


def prove_command(
    families: str | None, substrates: str, systems: str, runs_root: Path, hosts: Path | None, markdown: Path | None
) -> int:
    """Proves each cell and prints the table; 0 if each that is not refused bit and healed, else 1."""
    chosen = _names(families, FAMILIES, "family") if families is not None else tuple(FAMILIES)
    wanted = {name: SYSTEMS[name] for name in _names(systems, SYSTEMS, "system")}
    places = _names(substrates, SUBSTRATES, "substrate")
    given = _hosts(places, hosts)
    refusals = {name: _refusals(name, wanted, given) for name in places}
    folder = runs_root.resolve() / "proofs" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    console, table = wide_console(), list[Cell]()
    for planned in cells(chosen, refusals, wanted):
        cell = planned
        if cell.refused is None:
            console.print(f"{cell.family} on {cell.substrate} with {cell.system} ...", highlight=False)
            file = hosts.resolve() if hosts is not None and cell.substrate in ON_HOSTS else None
            cell = prove(cell, folder / cell.substrate / cell.system / cell.family, file)
            console.print(Text("    " + _outcome(cell)))
        table.append(cell)
    folder.mkdir(parents=True, exist_ok=True)
    write_cells(folder / "proofs.json", table)
    console.print(table_of(table))
    console.print(f"{counted(table)}; {folder / 'proofs.json'}", highlight=False, soft_wrap=True)
    if markdown is not None:
        head = "" if markdown.exists() else HEAD
        with markdown.open("a", encoding="utf-8") as page:
            page.write(head + section_of(table))
    return 0 if all(cell.holds for cell in table) else 1


def _names(text: str, known: Mapping[str, object], kind: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise UsageError(f"unknown {kind} {name!r}: {nearest(name, known)}")
    if not names:
        raise UsageError(f"--{kind} {text!r} names none: {nearest('', known)}")
    return names


def _hosts(substrates: Sequence[str], file: Path | None) -> Sequence[Host]:
    """Those in the file, where somebody needs them.

    Raises:
        UsageError: there is none, or it holds too few, or none that can be read.
    """
    needy = [name for name in substrates if name in ON_HOSTS]
    if not needy:
        return ()
    if file is None:
        raise UsageError(f"{needy[0]} runs on hosts: give a file that lists them, --hosts FILE (docs/substrates.md)")
    try:
        found = TypeAdapter(Hosts).validate_python(str(file))
    except ValidationError as error:
        raise UsageError(f"--hosts {file}: {error.errors()[0]['msg']}") from None
    if len(found) < NODES:
        raise UsageError(f"--hosts {file} lists {len(found)}: {NODES} are needed")
    return found[:NODES]


def _refusals(name: str, systems: Mapping[str, System], hosts: Sequence[Host]) -> Mapping[str, str]:
    """What a substrate cannot do here.

    Raises:
        HarnessError: it, or a system, cannot run here at all.
    """
    substrate = SUBSTRATES[name](keep_data=False, hosts=hosts)
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
    for column in HEADS:
        shown.add_column(column, overflow="fold", no_wrap=column not in ("evidence", "run"))
    for cell in table:
        texts = row_of(cell)
        styles = ["", "", "", _style(cell.bit, cell), "red" if cell.trouble else "", _style(cell.healed, cell), "", ""]
        shown.add_row(*(Text(text, style) for text, style in zip(texts, styles, strict=True)))
    return shown


def _style(mark: bool | None, cell: Cell) -> str:
    return "yellow" if cell.refused is not None else MARKS[mark][1]


def row_of(cell: Cell) -> Sequence[str]:
    """A cell's line, under :data:`HEADS`."""
    place = (cell.family, cell.substrate, cell.system)
    if cell.refused is not None:
        return (*place, "refused", cell.refused, "-", "", "-")
    bit, healed = MARKS[cell.bit][0], MARKS[cell.healed][0]
    return (*place, bit, cell.bit_words or cell.trouble, healed, cell.healed_words, cell.validity or "no verdict")


def counted(table: Sequence[Cell]) -> str:
    """The table in a sentence."""
    run = [cell for cell in table if cell.refused is None]
    hold = sum(cell.holds for cell in run)
    took_min = sum(cell.took_s for cell in run) / 60
    return (
        f"{hold} of {len(run)} cells bit, were healed, and their runs are valid; {len(table) - len(run)} are refused; "
        f"{took_min:.0f} min"
    )


def section_of(table: Sequence[Cell]) -> str:
    """A section of a page for docs/: which substrates, when, where, by which command, and the table."""
    facts, when = machine_facts(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    words = " ".join(["capsize", *(os.path.basename(word) if "/" in word else word for word in sys.argv[1:])])
    memory_gib = facts["memory_bytes"] / 2**30
    lines = [
        "",
        f"## {', '.join(dict.fromkeys(cell.substrate for cell in table))}",
        "",
        f"Written by `{words}`, {when}, on Linux {facts['kernel']}, {facts['cores']} cores, {memory_gib:.0f} GiB,",
        f"Python {facts['python']}. {counted(table)}.",
        "",
        f"| {' | '.join(HEADS)} |",
        "|" + "---|" * len(HEADS),
        *(f"| {' | '.join(text.replace('|', '/') for text in row_of(cell))} |" for cell in table),
    ]
    return "\n".join([*lines, ""])
