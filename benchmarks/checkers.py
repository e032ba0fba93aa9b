"""How fast the checkers judge, and in how much memory: one command prints the table.

    python -m benchmarks.checkers            # all rows (some minutes, most of them spent on making the histories)
    python -m benchmarks.checkers --quick    # the rows that are made in seconds

Every row runs in a process of its own, three times; the median is shown. The clock starts at a parsed history with
nothing precomputed, except in the rows that say whole process; the peak of memory is that of judging, with the history.
Beside the figures stand two of the machine: a fixed Python loop and a fixed numpy loop; compare ratios when you compare
machines. Porcupine's figures are constants measured on a like machine (2 cores).
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if sys.path[0] == str(ROOT / "benchmarks"):  # run as a script, this file would hide the package of the same name
    sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402

from benchmarks.histories import (  # noqa: E402
    Shape,
    contents,
    generate,
    grown_set,
    history_of,
    tens_of_millions,
    transactions,
    write_jsonl,
)
from checkers import Budget, History, Options, Result, check  # noqa: E402
from tests.checkers import things  # noqa: E402

VECTORS = ROOT.parent / "shared" / "vectors"

BUDGET = Budget(states=200_000_000, seconds=120.0, clock=time.monotonic)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. ``build`` makes the parsed histories, which are judged one after another."""

    work: str
    build: Callable[[], list[History]]
    model: str
    verdict: str
    goal_s: float
    goal_gb: float | None = None
    porcupine: str = "-"
    options: Mapping[str, Any] | None = None
    quick: bool = False


def _shape(**fields: Any) -> Callable[[], list[History]]:
    return lambda: [history_of(generate(Shape(**fields)))]


def _vectors(*names: str) -> Callable[[], list[History]]:
    return lambda: [History.read(path) for name in names for path in sorted(VECTORS.glob(name))]


MILLION = {"operations": 1_000_000, "concurrency": 50, "info": 0.01}
SMALL_VALUES = {"mix": "rwc", "values": 5}

ROWS: Mapping[str, Row] = {
    "small": Row(
        work="register, unique values, one key, 1,000 ops, c=20",
        build=_shape(operations=1_000, concurrency=20),
        model="register",
        verdict="valid",
        porcupine="gave up after 60 s",
        goal_s=0.3,
        quick=True,
    ),
    "million": Row(
        work="the same, 1,000,000 ops, c=50, 1 % info, valid",
        build=_shape(**MILLION),
        model="register",
        verdict="valid",
        porcupine="out of memory (9 GB) even at c=5",
        goal_s=0.3,
        goal_gb=1.0,
    ),
    "million-invalid": Row(
        work="the same, one stale read in the middle",
        build=_shape(**MILLION, stale="in middle"),
        model="register",
        verdict="invalid",
        porcupine="out of memory",
        goal_s=0.3,
        goal_gb=1.0,
    ),
    "million-cas": Row(
        work="cas-register, unique values, 1,000,000 ops, c=50, 1 % info",
        build=_shape(**MILLION, mix="rwc"),
        model="cas-register",
        verdict="valid",
        porcupine="out of memory",
        goal_s=0.3,
        goal_gb=1.0,
    ),
    "ten-million": Row(
        work="register, 10,000,000 ops, c=50, 1 % info",
        build=lambda: [tens_of_millions(10_000_000, 50, 0.01, 1)],
        model="register",
        verdict="valid",
        goal_s=4.0,
        goal_gb=6.0,
    ),
    "values-10k-10": Row(
        work="cas-register, values 0-4, 10,000 ops, c=10",
        build=_shape(operations=10_000, concurrency=10, **SMALL_VALUES),
        model="cas-register",
        verdict="valid",
        porcupine="0.5 s",
        goal_s=0.2,
        quick=True,
    ),
    "values-1k-20": Row(
        work="the same, 1,000 ops, c=20",
        build=_shape(operations=1_000, concurrency=20, **SMALL_VALUES),
        model="cas-register",
        verdict="valid",
        porcupine="1.6 s",
        goal_s=0.5,
        quick=True,
    ),
    "values-10k-20": Row(
        work="the same, 10,000 ops, c=20",
        build=_shape(operations=10_000, concurrency=20, **SMALL_VALUES),
        model="cas-register",
        verdict="valid",
        porcupine="out of memory",
        goal_s=5.0,
        quick=True,
    ),
    "values-10k-10-info": Row(
        work="the same, 10,000 ops, c=10, 1 % info",
        build=_shape(operations=10_000, concurrency=10, info=0.01, **SMALL_VALUES),
        model="cas-register",
        verdict="valid",
        porcupine="6.1 s",
        goal_s=6.0,
        quick=True,
    ),
    "etcd": Row(
        work="the 50 etcd logs of the vectors, in all",
        build=_vectors("porcupine-etcd/*.jsonl"),
        model="cas-register",
        verdict="mixed",
        porcupine="0.59 s in all",
        goal_s=0.5,
        quick=True,
    ),
    "kv": Row(
        work="kv c50-bad",
        build=_vectors("porcupine-kv/c50-bad.jsonl"),
        model="kv",
        verdict="invalid",
        porcupine="0.16 s",
        options={"initial": ""},
        goal_s=0.16,
        quick=True,
    ),
    "list-append": Row(
        work="list-append, 200,000 transactions, c=20, strict-serializable, valid",
        build=lambda: [transactions(200_000)],
        model="list-append",
        verdict="valid",
        porcupine="(Elle: 100-160 k txn/s on large machines)",
        goal_s=4.0,
        goal_gb=2.0,
    ),
    "list-append-invalid": Row(
        work="the same, one stale read",
        build=lambda: [transactions(200_000, stale=True)],
        model="list-append",
        verdict="invalid",
        goal_s=4.0,
        goal_gb=2.0,
    ),
    "set-full": Row(
        work="set-full, 1,000,000 adds, 5 reads of everything",
        build=lambda: [grown_set(1_000_000, 5)],
        model="set-full",
        verdict="valid",
        goal_s=3.0,
    ),
    "fifo-queue": Row(
        work="fifo-queue, unique elements, 1,000,000 ops, c=10",
        build=lambda: [contents(things.FifoQueue(), 1_000_000, 10)],
        model="fifo-queue",
        verdict="valid",
        porcupine="(PolyLin, C++: 3.8 s)",
        goal_s=3.8,
    ),
    "stack": Row(
        work="stack, unique elements, 1,000,000 ops, c=10",
        build=lambda: [contents(things.Stack(), 1_000_000, 10)],
        model="stack",
        verdict="valid",
        porcupine="(PolyLin, C++: 6.3 s)",
        goal_s=6.3,
    ),
}
"""Every row by its name."""

FILE_GOAL_S = 5.0


# --- One row, in its own process ------------------------------------------------------------------------------------


def run_row(row: Row) -> dict[str, Any]:
    """Judges the histories of a row and says what it cost."""
    histories = row.build()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts anew
    begin = time.perf_counter()
    results = [_judge(row, history) for history in histories]
    elapsed = time.perf_counter() - begin
    verdicts = {str(result.validity) for result in results}
    return {
        "seconds": elapsed,
        "verdict": verdicts.pop() if len(verdicts) == 1 else "mixed",
        "method": results[0].statistics.get("method", "graph" if row.model.startswith(("list", "rw")) else "one pass"),
        "states": sum(result.statistics.get("search_states", 0) for result in results),
        "peak_gb": _peak_gb(),
    }


def _judge(row: Row, history: History) -> Result:
    return check(history, model=row.model, options=Options(budget=BUDGET, **(row.options or {})))


def _peak_gb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1e6


def measure(name: str) -> dict[str, Any]:
    """The median of a row's runs."""
    runs = []
    for _ in range(3):
        done = _python("-m", "benchmarks.checkers", "--row", name)
        runs.append(json.loads(done.stdout))
    return {**runs[0], "seconds": statistics.median(run["seconds"] for run in runs)}


def _python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)


def measure_file(operations: int) -> dict[str, Any]:
    """The whole process of ``capsize check`` on a JSON Lines file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        write_jsonl(generate(Shape(operations=operations, concurrency=50, info=0.01)), path)
        runs = []
        for _ in range(3):
            begin = time.perf_counter()
            _python("-m", "harness", "check", str(path))
            runs.append(time.perf_counter() - begin)
    return {"seconds": statistics.median(runs), "verdict": "valid", "method": "whole process", "peak_gb": None}


def calibrate() -> tuple[float, float]:
    """Seconds for ten million additions in Python, and for sorting and gathering five million numbers in numpy."""
    begin = time.perf_counter()
    total = 0
    for number in range(10_000_000):
        total += number
    python = time.perf_counter() - begin
    numbers = np.random.default_rng(1).integers(0, 1 << 40, 5_000_000)
    begin = time.perf_counter()
    numbers[np.argsort(numbers)].cumsum()
    return python, time.perf_counter() - begin


def line(work: str, porcupine: str, goal: str, figures: Mapping[str, Any], expected: str) -> str:
    """One line; a wrong verdict is marked, as a benchmark of wrong answers is worth nothing."""
    verdict = figures["verdict"] + ("" if figures["verdict"] == expected else " WRONG")
    memory = "" if figures["peak_gb"] is None else f"{figures['peak_gb']:.2f} GB"
    cells = (work, porcupine, goal, f"{figures['seconds']:.3f} s", memory, verdict, figures["method"])
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the rows that are made in seconds")
    parser.add_argument("--only", choices=[*ROWS, "file"], help="one row")
    parser.add_argument("--row", choices=[*ROWS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(run_row(ROWS[arguments.row])))
        return
    python, numpy = calibrate()
    print(f"calibration: Python loop {python:.2f} s, numpy loop {numpy:.2f} s\n")
    print("| work | porcupine | goal | ours | peak memory | verdict | method |\n|---|---|---|---|---|---|---|")
    for name, row in ROWS.items():
        if arguments.only not in (None, name) or (arguments.quick and not row.quick):
            continue
        goal = f"{row.goal_s:g} s" + (f", {row.goal_gb:g} GB" if row.goal_gb else "")
        print(line(row.work, row.porcupine, goal, measure(name), row.verdict), flush=True)
    if arguments.only in (None, "file"):
        operations = 10_000 if arguments.quick else 1_000_000
        work = f"`capsize check` of a {operations:,}-op JSON Lines file, whole process"
        print(line(work, "-", f"{FILE_GOAL_S:g} s", measure_file(operations), "valid"))


if __name__ == "__main__":
    main()
