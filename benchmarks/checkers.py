"""How fast the linearizability checkers judge, and in how much memory: one command prints the table.

    python -m benchmarks.checkers            # all rows (a few minutes)
    python -m benchmarks.checkers --quick    # sizes up to 10,000

Every row runs in a process of its own, so that memory is that row's. The clock starts at a parsed history with nothing
precomputed, except in the row that says whole process. Beside the figures stand two of the machine: a fixed Python loop
and a fixed numpy loop; compare ratios when you compare machines.

Histories: so many clients that are nearly always busy, on one key; ``rw``: half reads, half writes; ``rwc``: thirds of
reads, writes and compare-and-sets, half of which guess right. ``info``: the fraction of writes and compare-and-sets
that nobody saw end. ``stale``: one read (near the end, or in the middle) returns a value that was provably overwritten.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if sys.path[0] == str(ROOT / "benchmarks"):  # run as a script, this file would hide the package of the same name
    sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402

from checkers import Budget, History, Validity, check  # noqa: E402
from checkers.history import FAIL, INFO, NEVER, OK  # noqa: E402
from checkers.values import ValueTable  # noqa: E402

READ, WRITE, CAS = 0, 1, 2
IDLE, OPEN, DONE = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One generated history. ``values`` 0: all written values differ; else written values repeat, from that many."""

    operations: int
    concurrency: int
    mix: str = "rw"
    info: float = 0.0
    stale: str = ""
    values: int = 0
    seed: int = 1

    def name(self) -> str:
        values = "unique" if not self.values else f"0-{self.values - 1}"
        stale = f"stale {self.stale}" if self.stale else "valid"
        return f"{self.mix}, {values}, n={self.operations:,}, c={self.concurrency}, info {self.info:.0%}, {stale}"


class _Run:
    """Clients on one register; each operation takes effect at a moment between its invocation and its end."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.random = random.Random(shape.seed)
        self.register: int | None = None
        self.f: list[int] = []
        self.value: list[int | None] = []
        self.expected: list[int | None] = []
        self.result: list[int | None] = []
        self.outcome: list[int] = []
        self.call: list[int] = []
        self.return_: list[int] = []
        self.position = 0

    def play(self) -> None:
        random_, concurrency = self.random, self.shape.concurrency
        phase, row = [IDLE] * concurrency, [0] * concurrency
        busy = 0
        while len(self.f) < self.shape.operations or busy:
            client = int(random_.random() * concurrency)
            if phase[client] == IDLE:
                if len(self.f) < self.shape.operations:
                    row[client], phase[client] = len(self.f), OPEN
                    busy += 1
                    self.invoke()
            elif phase[client] == OPEN:
                self.take_effect(row[client])
                phase[client] = DONE
            else:
                self.complete(row[client])
                phase[client] = IDLE
                busy -= 1

    def fresh(self) -> int:
        return len(self.f) if not self.shape.values else int(self.random.random() * self.shape.values)

    def invoke(self) -> None:
        f = int(self.random.random() * (2 if self.shape.mix == "rw" else 3))
        expected: int | None = None
        if f == CAS:
            right = self.random.random() < 0.5
            expected = self.register if right else self.fresh() if self.shape.values else -1
        self.value.append(None if f == READ else self.fresh())
        self.f.append(f)
        self.expected.append(expected)
        self.result.append(None)
        self.outcome.append(OK)
        self.call.append(self.position)
        self.return_.append(NEVER)
        self.position += 1

    def take_effect(self, row: int) -> None:
        f = self.f[row]
        if f == READ:
            self.result[row] = self.register
        elif f == WRITE or self.register == self.expected[row]:
            self.register = self.value[row]
        else:
            self.outcome[row] = FAIL

    def complete(self, row: int) -> None:
        if self.f[row] != READ and self.outcome[row] == OK and self.random.random() < self.shape.info:
            self.outcome[row] = INFO
        else:
            self.return_[row] = self.position
        self.position += 1

    def spoil(self) -> None:
        """Makes one read stale: before it lie, one after another, the write of its value and a newer write."""
        where = len(self.f) // 2 if self.shape.stale == "in middle" else len(self.f) - 4 * self.shape.concurrency
        read = next(row for row in range(where, len(self.f)) if self.f[row] == READ and self.outcome[row] == OK)
        newer = self.before(self.call[read], read)
        self.result[read] = self.value[self.before(self.call[newer], newer)]

    def before(self, position: int, row: int) -> int:
        """The last acknowledged write that returned before a position."""
        rows = range(row - 1, -1, -1)
        return next(at for at in rows if self.f[at] == WRITE and self.return_[at] < position and self.outcome[at] == OK)


def generate(shape: Shape) -> dict[str, Any]:
    """The columns of a history, as arrays; values as codes (0 is null, v is v + 2, as -1 may be expected)."""
    run = _Run(shape)
    run.play()
    if shape.stale:
        run.spoil()
    f = np.array(run.f)
    code = {
        name: np.array([0 if value is None else value + 2 for value in column], dtype=np.int32)
        for name, column in (("value", run.value), ("expected", run.expected), ("result", run.result))
    }
    outcome = np.array(run.outcome, dtype=np.int8)
    returned = np.where(f == READ, code["result"], code["value"])
    return {
        "f": f.astype(np.int32),
        "value": code["value"],
        "expected": np.where(f == CAS, code["expected"], -1).astype(np.int32),
        "result": np.where((f != CAS) & (outcome == OK), returned, -1).astype(np.int32),
        "outcome": outcome,
        "call": np.array(run.call),
        "return_": np.array(run.return_),
        "events": np.array(run.position),
    }


def history_of(columns: dict[str, Any]) -> History:
    """The parsed history."""
    count = len(columns["f"])
    values, keys = ValueTable(), ValueTable()
    values.values = [None, -1, *range(max(int(columns["value"].max()), int(columns["result"].max())) - 1)]
    values.codes = {value: code for code, value in enumerate(values.values)}
    keys.code("k")
    zero = np.zeros(count, dtype=np.int32)
    return History(
        **{name: columns[name] for name in ("f", "value", "expected", "result", "outcome", "call", "return_")},
        process=np.arange(count),
        key=zero,
        call_ns=columns["call"],
        return_ns=np.where(columns["return_"] == NEVER, -1, columns["return_"]),
        node=zero - 1,
        error=zero - 1,
        final=zero.astype(bool),
        functions=("read", "write", "cas"),
        keys=keys,
        values=values,
        nodes=(),
        errors=(),
        events=int(columns["events"]),
    )


def write_jsonl(columns: dict[str, Any], path: Path) -> None:
    """The same as a file of our format."""
    history = history_of(columns)
    lines: list[tuple[int, str]] = []
    for row, item in enumerate(history.operations):
        base = f'"process":{row},"f":"{item.f}","key":"k"'
        lines.append(
            (item.call_index, f'{{"time":{item.call_index},{base},"type":"invoke","value":{json.dumps(item.value)}}}\n')
        )
        if item.return_index is not None:
            value = json.dumps(item.result if item.f == "read" else item.value)
            ended = f'"time":{item.return_index},"type":"{item.outcome}"'
            lines.append((item.return_index, f'{{{ended},{base},"value":{value},"node":"n1","attempts":1}}\n'))
    path.write_text("".join(line for _, line in sorted(lines)))


# --- One row, in its own process ----------------------------------------------------------------------------------


def run_row(path: Path, seconds: float) -> dict[str, Any]:
    """Judges the history in a file and says what it cost."""
    if path.suffix == ".jsonl":
        begin = time.perf_counter()
        history = History.read(path)
        parsed = time.perf_counter() - begin
    else:
        with np.load(path) as columns:
            history = history_of(dict(columns))
        parsed = None
    resident = peak_gb()
    begin = time.perf_counter()
    result = check(history, budget=Budget(states=20_000_000, seconds=seconds, clock=time.monotonic))
    elapsed = time.perf_counter() - begin
    return {
        "seconds": elapsed,
        "parse_seconds": parsed,
        "verdict": str(result.validity),
        "method": result.statistics["method"],
        "states": result.statistics["search_states"],
        "peak_gb": peak_gb(),
        "history_gb": resident,
    }


def peak_gb() -> float:
    """The most memory that this process ever held (getrusage would count the parent's before exec too)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1e6


def measure(shape: Shape, folder: Path, seconds: float, *, jsonl: bool = False) -> dict[str, Any]:
    """One row of the table."""
    columns = generate(shape)
    path = folder / ("row.jsonl" if jsonl else "row.npz")
    if jsonl:
        write_jsonl(columns, path)
    else:
        np.savez(path, **columns)
    del columns
    command = [sys.executable, "-m", "benchmarks.checkers", "--row", str(path), "--seconds", str(seconds)]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    row["process_seconds"] = time.perf_counter() - begin
    return row


def calibrate() -> dict[str, float]:
    """Seconds for ten million additions in Python, and for sorting and gathering five million numbers in numpy."""
    begin = time.perf_counter()
    total = 0
    for number in range(10_000_000):
        total += number
    python = time.perf_counter() - begin
    numbers = np.random.default_rng(1).integers(0, 1 << 40, 5_000_000)
    begin = time.perf_counter()
    numbers[np.argsort(numbers)].cumsum()
    return {"python_loop_s": python, "numpy_loop_s": time.perf_counter() - begin}


def shapes(quick: bool) -> list[Shape]:
    """The rows: unique values at every size and concurrency, then repeated values for the search."""
    sizes = (1_000, 10_000) if quick else (10_000, 100_000, 1_000_000)
    rows = [Shape(operations=n, concurrency=50, info=0.01) for n in sizes]
    rows += [Shape(operations=n, concurrency=50, info=0.01, stale="in middle") for n in sizes[-1:]]
    rows += [Shape(operations=n, concurrency=c, stale="near end") for n in sizes[-1:] for c in (5, 20)]
    rows += [
        Shape(operations=sizes[-1], concurrency=20, mix="rwc", info=0.01, stale=stale) for stale in ("", "near end")
    ]
    rows += [
        Shape(operations=n, concurrency=c, mix="rwc", values=5, info=info)
        for n, c, info in ((1_000, 5, 0), (10_000, 5, 0), (10_000, 10, 0), (1_000, 20, 0), (10_000, 5, 0.01))
    ]
    if not quick:
        rows += [Shape(operations=10_000, concurrency=c, mix="rwc", values=5, info=i) for c, i in ((10, 0.01), (20, 0))]
    return rows


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="sizes up to 10,000 operations")
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit of a row")
    parser.add_argument("--row", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(run_row(arguments.row, arguments.seconds)))
        return
    calibration = calibrate()
    python, numpy = calibration["python_loop_s"], calibration["numpy_loop_s"]
    print(f"calibration: Python loop {python:.2f} s, numpy loop {numpy:.2f} s\n")
    print("| history | verdict | method | seconds | search states | peak memory (of which history, imports) |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for shape in shapes(arguments.quick):
            print_row(shape, measure(shape, Path(name), arguments.seconds))
        shape = Shape(operations=10_000 if arguments.quick else 1_000_000, concurrency=50, info=0.01)
        row = measure(shape, Path(name), arguments.seconds, jsonl=True)
        told = f"whole process {row['process_seconds']:.2f} s (reading {row['parse_seconds']:.2f} s)"
        print(
            f"| JSON Lines: {shape.name()} | {row['verdict']} | {row['method']} | {told} | | {row['peak_gb']:.2f} GB |"
        )


def print_row(shape: Shape, row: dict[str, Any]) -> None:
    """One line; a verdict that is wrong is marked, as a benchmark of wrong answers is worth nothing."""
    wrong = {str(Validity.VALID): bool(shape.stale), str(Validity.INVALID): not shape.stale}.get(row["verdict"], False)
    verdict = f"{row['verdict']}{' WRONG' if wrong else ''}"
    figures = f"{row['seconds']:.3f} | {row['states']:,} | {row['peak_gb']:.2f} ({row['history_gb']:.2f}) GB"
    print(f"| {shape.name()} | {verdict} | {row['method']} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
