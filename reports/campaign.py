"""The page of a campaign: what ran, what broke first, what was left out; a matrix of scenarios and seeds that leads to
each run's page.

Made from ``plan.json`` and ``results.jsonl`` of the campaign's folder, also while the campaign still runs or after it
was killed: what is planned and has no result is shown as not run, never as passed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from checkers.runs.ledger import merge_ledgers
from checkers.verdict import Validity, worst
from reports.lenient import integer, mapping, read_lines, read_object, sequence, text, texts
from reports.record import parse_validity
from reports.templating import STATIC, environment
from reports.words import plural

LEFT_OUT = "left-out"
FAILED = "failed"
"""The harness or the machine failed: no verdict."""

SIGNS = {"valid": "✓", "invalid": "✗", "unknown": "?", FAILED: "!", LEFT_OUT: "·"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One planned run and what became of it. ``state`` is a validity, :data:`FAILED` or :data:`LEFT_OUT`."""

    number: int
    scenario: str
    seed: str
    state: str
    sentence: str = ""
    kinds: tuple[str, ...] = ()
    seconds: float | None = None
    exit_code: int | None = None
    href: str = ""

    @property
    def sign(self) -> str:
        """Stands beside the colour."""
        return SIGNS[self.state]

    @property
    def words(self) -> str:
        """For a tooltip and a screen reader."""
        state = {FAILED: "no verdict", LEFT_OUT: "not run"}.get(self.state, self.state)
        return f"{self.scenario} seed {self.seed}: {state}. {self.sentence}".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Campaign:
    """A campaign's folder, parsed."""

    folder: Path
    suite: str
    started: str
    budget_s: float | None
    entries: tuple[Entry, ...]
    ledger: Mapping[str, int]
    problems: tuple[str, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many entries are in each state."""
        return Counter(entry.state for entry in self.entries)

    @property
    def state(self) -> str:
        """The worst that happened: invalid, failed, unknown, valid; left-out when nothing ran."""
        if self.counts.get(FAILED) and not self.counts.get("invalid"):
            return FAILED
        verdicts = [verdict for entry in self.entries if (verdict := parse_validity(entry.state)) is not None]
        return worst(verdicts).value if verdicts else LEFT_OUT

    @property
    def sentence(self) -> str:
        """What the campaign comes to."""
        counts = self.counts
        ran = len(self.entries) - counts.get(LEFT_OUT, 0)
        words = {"invalid": "invalid", FAILED: "without a verdict", "unknown": "unknown", "valid": "valid"}
        parts = [f"{counts[state]} {words[state]}" for state in words if counts.get(state)]
        tail = f"; {counts[LEFT_OUT]} not run" if counts.get(LEFT_OUT) else ""
        return f"{plural(ran, 'run')}: {', '.join(parts)}{tail}." if ran else "No run of this campaign has ended."

    @property
    def first(self) -> Entry | None:
        """What failed first: an invalid run if there is one, else one without a verdict, else an unknown one."""
        for state in ("invalid", FAILED, "unknown"):
            found = [entry for entry in self.entries if entry.state == state]
            if found:
                return found[0]
        return None


def build(folder: Path) -> Path:
    """Writes ``summary.html`` into the campaign's folder and returns its path.

    Raises:
        OSError: the page cannot be written.
    """
    path = folder / "summary.html"
    temporary = folder / "summary.html.tmp"
    temporary.write_text(render(read_campaign(folder)), encoding="utf-8", errors="replace")
    os.replace(temporary, path)
    return path


def render(campaign: Campaign) -> str:
    """The page as text."""
    scenarios = list(dict.fromkeys(entry.scenario for entry in campaign.entries))
    seeds = list(dict.fromkeys(entry.seed for entry in campaign.entries))
    cells: dict[tuple[str, str], list[Entry]] = {}
    for entry in campaign.entries:
        cells.setdefault((entry.scenario, entry.seed), []).append(entry)
    return (
        environment()
        .get_template("campaign.html")
        .render(
            campaign=campaign,
            scenarios=scenarios,
            seeds=sorted(seeds, key=lambda seed: (len(seed), seed)),
            cells=cells,
            failed=[entry for entry in campaign.entries if entry.state in ("invalid", FAILED, "unknown")],
            left_out=[entry for entry in campaign.entries if entry.state == LEFT_OUT],
            seconds=sum(entry.seconds or 0 for entry in campaign.entries),
            signs=SIGNS,
            style=Markup((STATIC / "style.css").read_text(encoding="utf-8")),
        )
    )


def read_campaign(folder: Path) -> Campaign:
    """Reads a campaign's folder, whatever state it is in."""
    plan, plan_problem = read_object(folder / "plan.json")
    rows, rows_problem = read_lines(folder / "results.jsonl")
    plan = mapping(plan)
    planned = [_identity(mapping(run)) for run in sequence(plan.get("runs"))]
    budget = plan.get("budget_s")
    return Campaign(
        folder=folder,
        suite=text(plan.get("suite")) or folder.parent.name,
        started=text(plan.get("started")) or folder.name,
        budget_s=float(budget) if isinstance(budget, int | float) else None,
        entries=tuple(_entries(planned, rows)),
        ledger=_ledger(rows),
        problems=tuple(problem for problem in (plan_problem, rows_problem) if problem),
    )


def _identity(row: Mapping[str, Any]) -> tuple[str, str]:
    return text(row.get("scenario"), "?"), text(row.get("seed"), "?")


def _entries(planned: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> Sequence[Entry]:
    """Results in the order in which they came, then what is planned and has none (the same scenario and seed may be
    planned twice).
    """
    entries = [_entry(number, row) for number, row in enumerate(rows, start=1)]
    missing = Counter(planned) - Counter((entry.scenario, entry.seed) for entry in entries)
    left = [Entry(number=0, scenario=scenario, seed=seed, state=LEFT_OUT) for scenario, seed in missing.elements()]
    return [*entries, *left]


def _entry(number: int, row: Mapping[str, Any]) -> Entry:
    scenario, seed = _identity(row)
    verdict = parse_validity(row.get("validity"))
    folder, seconds = text(row.get("folder")), row.get("seconds")
    return Entry(
        number=number,
        scenario=scenario,
        seed=seed,
        state=_state(verdict, integer(row.get("exit_code"))),
        sentence=text(row.get("error")) or text(row.get("sentence")),
        kinds=texts(row.get("kinds")),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        exit_code=integer(row.get("exit_code")),
        href=_href(folder),
    )


def _state(verdict: Validity | None, exit_code: int | None) -> str:
    """A run that claims to be valid but did not exit so has not proved anything."""
    if verdict is None or (verdict is Validity.VALID and exit_code not in (0, None)):
        return FAILED
    return verdict.value


def _href(folder: str) -> str:
    """The run's page as seen from ``campaigns/<suite>/<time>/``; nothing for a folder that would lead elsewhere."""
    parts = folder.split("/")
    if not folder or folder.startswith("/") or ".." in parts:
        return ""
    return f"../../../{quote(folder)}/report.html"


def _ledger(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, int]:
    """Sums of the "sometimes" facts over all runs."""
    return merge_ledgers(
        {
            name: integer(int(value) if isinstance(value, bool) else value) or 0
            for name, value in mapping(row.get("ledger")).items()
        }
        for row in rows
    )


def campaign_folders(root: Path) -> Sequence[Path]:
    """Every campaign's folder under the root of runs, newest first."""
    base = root / "campaigns"
    if not base.is_dir():
        return ()
    found = [
        path for suite in base.iterdir() if suite.is_dir() for path in suite.iterdir() if (path / "plan.json").is_file()
    ]
    return sorted(found, key=lambda path: path.name, reverse=True)
