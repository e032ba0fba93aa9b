"""A node that dies at its n-th operation comes back with every write that it acknowledged.

The walk is benchmarks/fail_points.py, in a process of its own because it moves into namespaces for good. The short
walks are part of every check; the whole ones (1 to 50) are slow tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.substrates.files import why_refused
from tests.integration.persons import as_person, writable

ROOT = Path(__file__).parents[2]
needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None, reason="no etcd here")
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts as root"),
    pytest.mark.skipif(why_refused() is not None, reason="no /dev/fuse here"),
]


@pytest.fixture
def anywhere() -> Iterator[Path]:
    """A new folder that everybody can reach (pytest's own are for one person only)."""
    with tempfile.TemporaryDirectory(prefix="capsize-points-") as scratch:
        yield Path(scratch)


def walk(person: str, scratch: Path, *words: str) -> list[dict[str, Any]]:
    """The rows of a walk."""
    scratch.chmod(0o755)
    program = [sys.executable, "-m", "benchmarks.fail_points", "--json", *words]
    argv, environment = as_person(person, program, scratch)
    environment = {**environment, "TMPDIR": str(writable(person, scratch))}
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows, done.stderr
    return rows


def judged(rows: list[dict[str, Any]]) -> list[list[str]]:
    """What was wrong at each point; all were reached, and something was acknowledged before some of them."""
    assert [row["number"] for row in rows if not row["where"]] == []
    assert max(row["acknowledged"] for row in rows) > 0
    return [row["failures"] for row in rows if row["failures"]]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("person", "words"),
    [
        ("root", "--at fsync --numbers 1 2 5 16 33"),
        ("root", "--at write --torn --bytes 700 --numbers 2 9"),
        ("ordinary", "--at rename --side after --numbers 1 2"),
    ],
)
def test_a_node_comes_back_from_where_its_power_failed(person: str, words: str, anywhere: Path) -> None:
    """Its first syncs, its log, its snapshots; for somebody without rights, too."""
    assert judged(walk(person, anywhere, "--power", *words.split())) == []


@pytest.mark.integration
def test_a_node_that_answers_before_it_syncs_is_caught(anywhere: Path) -> None:
    """The walk can fail: a planted bug loses what it acknowledged."""
    rows = walk("root", anywhere, "--power", "--bug", "ack-before-fsync", "--numbers", "6")
    assert any("is None" in failure for row in rows for failure in row["failures"])


SLOW = [
    "--at fsync",
    "--at fsync --power",
    "--at fsync --side after --power",
    "--at write --power",
    "--at write --side after --power",
    "--at write --torn --bytes 700",
    "--at fsync --nodes 3 --power",
    "--at rename --power --last 6",
    "--at rename --side after --power --last 6",
    "--at unlink --power --last 6",
    "--at create --side after --power --last 6",
    pytest.param("--system etcd --nodes 3 --at fsync --power", marks=needs_etcd),
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("words", SLOW)
def test_a_node_comes_back_from_every_point(words: str, anywhere: Path) -> None:
    """Of its start and its first writes."""
    assert judged(walk("root", anywhere, *words.split())) == []
