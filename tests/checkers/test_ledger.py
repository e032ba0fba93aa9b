"""Claims about the ledger of sometimes facts."""

from __future__ import annotations

import json

from checkers.runs.ledger import HISTORY_FACTS, TRACE_FACTS, keep_ledger, merge_ledgers
from tests.checkers.stories import MS, fault, history
from tests.checkers.test_raft import A1, A2, append, role, snapshot, start, trace
from tests.checkers.tiny_raft import Cluster

OPS = (
    (0, 0, 10, "ok", "read"),
    (1, 20, 30, "ok", "cas"),
    (2, 20, 30, "fail", "cas"),
    (3, 25, 500, "info", "write"),
    (4, 90, 95, "ok", "write"),
    (5, 96, None, "", "write"),
)


def test_facts_of_a_history() -> None:
    """Outcomes, compare-and-set both ways, and what overlapped each family of faults."""
    counts = keep_ledger(history(*OPS, nemesis=(*fault(1, "kill", 22, 40), *fault(2, "kill", 92, 94)))).statistics
    assert counts == {
        "ok operation": 3,
        "failed operation": 1,
        "info operation": 2,
        "info operation overlapped a fault": 1,
        "cas succeeded": 1,
        "cas failed": 1,
        "fault bit: kill": 2,
        "ok operation overlapped kill": 2,
    }
    assert set(HISTORY_FACTS) <= set(counts)


def test_facts_of_traces() -> None:
    """Elections, skipped terms, cuts, snapshots and restarts, counted over all nodes."""
    first = [start(), role("candidate", 1), role("leader", 1), append(A1, A2), role("follower", 2)]
    first += [("truncate", {"from": 2}), snapshot("taken", 1, 1), start(2)]
    second = [
        start(),
        role("candidate", 2),
        start(2),
        role("candidate", 3),
        role("leader", 3),
        snapshot("installed", 1, 1),
    ]
    third = [start(), role("candidate", 3)]
    traces = {"n1": trace("n1", first), "n2": trace("n2", second), "n3": trace("n3", third)}
    counts = keep_ledger(history(*OPS), traces=traces).statistics
    assert {name: counts[name] for name in TRACE_FACTS if name in counts} == {
        "leader elected": 2,
        "leader changed": 1,
        "election with several candidates": 1,
        "term skipped": 1,
        "leader stepped down": 1,
        "log suffix truncated": 1,
        "snapshot taken": 1,
        "snapshot installed": 1,
        "node restarted": 2,
        "trace line torn by a kill": 0,
    }


def test_leader_changes_under_faults_need_one_clock() -> None:
    """A change is put into a fault's window only when the nodes share the controller's clock."""
    rows = [start(), role("leader", 1)]
    later = [start(), role("leader", 2)]
    traces = {"n1": trace("n1", rows), "n2": trace("n2", later, begin=1_000_000 + 30 * MS)}
    told = history(*OPS, nemesis=fault(1, "kill", 22, 40))
    counts = keep_ledger(told, traces=traces, start_monotonic_ns=1_000_000).statistics
    assert counts["leader changed under a fault"] == 1
    assert "leader changed under a fault" not in keep_ledger(told, traces=traces).statistics


def test_ledgers_are_plain_json_and_add_up() -> None:
    """A campaign's ledger is the sum of its runs'."""
    ledgers = [keep_ledger(history(*OPS), traces=Cluster(seed).run(200).traces()).statistics for seed in range(3)]
    total = merge_ledgers(json.loads(json.dumps(ledgers)))
    assert total["ok operation"] == 9
    assert total["leader elected"] == sum(ledger["leader elected"] for ledger in ledgers) > 0
    assert merge_ledgers([]) == {}
