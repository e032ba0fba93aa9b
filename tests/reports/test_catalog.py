"""The catalog: the folders are the truth, and whatever happens to the file, the list is right."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from reports import listing
from reports.catalog import FILE_NAME, Catalog, Query
from tests.reports import samples


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs: valid, invalid, killed."""
    samples.valid(tmp_path, operations=200)
    samples.invalid(tmp_path, operations=400)
    samples.killed(tmp_path)
    return tmp_path


def listed(root: Path, **query: object) -> list[str]:
    """The seeds that a fresh catalog lists."""
    catalog = Catalog(root)
    catalog.refresh()
    return [row.seed for row in catalog.runs(Query(**query))]  # type: ignore[arg-type]


def test_rows_say_what_the_folders_say(root: Path) -> None:
    """One row a run, with verdict, scenario, bug, figures and the kinds of its findings."""
    catalog = Catalog(root)
    catalog.refresh()
    row = catalog.runs(Query(equal={"validity": "invalid"}))[0]
    assert (row.scenario, row.system, row.substrate, row.seed, row.bug) == (
        "local-read",
        "raftkv",
        "process",
        "7",
        "local-read",
    )
    assert row.kinds == "stale read"
    assert row.path == "local-read/20261120T231502Z-7"
    assert row.operations_ok is not None
    assert row.operations_ok > 100
    assert row.seconds == pytest.approx(16.9)
    assert [row.validity for row in catalog.runs(Query(sort="validity"))] == ["invalid", "none", "valid"]


def test_filters_words_sorting_and_paging(root: Path) -> None:
    """Each narrows or orders the list; what makes no sense is ignored."""
    assert listed(root, equal={"scenario": "default"}, sort="seed", descending=False) == ["5", "42"]
    assert listed(root, words="old value") == ["7"]
    assert listed(root, words="100%_x") == []
    assert listed(root, sort="nonsense; DROP TABLE runs", equal={"path": "x"})
    assert len(listed(root, limit=2)) == 2
    assert listed(root, sort="seed", limit=1, offset=1) == ["7"]


def test_changes_are_seen(root: Path) -> None:
    """A run that gets its verdict, a new run and a deleted one show at the next refresh."""
    catalog = Catalog(root)
    catalog.refresh()
    (folder,) = root.glob("default/*-5")
    (folder / "verdict.json").write_text(json.dumps({"validity": "unknown", "sentence": "s", "results": []}))
    shutil.rmtree(next(root.glob("default/*-42")))
    samples.valid(root, operations=200, seed=43)
    catalog.refresh()
    assert {row.seed: row.validity for row in catalog.runs()} == {"5": "unknown", "7": "invalid", "43": "valid"}


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 300, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_catalog_is_made_anew(root: Path, content: bytes) -> None:
    """Whatever the file holds, the list is whole."""
    (root / FILE_NAME).write_bytes(content)
    assert sorted(listed(root), key=int) == ["5", "7", "42"]


def test_a_catalog_damaged_in_the_middle_is_made_anew(root: Path) -> None:
    """A torn page in a good file is found by looking, not by luck."""
    listed(root)
    path = root / FILE_NAME
    data = bytearray(path.read_bytes())
    data[4096 : 4096 + 2048] = b"\x55" * 2048
    path.write_bytes(bytes(data))
    assert sorted(listed(root), key=int) == ["5", "7", "42"]


def test_deleting_the_catalog_loses_nothing(root: Path) -> None:
    """It holds nothing that the folders don't."""
    before = listed(root)
    for path in root.glob(FILE_NAME + "*"):
        path.unlink()
    assert listed(root) == before


def test_many_at_once(root: Path) -> None:
    """Several threads that refresh and read at the same time all see the whole list."""
    seen: list[list[str]] = []
    threads = [threading.Thread(target=lambda: seen.append(listed(root))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(found, key=int) for found in seen] == [["5", "7", "42"]] * 8


def test_links_are_not_followed(root: Path) -> None:
    """runs/latest is a link to a run, not another run."""
    (root / "latest").symlink_to(next(root.glob("default/*-42")))
    (root / "default" / "again").symlink_to(next(root.glob("default/*-42")))
    assert sorted(listed(root), key=int) == ["5", "7", "42"]


def test_broken_runs_are_listed(tmp_path: Path) -> None:
    """A folder with a torn run.json is still a run, without a verdict."""
    folder = tmp_path / "default" / "x-1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_bytes(b'{"scenario": "\xff')
    assert listing.rows(tmp_path)[0][0] == "– no verdict"


def test_listing_rows(root: Path) -> None:
    """The rows of `capsize list`: sign and word, newest first, a cell for each column."""
    rows = listing.rows(root, limit=2)
    assert len(rows) == 2
    assert all(len(row) == len(listing.COLUMNS) for row in rows)
    assert {row[0] for row in listing.rows(root)} == {"✓ valid", "✗ invalid", "– no verdict"}
    assert listing.rows(root / "nowhere") == ()
