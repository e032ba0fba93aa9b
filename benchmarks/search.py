"""How fast the general search judges histories that are hard for it: one command prints the table.

    python -m benchmarks.search              # about a minute
    python -m benchmarks.search --cold       # also what compiling costs: in a new folder, then from it

Registers with repeated values as in :mod:`benchmarks.checkers`; other types by ``tests.checkers.simulated``. The search
alone is asked (no polynomial method), through the same door and with the same turns as users get; the clock starts at a
parsed history. The compiled search is loaded before, and what loading costs is a line of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if sys.path[0] == str(ROOT / "benchmarks"):  # run as a script, this file would hide the package of the same name
    sys.path[0] = str(ROOT)

from benchmarks.checkers import Shape, generate, history_of  # noqa: E402
from checkers import Budget, History, check  # noqa: E402
from tests.checkers import things  # noqa: E402
from tests.checkers.simulated import simulate  # noqa: E402

LOADING = """
import time
import numpy
from checkers import MODELS, Budget, History
from checkers.search.problem import problem
begin = time.perf_counter()
from checkers.search.compiled import search
event = {"process": 1, "f": "write", "value": 1}
events = [{**event, "time": at, "type": type_} for at, type_ in enumerate(("invoke", "ok"))]
prepared = problem(History.of(events), numpy.arange(1), MODELS["register"](null_read="value"), None)
search(prepared, Budget())
print(f"{time.perf_counter() - begin:.2f}")
"""

REGISTERS = (
    *((10_000, 10, 0.0), (1_000, 20, 0.0), (10_000, 20, 0.0), (10_000, 10, 0.01)),
    *((100_000, 20, 0.0), (100_000, 50, 0.01), (10_000, 50, 0.01), (10_000, 50, 0.05)),
)
"""Operations, concurrency, share of unknown outcomes; values 0-4, read, write and cas."""

OTHERS: tuple[tuple[str, Any, int, int, float], ...] = (
    ("mutex", things.Mutex, 10_000, 50, 0.0),
    ("counter", things.Counter, 1_000, 20, 0.01),
    ("kv", things.KeyValue, 1_000, 20, 0.02),
    ("fifo-queue", things.FifoQueue, 1_000, 5, 0.0),
)


def histories() -> Iterator[tuple[str, str, History]]:
    """A name, the model and the history of each row."""
    for operations, concurrency, info in REGISTERS:
        for stale in ("", "near end"):
            shape = Shape(operations=operations, concurrency=concurrency, mix="rwc", values=5, info=info)
            history = history_of(generate(shape))
            if stale:
                history = spoilt(history)
            yield f"{shape.name()}{' but the last read' if stale else ''}", "cas-register", history
    for model, thing, operations, concurrency, info in OTHERS:
        events = simulate(thing(), random.Random(3), operations=operations, concurrency=concurrency, info=info).events
        yield f"{model}, n={operations:,}, c={concurrency}, info {info:.0%}", model, History.of(events)


def spoilt(history: History) -> History:
    """The last read returns a value that nobody wrote (-1: only compare-and-sets expect it)."""
    reads = [row for row in range(len(history)) if history.f[row] == 0 and history.outcome[row] == 0]
    history.result[reads[-1]] = 1
    return history


def loading(folder: str) -> str:
    """Seconds to the end of a first compiled search in a new process, with code kept in a folder."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
    command = [sys.executable, "-c", LOADING]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true", help="measure compiling and loading")
    parser.add_argument("--seconds", type=float, default=20.0, help="time limit of a row")
    arguments = parser.parse_args()
    if arguments.cold:
        with tempfile.TemporaryDirectory() as folder:
            print(f"compiling: {loading(folder)} s, once a machine; loading: {loading(folder)} s\n")
    from checkers.search import compiled  # noqa: F401 (so that no row pays for it)

    print("| history | verdict | seconds | search states |\n|---|---|---|---|")
    for name, model, history in histories():
        budget = Budget(states=200_000_000, seconds=arguments.seconds, clock=time.monotonic)
        begin = time.perf_counter()
        initial = things.KeyValue().state if model == "kv" else None
        result = check(history, model=model, initial=initial, budget=budget, search_only=True)
        seconds = time.perf_counter() - begin
        print(f"| {name} | {result.validity} | {seconds:.3f} | {result.statistics['search_states']:,} |", flush=True)


if __name__ == "__main__":
    main()
