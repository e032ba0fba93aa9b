"""A planted bug that only the Raft invariants see ends its run when it is seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from checkers.raft.invariants import INVARIANTS
from harness.host import namespaces

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif(bool(namespaces.missing()), reason="; ".join(namespaces.missing())),
]

LAST_S = 40
PAUSES = "".join(f"{{at: {second}s, for: 2s, pause: {{target: leader}}}}, " for second in (1, 5, 9, 13))
FAULTS = (
    f"[{PAUSES}"
    "{when: {event: voted, times: 6, after: 1s}, for: 300ms, kill: {target: subject}}, "
    f"{{at: {LAST_S}s, for: 1s, pause: {{target: leader}}}}]"
)
"""Several elections: who is killed before anybody was told of its vote has forgotten nothing."""


def test_a_broken_invariant_stops_the_run(tmp_path: Path) -> None:
    """Votes that are not durable: the fault that shows it was executed, the one planned after it never came, and no
    operation began after the violation was told. The batch checker says the same.
    """
    words = ["run", "vote-not-durable", "--bug", "vote-not-durable", "--seed", "1", "--on-violation", "stop"]
    words += ["--set", "time=60s", "--set", "ok_min=10", "--set", f"faults={FAULTS}"]
    words += ["--folder", str(tmp_path / "run"), "--runs", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words], capture_output=True, text=True, timeout=100, check=False
    )
    facts = json.loads((tmp_path / "run" / "run.json").read_bytes())
    assert done.returncode == 1, done.stdout
    seen = facts["live_violation"]
    assert seen["kind"] in INVARIANTS, done.stdout
    executed = [json.loads(line) for line in (tmp_path / "run" / "schedule.jsonl").read_text().splitlines()]
    pauses = [row["planned_ns"] / 1e9 for row in executed if row["injected_ns"] and row["family"] == "pause"]
    assert 1 in pauses
    assert LAST_S not in pauses
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    begun = [event["time"] for event in history if event["type"] == "invoke" and not event.get("final")]
    assert begun
    assert seen["time_ns"] < max(begun) < seen["reported_ns"] + 1_000_000_000
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_bytes())
    assert seen["kind"] in {finding["kind"] for result in verdict["results"] for finding in result["findings"]}
