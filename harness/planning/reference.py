"""The tables in docs/ that are written from the code, and a test keeps true: `python -m harness.planning.reference`
writes them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from faults import FAMILIES
from harness.planning.examples import EXAMPLES, entry
from harness.substrates import SUBSTRATES
from harness.substrates.protocol import ABILITIES
from harness.systems import SYSTEMS
from harness.systems.protocol import ABILITIES as SYSTEM_ABILITIES

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- {}: written by `python -m harness.planning.reference` -->", "<!-- end of {} -->"


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def matrix() -> str:
    """Families and substrates: what each needs, and what a kind of substrate can never do."""
    kinds = {name: make() for name, make in SUBSTRATES.items()}
    refused: dict[str, str] = {}
    for name, kind in kinds.items():
        for ability, reason in kind.cannot.items():
            refused[f"{name}, {ability}"] = reason
    table = _table(
        ("fault", *kinds, *SYSTEMS),
        (_row(name, {name: kind.cannot for name, kind in kinds.items()}) for name in FAMILIES),
    )
    notes = [f"- {where}: {reason}." for where, reason in refused.items()]
    return "\n".join([table, "", *notes])


def _row(family: str, cannot: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
    needs = FAMILIES[family].needs
    substrates = ["no" if needs & set(lacking) else "yes" for lacking in cannot.values()]
    systems = ["yes" if needs & SYSTEM_ABILITIES <= system.abilities else "no" for system in SYSTEMS.values()]
    return [f"[{family}](faults/{family}.md)", *substrates, *systems]


def families() -> str:
    """Families, what they take for themselves, what they need, and an example."""
    rows = (
        (
            f"[{name}](faults/{name}.md)",
            family.description,
            ", ".join(sorted(family.claims)) or "nothing",
            ", ".join(sorted(family.needs & (ABILITIES | SYSTEM_ABILITIES))),
            f"`{name}: {EXAMPLES[name]}`",
        )
        for name, family in FAMILIES.items()
    )
    return _table(("fault", "what happens", "takes for itself", "needs", "example"), rows)


def every_example() -> str:
    """A scenario with an example of every family."""
    entries = [f"  - {entry(name, at=f'{4 * place}s')}" for place, name in enumerate(FAMILIES, 1)]
    return "\n".join(["```yaml", "faults:", *entries, "```"])


def promises() -> str:
    """What each system promises."""
    parts = []
    for system in SYSTEMS.values():
        rows = (
            (name, system.promises[name].words, _stops(system.name, name))
            for name in FAMILIES
            if name in system.promises
        )
        beyond = ", ".join(name for name in FAMILIES if name not in system.promises) or "nothing"
        progress = (
            "also while a minority is cut off in one direction only"
            if system.promises.one_way_progress
            else ("while a minority is dead or cut off in both directions")
        )
        parts += [
            f"## {system.name}\n",
            _table(("fault", "survives", "a node may stop"), rows),
            f"\nServes {progress}. Promises nothing about: {beyond}.\n",
        ]
    return "\n".join(parts).rstrip()


def _stops(system: str, family: str) -> str:
    may_stop = SYSTEMS[system].promises[family].may_stop
    if may_stop is None:
        return "no"
    statuses = ", ".join(map(str, sorted(may_stop.statuses or ())))
    return f"yes: {may_stop.why}" + (f" (status {statuses})" if statuses else "")


PARTS = {
    "faults.md": {"the matrix": matrix, "the families": families, "the examples": every_example},
    "promises.md": {"the promises": promises},
}
"""By page: what is written into it, between which marks."""


def renewed(page: str, text: str) -> str:
    """A page's text with its tables as the code has them."""
    for name, write in PARTS[page].items():
        before, begin, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END.format(name))
        if not begin or not end:
            raise ValueError(f"docs/{page} has no marks of {name!r}")
        text = f"{before}{begin}\n\n{write()}\n\n{end}{after}"
    return text


def main() -> None:
    """Writes the pages again."""
    for page in PARTS:
        path = DOCS / page
        path.write_text(renewed(page, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
