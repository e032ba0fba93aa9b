"""Single messages of real nodes, lost, late, twice and in the wrong order: a correct store stays correct."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.host import namespaces

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(namespaces.missing()), reason="; ".join(namespaces.missing())),
]

FAULTS = [
    "{at: 500ms, for: 1500ms, message: {target: all, action: duplicate, delay: 300ms}}",
    "{at: 2500ms, for: 1500ms, message: {target: n1, type: AppendEntries, action: reorder}}",
    "{at: 2500ms, for: 1500ms, message: {target: n2, type: [AppendReply, VoteReply], action: drop, probability: 0.5}}",
    "{at: 3s, for: 500ms, kill: {target: n2}}",
    "{at: 4500ms, for: 1500ms, message: {target: n3, action: delay, delay: 100ms, peers: n1}}",
    "{at: 5s, for: 800ms, pause: {target: n3}}",
]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A whole run of three nodes whose leader compacts its log often, so that snapshots travel, too."""
    argv = ["run", "--runs", str(folder), "--nodes", "3", "--rate", "200", "--set", "time=7s", "--set", "ok_min=100"]
    argv += ["--set", "options={snapshot_entries: 100}", "--set", "lag_max=20s", "--set", "recovery=30s", *words]
    return subprocess.run([sys.executable, "-m", "harness", *argv], capture_output=True, text=True, check=False)


def schedule(folder: Path) -> list[dict[str, Any]]:
    """The faults as executed, in the order in which they were planned."""
    (path,) = folder.glob("*/*/schedule.jsonl")
    return sorted(map(json.loads, path.read_text().splitlines()), key=lambda row: int(row["id"]))


def test_a_correct_store_survives_any_message_fault(tmp_path: Path) -> None:
    """Every rule was in force and took hold of messages (but for a node that was killed soon); all of them are gone
    afterwards, also of nodes that were killed or paused meanwhile.
    """
    done = run(tmp_path, "--set", f"faults=[{', '.join(FAULTS)}]")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [row for row in schedule(tmp_path) if row["family"] == "message"]
    assert len(rows) == 4
    for row in rows:
        assert row["bit"]["holds"], row
        assert row["healed"]["holds"], row
        counted = row["healed"]["evidence"]["counted"]
        assert row["targets"] == ["n2"] or all(counted[name]["hits"] > 0 for name in row["targets"]), row


def test_a_hook_is_only_where_it_was_asked_for(tmp_path: Path) -> None:
    """Without a message fault the nodes are started without it, and say so by their command line."""
    done = run(tmp_path, "--set", "faults=[{at: 1s, for: 1s, pause: {target: n1}}]", "--set", "time=3s")
    assert done.returncode == 0, done.stdout + done.stderr
    for log in tmp_path.glob("*/*/nodes/*/node.log"):
        assert "HOOK ACTIVE" not in log.read_text()
