"""How long a person waits: from the command to the first acknowledged operation, and from the last one to the end.

    python benchmarks/run_times.py [--runs 3]

Goals: <= 3 s before, and <= 5 s after for 20,000 operations. Whole processes; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def one_run(folder: Path, seed: int, rate: int) -> dict[str, float]:
    """Seconds before the first ok operation, seconds after the last operation of the load, and what took them."""
    faults = (
        "[{at: 4s, for: 6s, partition: {shape: isolate, target: leader}}, {at: 14s, for: 4s, kill: {target: leader}}]"
    )
    words = ["run", "default", "--seed", str(seed), "--rate", str(rate), "--set", f"faults={faults}"]
    began_ns = time.monotonic_ns()
    command = [sys.executable, "-m", "harness", *words, "--folder", str(folder), "--runs", str(folder.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ended_ns = time.monotonic_ns()
    if done.returncode != 0:
        sys.exit(f"the run was not valid (exit {done.returncode}):\n{done.stdout}{done.stderr}")
    run: dict[str, Any] = json.loads((folder / "run.json").read_text())
    events = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    load = [event for event in events if event["process"] != "nemesis" and not event.get("final")]
    first_ok_ns = next(event["time"] for event in load if event["type"] == "ok")
    origin_ns = run["start_monotonic_ns"]
    phases = {phase["name"]: (phase["end_ns"] - phase["begin_ns"]) / 1e9 for phase in run["phases"]}
    return {
        "operations": sum(event["type"] == "invoke" for event in load),
        "first ok, s": (origin_ns + first_ok_ns - began_ns) / 1e9,
        "after the last, s": (ended_ns - origin_ns - max(event["time"] for event in load)) / 1e9,
        **{f"{name}, s": seconds for name, seconds in phases.items() if name != "load"},
    }


def main() -> None:
    """Prints one line a run, and medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", type=int, default=800)
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores")
    rows = []
    with tempfile.TemporaryDirectory(prefix="capsize-bench-") as scratch:
        for number in range(options.runs):
            rows.append(one_run(Path(scratch) / str(number), number + 1, options.rate))
            print("  ".join(f"{name} {value:.2f}" for name, value in rows[-1].items()))
    print("median: " + "  ".join(f"{name} {statistics.median(row[name] for row in rows):.2f}" for name in rows[0]))


if __name__ == "__main__":
    main()
