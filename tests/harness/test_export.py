"""``capsize export``: where the file goes, what is refused, and that nothing half-written is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from checkers import History
from harness.cli import main

EVENTS: list[dict[str, Any]] = [
    {"time": 1, "process": 0, "type": "invoke", "f": "write", "value": 1, "key": "a"},
    {"time": 2, "process": 0, "type": "ok", "f": "write", "value": 1, "key": "a"},
    {"time": 3, "process": 1, "type": "invoke", "f": "read", "value": None, "key": "a"},
    {"time": 4, "process": 1, "type": "ok", "f": "read", "value": 1, "key": "a"},
]


@pytest.fixture(name="source")
def source_(tmp_path: Path) -> Path:
    """A history of two operations."""
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    return path


def capsize(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["capsize", "export", *arguments])
    try:
        main()
    except SystemExit as done:
        return int(done.code or 0)
    return 0


@pytest.mark.parametrize("to", ["edn", "parquet"])
def test_the_export_lies_beside_its_source(to: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the suffix of its format; where it is gets said."""
    assert capsize(monkeypatch, str(source), "--to", to) == 0
    assert {path.name for path in source.parent.iterdir()} == {"history.jsonl", f"history.{to}"}
    if to == "edn":
        assert list(History.read(source.with_suffix(".edn")).operations) == list(History.read(source).operations)
    else:
        assert pd.read_parquet(source.with_suffix(".parquet"))["f"].tolist() == ["write", "read"]


def test_the_folder_of_a_run_means_its_history(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for `capsize check`."""
    assert capsize(monkeypatch, str(source.parent), "--to", "edn") == 0
    assert source.with_suffix(".edn").exists()


def test_a_dash_prints(source: Path) -> None:
    """Only the history on standard output: it can be piped."""
    command = [sys.executable, "-m", "harness", "export", str(source), "--to", "jsonl", "--out", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [{name: event[name] for name in EVENTS[0]} for event in printed] == EVENTS
    assert [event["index"] for event in printed] == [0, 1, 2, 3]


def test_a_torn_last_line_is_said(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was cut is not in the export, and that is no secret; not on standard output where that is the history."""
    with source.open("a") as file:
        file.write('{"time":5,"proc')
    assert capsize(monkeypatch, str(source), "--to", "edn") == 0
    assert "line 5: the last line is torn and was cut" in capsys.readouterr().out


def test_nothing_is_written_over_unasked(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--force writes over an earlier export, but never over the source."""
    target = source.with_suffix(".edn")
    target.write_text("mine")
    assert capsize(monkeypatch, str(source), "--to", "edn") == 64
    assert "--force" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert capsize(monkeypatch, str(source), "--to", "edn", "--force") == 0
    assert target.read_text().startswith("{:index 0")
    before = source.read_text()
    assert capsize(monkeypatch, str(source), "--to", "jsonl", "--force") == 64
    assert "is the history itself" in capsys.readouterr().err
    assert source.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jsonl", "--to", "edn"], "no such file"),
        (["{folder}/empty", "--to", "edn"], "no history.jsonl"),
        (["{source}", "--to", "xml"], "'xml' is not one of"),
        (["{source}"], "--to"),
        (["{source}", "--to", "parquet", "--out", "-"], "Parquet is no text"),
        (["{source}", "--to", "edn", "--out", "{folder}"], "is a folder"),
        (["{source}", "--to", "edn", "--out", "{folder}/no/file.edn"], "there is no folder"),
        (["{broken}", "--to", "edn"], "line 1: process 0 has ok without an invocation"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(
    arguments: list[str],
    words: str,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 64, what is wrong, and no file."""
    (source.parent / "empty").mkdir()
    broken = source.with_name("broken.jsonl")
    broken.write_text(json.dumps(EVENTS[1]) + "\n")
    places = {"source": str(source), "folder": str(source.parent), "broken": str(broken)}
    assert capsize(monkeypatch, *(argument.format(**places) for argument in arguments)) == 64
    assert words in capsys.readouterr().err
    assert {path.name for path in source.parent.iterdir()} == {"empty", "broken.jsonl", "history.jsonl"}


def test_a_check_imports_no_heavy_library() -> None:
    """Judging a small file takes a fifth of a second; each of these would double that."""
    heavy = {"pandas", "pyarrow", "matplotlib", "numba", "scipy", "grpc", "docker"}
    code = (
        f"import harness.cli, harness.commands.check, harness.commands.export, sys; print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
