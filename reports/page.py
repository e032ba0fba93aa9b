"""The page of a run: one self-contained file, made from the files of the run's folder and nothing else.

It asks nothing of a network (its own policy forbids it), so it opens from a disk and from a ticket, years later. It is
written for somebody who was not there: the verdict in a sentence, then why, then everything that was seen. A part that
is missing or cannot be drawn becomes a note in its place; no part can change a verdict, and none can keep the page from
being written (design, section 6).

Everything that a node, a history or a scenario said is hostile text: the templates escape by default, and the data for
the script is JSON with every character escaped that could end the element. The script is allowed by its hash, so
nothing that slipped through could run.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from markupsafe import Markup

from checkers.history import History, HistoryError
from checkers.verdict import Finding
from reports import words
from reports.drawing import Drawing, Surroundings, draw
from reports.folder import RunFolder
from reports.lenient import integer, mapping, sequence, text
from reports.outcomes import error_table, outcome_words, renamed
from reports.packing import arrange, pack
from reports.quotes import Quote, evidence_rows, quotes
from reports.record import Fault, Record, read_record
from reports.roles import Roles, read_roles
from reports.tables import Table, tabulate
from reports.telling import arranged, attempts, how_many, meanwhile, span
from reports.templating import STATIC, environment
from reports.testimony import Scene, picture
from reports.titles import lost_a_vote, title
from reports.verdicts import Headline, headline

logger = logging.getLogger(__name__)

PLOTTED_MAX = 2_000_000
"""A longer history is not plotted: the page has to be there in seconds."""

LISTED_LAST = ("statistics", "availability", "ledger")
"""Checkers whose figures have a place of their own on the page."""

HAVE_THEIR_PLACE = (("availability", "faults"), ("availability", "gap_from_ns"), ("statistics", "errors"))
"""Figures that stand in the table of faults, and those that the page makes from the history."""

OPEN_FINDINGS_MAX = 6
"""More findings are there, but folded: the first ones are what is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One finding as the page shows it."""

    number: int
    finding: Finding
    title: str
    drawing: Drawing | None
    quotes: Sequence[Quote]
    scene: Scene | None
    evidence: Sequence[tuple[str, str]]
    meanwhile: Sequence[str]
    aside: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileLink:
    """A file of the run's folder, by a path relative to the page."""

    name: str
    href: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Something on the page that may be missing: its content, or the note that stands in its place."""

    content: Any = None
    note: str = ""


def build(folder: RunFolder) -> Path:
    """Writes ``report.html`` and returns its path.

    Raises:
        OSError: the page cannot be written.
    """
    page = render(folder)
    temporary = folder.page.with_suffix(".html.tmp")
    temporary.write_text(page, encoding="utf-8", errors="replace")
    os.replace(temporary, folder.page)
    return folder.page


def render(folder: RunFolder) -> str:
    """The page as text, from the files of the folder."""
    record = read_record(folder)
    history = _attempt("the history", lambda: _history(record))
    roles = _attempt(
        "the traces", lambda: read_roles(record), Roles(segments={}, notes=("The traces could not be read.",))
    )
    end_ns = _end_ns(record, history.content)
    findings = _attempt("the order of the findings", lambda: arranged(record), record.findings).content
    around = _around(record, roles.content, history.content, findings)
    script = (STATIC / "report.js").read_text(encoding="utf-8")
    return (
        environment()
        .get_template("report.html")
        .render(
            record=record,
            headline=headline(record),
            findings=[_shown(number, finding, record, around) for number, finding in enumerate(findings, start=1)],
            how_many=_attempt("the number of findings", lambda: how_many(record), "").content,
            roles=roles.content,
            history=history,
            data=_json(_data(record, findings, roles.content, end_ns)),
            packed=_packed(history, end_ns),
            plot=_plot(record, history, end_ns),
            faults=_faults(record),
            statistics=_statistics(record, history.content),
            outcomes=outcome_words(history.content) if history.content is not None else (),
            errors=error_table(history.content) if history.content is not None else None,
            files=_files(folder),
            end_ns=end_ns,
            open_max=OPEN_FINDINGS_MAX,
            title=_title(record, headline(record)),
            style=Markup((STATIC / "style.css").read_text(encoding="utf-8")),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _attempt(name: str, make: Callable[[], Any], instead: Any = None) -> Part:
    """The part, or a note that says why it is not there. The broad except is this page's edge: no part may take the
    others with it.
    """
    try:
        return Part(content=make())
    except HistoryError as error:
        return Part(content=instead, note=str(error))
    except Exception as error:
        logger.exception("%s could not be shown", name)
        return Part(content=instead, note=f"{name.capitalize()} can’t be shown: {type(error).__name__}: {error}")


def _history(record: Record) -> History | None:
    if not record.folder.history.exists():
        raise HistoryError("history.jsonl", None, "there is no such file", "The run ended before its first operation.")
    return History.read(record.folder.history)


def _end_ns(record: Record, history: History | None) -> int:
    """The end of the time axis: the last thing that happened."""
    last = [fault.end_ns or fault.begin_ns or 0 for fault in record.faults]
    last += [
        phase.end_ns or phase.begin_ns for phase in record.phases if phase.name in ("load", "recover", "final-reads")
    ]
    if history is not None and len(history):
        last += [int(history.call_ns[-1]), int(history.return_ns.max())]
    return max([1_000_000, *last])


def _title(record: Record, head: Headline) -> str:
    return f"{head.word}: {record.name}, seed {text(record.run.get('seed'), '?')}"


def _around(record: Record, roles: Roles, history: History | None, findings: Sequence[Finding]) -> Surroundings:
    """What drawings say of operations beside what the findings hold."""
    workers: Mapping[int, int] = {}
    if history is not None and len(history):
        workers = _attempt("the lanes", lambda: arrange(history).worker_of(history), {}).content
    return Surroundings(
        role_at=roles.at,
        told=roles.told,
        worker_of=workers,
        attempts_of=_attempt("the numbers of attempts", lambda: attempts(record, findings), {}).content,
    )


def _shown(number: int, finding: Finding, record: Record, around: Surroundings) -> Shown:
    quoted = _attempt("the quoted lines", lambda: quotes(finding, record.folder, record.start_monotonic_ns), ())
    drawing = _attempt("the drawing", lambda: draw(finding, around))
    scene = _attempt("the picture of the traces", lambda: picture(quoted.content, record.faults, finding))
    return Shown(
        number=number,
        finding=finding,
        title=title(finding),
        drawing=drawing.content,
        quotes=quoted.content,
        scene=scene.content,
        evidence=tuple(evidence_rows(finding)),
        meanwhile=_attempt("the faults meanwhile", lambda: meanwhile(finding, record.faults), ()).content,
        aside=_aside(finding, record),
    )


def _aside(finding: Finding, record: Record) -> str:
    """That a forgotten vote was not given again, where the traces say so: a danger, but no harm in this run."""
    if (
        lost_a_vote(finding)
        and mapping(record.statistics.get("raft", {}).get("violations")).get("one vote a term") == 0
    ):
        return "In this run, no node was seen to vote twice in one term."
    return ""


def _data(record: Record, findings: Sequence[Finding], roles: Roles, end_ns: int) -> Mapping[str, Any]:
    """What the timeline's script needs beside the history."""
    return {
        "end_ns": end_ns,
        "nodes": record.nodes,
        "faults": [*_bands(record, end_ns)],
        "roles": {
            node: [[segment.role, segment.term, segment.from_ns, segment.to_ns] for segment in segments]
            for node, segments in roles.segments.items()
        },
        "findings": [
            {
                "number": number,
                "kind": finding.kind,
                "time": _finding_time(finding, record),
                "span": _attempt("the place", partial(span, finding, record, record.faults)).content,
                "operations": [operation.index for operation in finding.operations],
            }
            for number, finding in enumerate(findings, start=1)
        ],
    }


def _bands(record: Record, end_ns: int) -> Iterator[Mapping[str, Any]]:
    """What lies across the timeline: the faults, and the time for which everything stood still to be looked at."""
    for fault in record.faults:
        if fault.begin_ns is not None:
            yield {
                "id": fault.label,
                "family": fault.family,
                "summary": fault.summary,
                "targets": fault.targets,
                "begin": fault.begin_ns,
                "end": fault.end_ns if fault.end_ns is not None else end_ns,
                "hit": fault.in_force_ns if fault.in_force_ns is not None else fault.begin_ns,
                "down": _down(fault),
            }
    freeze = record.freeze
    if freeze is not None:
        end = freeze.to_ns if freeze.to_ns is not None else end_ns
        band = {"family": "freeze", "targets": freeze.nodes, "begin": freeze.from_ns, "end": end, "hit": freeze.from_ns}
        yield {"id": "frozen", "summary": "for inspection: no fault", **band}


def _down(fault: Fault) -> str:
    """What is written into the hole in which a node does not run; empty if it runs, or is down for a while only."""
    if fault.parameters.get("how") in ("rolling", "rotating"):
        return ""
    if fault.family == "disk":
        dies = fault.parameters.get("crash") is not None or fault.parameters.get("kind") in ("crash", "torn-write")
        return "died" if dies else ""
    return {"kill": "killed", "power": "no power", "rot": "down"}.get(fault.family, "")


def _finding_time(finding: Finding, record: Record) -> int | None:
    """When a finding was provable; for one that rests on trace lines, when its last line was written."""
    if finding.time_ns is not None or not record.start_monotonic_ns:
        return finding.time_ns
    lines = sequence(finding.evidence.get("lines"))
    times = [at for line in lines if (at := integer(mapping(line).get("monotonic_ns"))) is not None]
    return max(times) - record.start_monotonic_ns if times else None


def _json(value: Any) -> Markup:
    """JSON that cannot end the element that it stands in, whatever the strings in it are."""
    words_ = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    for character in "<>&\u2028\u2029":
        words_ = words_.replace(character, f"\\u{ord(character):04x}")
    return Markup(words_)


def _packed(history: Part, end_ns: int) -> Part:
    if history.content is None:
        return Part(note=history.note)
    return _attempt("the timeline", lambda: pack(history.content, arrange(history.content), end_ns))


def _plot(record: Record, history: Part, end_ns: int) -> Part:
    if history.content is None:
        return Part(note=history.note)
    if not len(history.content):
        return Part(note="No operation was invoked, so there is nothing to plot.")
    if len(history.content) > PLOTTED_MAX:
        return Part(note=f"More than {words.count(PLOTTED_MAX)} operations are not plotted.")

    def make() -> Markup:
        from reports.plots import plot  # late: matplotlib takes half a second to import

        if record.freeze is None:
            return Markup(plot(history.content, record.faults, end_ns))
        # A person may have looked for minutes: to scale, seconds of load would be a line at the edge.
        before = history.content.select(history.content.call_ns < record.freeze.from_ns)
        return Markup(plot(before, record.faults, record.freeze.from_ns))

    return _attempt("the plot", make)


def _faults(record: Record) -> Sequence[Mapping[str, Any]]:
    """The faults with what the availability checker counted for each."""
    counted = record.statistics.get("availability", {}).get("faults")
    rows = {str(row.get("id")): row for row in map(mapping, sequence(counted))}
    rows |= {str(name): mapping(row) for name, row in mapping(counted).items()}
    return [{"fault": fault, "service": tuple(_served(rows.get(str(fault.number), {})))} for fault in record.faults]


def _served(row: Mapping[str, Any]) -> Iterator[str]:
    """How the system served during one fault, as far as that was counted."""
    figures = {name: value for name, value in row.items() if isinstance(value, int | float)}
    if "longest_gap_ms" in figures:
        since = integer(figures.get("gap_from_ns"))
        begin = f", from {words.moment(since)}" if since is not None else ""
        yield f"longest gap {words.duration(figures['longest_gap_ms'] * 1e6)}{begin}"
    if "next_ok_ms" in row:
        after = figures.get("next_ok_ms")
        yield "no later success" if after is None else f"first success after {words.duration(after * 1e6)}"
    if "operations" in figures:
        ok = f", {words.count(figures['ok'])} ok" if "ok" in figures else ""
        yield f"{words.plural(int(figures['operations']), 'operation')}{ok}"


def _statistics(record: Record, history: History | None) -> Mapping[str, Sequence[Table]]:
    """Tables of each checker's figures. The ledger and the faults' availability have a section of their own."""
    found: dict[str, Sequence[Table]] = {}
    names = [name for name in LISTED_LAST[:2] if name in record.statistics] + [
        name for name in record.statistics if name not in LISTED_LAST
    ]
    for name in names:
        figures = {key: value for key, value in record.statistics[name].items() if (name, key) not in HAVE_THEIR_PLACE}
        if name == "statistics":
            figures = dict(mapping(renamed(figures, history)))
        part = _attempt(f"the figures of {name}", partial(tabulate, figures), ())
        if part.content:
            found[name] = part.content
    return found


def _files(folder: RunFolder) -> Sequence[FileLink]:
    """Every file of the folder that a reader may want, the nodes' among them."""
    own = [folder.run, folder.scenario, folder.schedule, folder.history, folder.verdict, folder.log]
    nodes = [
        path
        for node in folder.node_names()
        for path in sorted(folder.node(node).iterdir())
        if path.suffix in (".log", ".jsonl")
    ]
    found = [path for path in own + nodes if path.is_file()]
    return [_link(path.relative_to(folder.path), path.stat().st_size) for path in found]


def _link(path: Path, size: int) -> FileLink:
    return FileLink(name=path.as_posix(), href=quote(path.as_posix()), size=size)
