"""``runs/catalog.sqlite``: one row a run, so that a thousand runs are listed without opening a thousand folders.

The folders are the truth. The catalog is brought up to date by looking at each run's two small files (``run.json``,
``verdict.json``) and reading those whose time or size changed, and it can be deleted at any moment: a file that is
damaged, or of another version, is made anew. Several processes may use it at once (write-ahead log, one writer, the
others wait); where nothing can be written it is kept in memory.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reports.folder import RunFolder
from reports.lenient import integer, mapping, read_object, sequence, text
from reports.verdicts import NONE

FILE_NAME = "catalog.sqlite"
VERSION = 2
BUSY_S = 10.0
NOT_SCENARIOS = ("campaigns", "latest")

COLUMNS = (
    *("path", "scenario", "system", "substrate", "seed", "bug", "started", "seconds", "validity", "sentence"),
    *("operations_ok", "kinds", "revision", "stamp"),
)
SORTABLE = ("started", "scenario", "system", "substrate", "seed", "bug", "seconds", "validity", "operations_ok", "path")
FILTERS = ("validity", "scenario", "system", "substrate", "bug")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  path TEXT PRIMARY KEY, scenario TEXT, system TEXT, substrate TEXT, seed TEXT, bug TEXT, started TEXT, seconds REAL,
  validity TEXT, sentence TEXT, operations_ok INTEGER, kinds TEXT, revision TEXT, stamp TEXT NOT NULL
)
"""

# Worst first when sorted downwards, as for everything that judges.
_ORDER = "CASE validity WHEN 'valid' THEN 0 WHEN 'none' THEN 1 WHEN 'unknown' THEN 2 ELSE 3 END"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """A run, as lists show it: ``path`` relative to the root, ``validity`` ``none`` for a run without a verdict."""

    path: str
    scenario: str
    system: str
    substrate: str
    seed: str
    bug: str
    started: str
    seconds: float | None
    validity: str
    sentence: str
    operations_ok: int | None
    kinds: str
    revision: str
    stamp: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """What to list. ``equal`` maps names of :data:`FILTERS` to values; ``words`` is looked for in all texts; ``limit``
    None is no limit.
    """

    equal: Mapping[str, str] = field(default_factory=dict)
    words: str = ""
    sort: str = "started"
    descending: bool = True
    limit: int | None = 50
    offset: int = 0


class Catalog:
    """The catalog of the runs under ``root``. Every call opens and closes its own connection: processes and threads may
    share the file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._memory: sqlite3.Connection | None = None

    @property
    def file(self) -> Path:
        """Where the rows are kept."""
        return self.root / FILE_NAME

    def refresh(self) -> None:
        """Reads what is new or changed and forgets what is gone."""
        with self._connected() as connection:
            known = dict(connection.execute("SELECT path, stamp FROM runs"))
            found = {folder.path.relative_to(self.root).as_posix(): folder for folder in run_folders(self.root)}
            stamps = {path: _stamp(folder) for path, folder in found.items()}
            changed = [_row(path, found[path], stamp) for path, stamp in stamps.items() if known.get(path) != stamp]
            gone = [(path,) for path in known if path not in found]
            if not changed and not gone:
                return
            marks = ", ".join("?" * len(COLUMNS))
            rows = [tuple(getattr(row, column) for column in COLUMNS) for row in changed]
            with connection:
                connection.executemany("DELETE FROM runs WHERE path = ?", gone)
                connection.executemany(f"INSERT OR REPLACE INTO runs ({', '.join(COLUMNS)}) VALUES ({marks})", rows)

    def runs(self, query: Query = Query()) -> Sequence[RunRow]:
        """The runs that a query asks for, in its order; runs of the same rank come newest first."""
        where, values = _where(query)
        column = query.sort if query.sort in SORTABLE else "started"
        order = {"validity": _ORDER, "seed": "CAST(seed AS INTEGER)"}.get(column, column)
        direction = "DESC" if query.descending else "ASC"
        page = (-1 if query.limit is None else query.limit, query.offset)
        ranked = f"ORDER BY {order} {direction}, started DESC, path LIMIT ? OFFSET ?"
        statement = f"SELECT {', '.join(COLUMNS)} FROM runs {where} {ranked}"
        with self._connected() as connection:
            return [
                RunRow(**dict(zip(COLUMNS, row, strict=True)))
                for row in connection.execute(statement, (*values, *page))
            ]

    def count(self, query: Query = Query()) -> int:
        """How many runs a query finds, on all pages."""
        where, values = _where(query)
        with self._connected() as connection:
            return int(connection.execute(f"SELECT COUNT(*) FROM runs {where}", values).fetchone()[0])

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Every value that each filter can have."""
        with self._connected() as connection:
            return {name: _distinct(connection, name) for name in FILTERS}

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """An open catalog of the right version. One that is damaged is deleted and made anew; it holds nothing that the
        folders don't.
        """
        if self._memory is not None:
            yield self._memory
            return
        try:
            connection = self._open()
        except sqlite3.OperationalError:  # cannot be written here: no permission, or a file system without locks
            connection = self._memory = _prepared(sqlite3.connect(":memory:", check_same_thread=False))
        except sqlite3.DatabaseError:
            self._remove()
            connection = self._open()
        try:
            yield connection
        finally:
            if connection is not self._memory:
                connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=BUSY_S, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("damaged")
            return _prepared(connection)
        except sqlite3.Error:
            connection.close()
            raise

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm"):
            self.file.with_name(FILE_NAME + ending).unlink(missing_ok=True)


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The connection with its table; rows of another version are dropped, to be read from the folders again."""
    if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone() != (
                VERSION,
            ):  # another process may have been first
                connection.execute("DROP TABLE IF EXISTS runs")
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA user_version = {VERSION}")
    return connection


def _distinct(connection: sqlite3.Connection, name: str) -> Sequence[str]:
    statement = f"SELECT DISTINCT {name} FROM runs WHERE {name} != '' ORDER BY {name} LIMIT 500"
    return [row[0] for row in connection.execute(statement)]


def _where(query: Query) -> tuple[str, list[str]]:
    clauses = [(f"{name} = ?", [value]) for name, value in query.equal.items() if name in FILTERS and value]
    for word in query.words.split()[:8]:
        escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        columns = ("path", "sentence", "kinds", "bug", "seed", "revision")
        clauses.append(
            (
                f"({' OR '.join(f'{column} LIKE ? ESCAPE char(92)' for column in columns)})",
                [f"%{escaped}%"] * len(columns),
            )
        )
    if not clauses:
        return "", []
    return f"WHERE {' AND '.join(clause for clause, _ in clauses)}", [
        value for _, values in clauses for value in values
    ]


def run_folders(root: Path) -> Iterator[RunFolder]:
    """Every run's folder under the root: ``<scenario>/<start time>-<seed>``. Links are not followed."""
    for scenario in _folders(root):
        if scenario.name not in NOT_SCENARIOS:
            yield from (
                RunFolder(path)
                for path in _folders(scenario)
                if (path / "run.json").is_file() or (path / "history.jsonl").is_file()
            )


def _folders(path: Path) -> Sequence[Path]:
    try:
        return sorted(
            entry
            for entry in path.iterdir()
            if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")
        )
    except OSError:
        return ()


def _stamp(folder: RunFolder) -> str:
    """Changes whenever a file that the row is made from does."""
    return " ".join(_file_stamp(path) for path in (folder.run, folder.verdict))


def _file_stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "-"
    return f"{status.st_mtime_ns}:{status.st_size}"


def _row(path: str, folder: RunFolder, stamp: str = "") -> RunRow:
    run, verdict = mapping(read_object(folder.run)[0]), mapping(read_object(folder.verdict)[0])
    validity = text(verdict.get("validity"))
    results = [mapping(result) for result in sequence(verdict.get("results"))]
    kinds = {text(mapping(finding).get("kind")) for result in results for finding in sequence(result.get("findings"))}
    return RunRow(
        path=path,
        scenario=_clean(text(run.get("scenario")) or folder.path.parent.name),
        system=_clean(text(run.get("system"))),
        substrate=_clean(text(run.get("substrate"))),
        seed=_clean(text(run.get("seed"))),
        bug=_clean(text(run.get("bug"))),
        started=_clean(text(run.get("started")) or folder.path.name),
        seconds=_seconds(run),
        validity=validity if validity in ("valid", "invalid", "unknown") else NONE,
        sentence=_clean(text(verdict.get("sentence"))),
        operations_ok=_operations_ok(results),
        kinds=_clean(", ".join(sorted(kinds))),
        revision=_clean(text(mapping(run.get("git")).get("revision"))),
        stamp=stamp,
    )


def _clean(words: str) -> str:
    """What SQLite and a terminal can hold: no lone surrogates, no control characters."""
    return "".join(c if c.isprintable() else " " for c in words.encode(errors="replace").decode())[:2000]


def _seconds(run: Mapping[str, Any]) -> float | None:
    """From the first phase's begin to the last one's end, in seconds."""
    phases = [mapping(phase) for phase in sequence(run.get("phases"))]
    begins = [begin for phase in phases if (begin := integer(phase.get("begin_ns"))) is not None]
    ends = [end for phase in phases if (end := integer(phase.get("end_ns"))) is not None]
    return (max(ends) - min(begins)) / 1e9 if begins and ends else None


def _operations_ok(results: Sequence[Mapping[str, Any]]) -> int | None:
    """The acknowledged operations, as the checker named ``statistics`` counted them."""
    figures = next(
        (mapping(result.get("statistics")) for result in results if result.get("checker") == "statistics"), {}
    )
    return integer(mapping(mapping(figures.get("outcomes")).get("ok")).get("count"))
