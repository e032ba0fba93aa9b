"""The page of a hunt through the zoo, and the same as Markdown: which planted bugs were found, by what, how fast, and
what was missed.

Made from plain data (``zoo.json`` of the hunt's folder; docs/formats.md has its fields).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from reports.templating import STATIC, environment
from reports.words import plural


def build(data: Mapping[str, Any], folder: Path) -> Path:
    """Writes ``summary.html`` into the folder and returns its path.

    Raises:
        OSError: the page cannot be written.
    """
    path = folder / "summary.html"
    temporary = folder / "summary.html.tmp"
    temporary.write_text(render(data), encoding="utf-8", errors="replace")
    os.replace(temporary, path)
    return path


def render(data: Mapping[str, Any]) -> str:
    """The page as text."""
    style = Markup((STATIC / "style.css").read_text(encoding="utf-8"))
    template = environment().get_template("zoo.html")
    return template.render(
        data=data, style=style, own=own_words, blind=blind_words, missed=missed(data), sentence=sentence(data)
    )


def sentence(data: Mapping[str, Any]) -> str:
    """``33 of 34 planted bugs found by their own scenarios; 30 of 34 found blind; no false alarm in 200 control runs``,
    as a sentence.
    """
    totals, runs = data["totals"], data["control"]["runs"]
    own = f"{totals['own_found']} of {plural(totals['own_hunted'], 'planted bug')} found by their own scenarios"
    blind = f"{totals['blind_found']} of {totals['blind_hunted']} found blind"
    alarms = f"{plural(totals['alarms'], 'false alarm') if totals['alarms'] else 'no false alarm'} in"
    said = [
        own if totals["own_hunted"] else "none hunted by its own scenario",
        blind if totals["blind_hunted"] else "none hunted blind",
        f"{alarms} {plural(runs, 'control run')}" if runs else "no control run",
    ]
    return f"{'; '.join(said)}."


def missed(data: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Rows that one of the two ways did not find."""
    return [
        row
        for row in data["rows"]
        if (row["own"]["runs"] and not row["own_found"]) or (row["blind"]["ended"] and not row["blind"]["found"])
    ]


def own_words(row: Mapping[str, Any]) -> str:
    """``5 of 5; median 9.2 s, 90 % 11.0 s``."""
    own = row["own"]
    if not own["runs"]:
        return "not hunted"
    times = f"; median {own['median_s']:.1f} s, 90 % {own['p90_s']:.1f} s" if own["found"] else ""
    others = "".join(f"; {count} {state}" for state, count in own["others"].items())
    return f"{own['found']} of {own['runs']}{times}{others}"


def blind_words(row: Mapping[str, Any]) -> str:
    """``41 s, run 2 (random, seed 5002)``."""
    blind = row["blind"]
    if blind["found"]:
        return f"{blind['seconds']:.0f} s, run {blind['runs']} ({blind['scenario']}, seed {blind['seed']})"
    if not blind["ended"]:
        return "not hunted"
    others = ", ".join(f"{count} {state}" for state, count in blind["others"].items())
    return f"**missed** in {blind['seconds']:.0f} s ({others})"


def markdown(data: Mapping[str, Any]) -> str:
    """A page for docs/."""
    return "\n".join(_markdown(data)) + "\n"


def _markdown(data: Mapping[str, Any]) -> Iterator[str]:
    totals, control = data["totals"], data["control"]
    yield "# The zoo: what we find of the bugs that were published"
    yield ""
    yield f"Measured {data['date']} at revision {data['revision']} by `{data['command']}` on {data['machine']}."
    yield "Times are seconds from the start of the command to the verdict of the run that found it, start and stop of"
    yield "the clusters included."
    yield ""
    yield f"- by their own scenarios: **{totals['own_found']} of {totals['own_hunted']}** rows (in 4 of 5 runs or more)"
    blind = data["plan"]["blind"]
    yield (
        f"- blind, by the suite `{blind['suite']}`, which knows no row, within {blind['budget']}, first attempt:"
        f" **{totals['blind_found']} of {totals['blind_hunted']}**"
    )
    verdicts = ", ".join(f"{count} {state}" for state, count in control["verdicts"].items())
    yield f"- controls (the same scenarios and seeds without a bug): {control['runs']} runs: {verdicts or 'none'}"
    yield ""
    yield "| row | bug | expected observer | own scenario: found | findings | blind: found after | findings | control |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in data["rows"]:
        checked = ", ".join(f"{count} {state}" for state, count in row["control"]["verdicts"].items()) or "not run"
        cells = [row["row"], row["name"], row["observer"], own_words(row), ", ".join(row["own"]["kinds"])]
        yield f"| {' | '.join([*cells, blind_words(row), ', '.join(row['blind']['kinds']), checked])} |"
    lost = missed(data)
    yield ""
    yield "Missed by one of the two ways: " + (", ".join(row["name"] for row in lost) or "none") + "."
    if control["not_valid"]:
        yield ""
        yield "Controls that were not valid:"
        yield ""
        for told in control["not_valid"]:
            yield f"- {told['scenario']}, seed {told['seed']}: {told['state']}: {told['said']}"
