"""Claims about the Raft invariants: what they refuse, and what they must never refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from checkers.raft.invariants import INVARIANTS, check_traces, timeline
from checkers.raft.traces import Trace, parse_trace
from checkers.verdict import Validity
from tests.checkers.tiny_raft import Cluster
from tests.checkers.trace_mutations import MUTATIONS, Traces

Row = tuple[str, dict[str, Any]]


def start(
    term: int = 0, vote: str | None = None, last: tuple[int, int] = (0, 0), snapshot: tuple[int, int] = (0, 0)
) -> Row:
    fields = {"term": term, "vote": vote, "last_index": last[0], "last_term": last[1]}
    voters = ["n1", "n2", "n3"]
    return "start", {**fields, "snapshot_index": snapshot[0], "snapshot_term": snapshot[1], "voters": voters}


def role(name: str, term: int) -> Row:
    return "role", {"role": name, "term": term, "leader": None}


def append(*entries: tuple[int, int, str]) -> Row:
    return "append", {"entries": entries}


def durable(term: int, index: int, vote: str | None = None) -> Row:
    return "durable", {"term": term, "vote": vote, "index": index}


def commit(index: int, term: int) -> Row:
    return "commit", {"index": index, "term": term}


def apply(*entries: tuple[int, int, str, str]) -> Row:
    return "apply", {"entries": entries}


def vote(term: int, candidate: str) -> Row:
    return "vote", {"term": term, "for": candidate}


def snapshot(action: str, index: int, term: int, state: str = "s") -> Row:
    return "snapshot", {"action": action, "index": index, "term": term, "hash": state}


def config(*voters: str, outgoing: tuple[str, ...] = (), index: int = 1) -> Row:
    return "config", {"index": index, "voters": voters, "outgoing": outgoing}


def match(term: int, **indexes: int) -> Row:
    return "match", {"term": term, "match": indexes}


def trace(node: str, rows: list[Row], *, begin: int = 1) -> Trace:
    """A trace whose lines are one nanosecond apart."""
    events = [
        {"time": begin + at, "wall": 0, "node": node, "event": name, **row} for at, (name, row) in enumerate(rows)
    ]
    return parse_trace("\n".join(map(json.dumps, events)).encode(), name=node, node=node)


def kinds(*, one_clock: bool = False, **rows: list[Row]) -> set[str]:
    """The invariants that refuse these traces."""
    traces = {node: trace(node, every) for node, every in rows.items()}
    return {finding.kind for finding in check_traces(traces, one_clock=one_clock).findings}


A1, A2, B2 = (1, 1, "a"), (2, 1, "b"), (2, 2, "c")

REFUSED: dict[str, tuple[str, dict[str, list[Row]]]] = {
    "two leaders": ("election safety", {"n1": [start(), role("leader", 3)], "n2": [start(), role("leader", 3)]}),
    "won twice": ("election safety", {"n1": [start(), role("leader", 3), start(3), role("leader", 3)]}),
    "two of five votes": (
        "elected by a majority",
        {
            "n1": [start(), vote(1, "n1"), role("leader", 1)],
            "n2": [start(), vote(1, "n2"), ("term", {"term": 2})],
            "n3": [start(), ("term", {"term": 2})],
        },
    ),
    "two votes": ("one vote a term", {"n1": [start(), vote(1, "n1"), vote(1, "n2")]}),
    "durable vote taken back": (
        "one vote a term",
        {"n1": [start(), vote(1, "n1"), durable(1, 0, "n1"), durable(1, 1)]},
    ),
    "durable vote, another after a restart": (
        "one vote a term",
        {"n1": [start(), vote(1, "n1"), durable(1, 0, "n1"), start(1), vote(1, "n2")]},
    ),
    "a leader votes for another after a restart": (
        "one vote a term",
        {"n1": [start(), role("leader", 1), start(1), vote(1, "n2")]},
    ),
    "durable vote lost": (
        "nothing durable is forgotten",
        {"n1": [start(), vote(1, "n1"), durable(1, 0, "n1"), start(1)]},
    ),
    "term falls": ("term never goes back", {"n1": [start(), ("term", {"term": 2}), ("term", {"term": 1})]}),
    "durable term lost": ("term never goes back", {"n1": [start(), durable(2, 0), start(1)]}),
    "two commands": ("log matching", {"n1": [start(), append(A1)], "n2": [start(), append((1, 1, "x"))]}),
    "two pasts": (
        "log matching",
        {"n1": [start(), append(A1, B2)], "n2": [start(), append((1, 2, "x")), append(B2)]},
    ),
    "index and term used again": ("log matching", {"n1": [start(), append(A1), append((1, 1, "x"))]}),
    "gap": ("log has no gaps", {"n1": [start(), append(A1), append((3, 1, "c"))]}),
    "terms fall": ("log terms never fall", {"n1": [start(), append((1, 2, "a"), (2, 1, "b"))]}),
    "leader truncates": (
        "leader append-only",
        {"n1": [start(), role("leader", 1), append(A1), ("truncate", {"from": 1})]},
    ),
    "cut in the term of the entry": (
        "cut by a later term",
        {"n1": [start(), ("term", {"term": 1}), append(A1, A2), ("truncate", {"from": 2})]},
    ),
    "leader lacks": (
        "leader completeness",
        {"n1": [start(), append(A1), commit(1, 1)], "n2": [start(), role("leader", 2)]},
    ),
    "leader has another": (
        "leader completeness",
        {"n1": [start(), append(A1, A2), commit(2, 1)], "n2": [start(), append(A1, B2), role("leader", 3)]},
    ),
    "committed cut": (
        "committed prefix is kept",
        {"n1": [start(), append(A1), commit(1, 1), ("truncate", {"from": 1})]},
    ),
    "committed overwritten": (
        "committed prefix is kept",
        {"n1": [start(), append(A1), commit(1, 1), append((1, 2, "x"))]},
    ),
    "two committed": (
        "commit agreement",
        {"n1": [start(), append(A1, A2), commit(2, 3)], "n2": [start(), append(A1, B2), commit(2, 3)]},
    ),
    "beyond the log": ("commit within the log", {"n1": [start(), append(A1), commit(2, 1)]}),
    "figure 8": ("commit by own term", {"n1": [start(), append(A1), role("leader", 2), commit(1, 2)]}),
    "commit falls": ("commit never goes back", {"n1": [start(), append(A1, A2), commit(2, 1), commit(1, 1)]}),
    "results differ": (
        "state machine safety",
        {"n1": [start(), apply((*A1, "r"))], "n2": [start(), apply((*A1, "q"))]},
    ),
    "results differ between incarnations": (
        "state machine safety",
        {"n1": [start(), apply((*A1, "r")), start(), apply((*A1, "q"))]},
    ),
    "applied what was not committed": (
        "state machine safety",
        {"n1": [start(), append(A1, B2), commit(2, 2)], "n2": [start(), apply((*A2, "r"))]},
    ),
    "applied twice": ("applied never goes back", {"n1": [start(), apply((*A1, "r")), apply((*A1, "r"))]}),
    "old snapshot wins": (
        "applied never goes back",
        {"n1": [start(), apply((*A1, "r"), (*A2, "r")), snapshot("installed", 1, 1)]},
    ),
    "applied beyond the commit": (
        "applied was committed",
        {"n1": [start(), append(A1, A2), commit(1, 1), apply((*A2, "r"))]},
    ),
    "states differ": (
        "snapshot agreement",
        {"n1": [start(), snapshot("taken", 1, 1)], "n2": [start(), snapshot("installed", 1, 1, "t")]},
    ),
    "snapshot of another term": (
        "snapshot agreement",
        {"n1": [start(), append(A1), commit(1, 1)], "n2": [start(), snapshot("taken", 1, 2)]},
    ),
    "committed entry lost": (
        "nothing durable is forgotten",
        {"n1": [start(), append(A1, A2), durable(1, 2), commit(2, 1), start(1, last=(1, 1))]},
    ),
    "entry lost that another node knew to be committed": (
        "nothing durable is forgotten",
        {
            "n1": [start(), append(A1), durable(1, 1), commit(1, 1)],
            "n2": [start(), append(A1), durable(1, 1), start(1)],
        },
    ),
    "committed entry replaced": (
        "nothing durable is forgotten",
        {"n1": [start(), append(A1, A2), durable(2, 2), commit(2, 2), start(2, last=(2, 2))]},
    ),
    "committed by one of three": (
        "committed on a majority",
        {
            "n1": [start(), role("leader", 1), append(A1), durable(1, 1), commit(1, 1)],
            "n2": [start(), durable(1, 0)],
            "n3": [start(), append(A1), durable(1, 0)],
        },
    ),
    "a follower's match falls": (
        "match never goes back",
        {"n1": [start(), role("leader", 1), match(1, n2=5), match(1, n2=4)]},
    ),
    "two members replaced at once": (
        "quorums intersect",
        {"n1": [start(), config("n1", "n2", "n3"), config("n3", "n4", "n5", index=2)]},
    ),
    "two members joined two at once": (
        "quorums intersect",
        {"n1": [start(), config("n1", "n2"), config("n1", "n2", "n3", "n4", "n5", index=2)]},
    ),
    "a joint change left before it was entered": (
        "quorums intersect",
        {
            "n1": [
                start(),
                config("n4", "n5", "n6", outgoing=("n1", "n2", "n3")),
                config("n7", index=2),
            ]
        },
    ),
    "a change by a leader that has committed nothing of its own (raft-dev, 2015)": (
        "one change at a time",
        {
            "n1": [
                start(),
                config("n1", "n2", "n3", index=0),
                role("leader", 2),
                append((1, 2, "a"), (2, 2, "c")),
                config("n1", "n2", "n3", "n4", index=2),
            ]
        },
    ),
    "a change upon an uncommitted one": (
        "one change at a time",
        {
            "n1": [
                start(),
                config("n1", "n2", "n3", index=0),
                role("leader", 1),
                append((1, 1, "a")),
                commit(1, 1),
                append((2, 1, "c")),
                config("n1", "n2", index=2),
                append((3, 1, "d")),
                config("n1", index=3),
            ]
        },
    ),
    "a configuration that outlives its entry": (
        "configuration follows the log",
        {
            "n1": [
                start(),
                config("n1", "n2", "n3", index=0),
                append((1, 1, "c")),
                config("n1", "n2", index=1),
                ("truncate", {"from": 1}),
                append((1, 2, "d")),
                durable(2, 1),
            ]
        },
    ),
    "a change counted by the new voters only": (
        "committed on a majority",
        {
            "n1": [
                start(),
                config("n1", "n2", "n3", index=0),
                role("leader", 1),
                append(A1),
                config("n1", outgoing=("n1", "n2", "n3")),
                durable(1, 1),
                commit(1, 1),
            ],
            "n2": [start(), durable(1, 0)],
            "n3": [start(), durable(1, 0)],
        },
    ),
    "acknowledged by one of three": (
        "acknowledged on a majority",
        {
            "n1": [start(), append(A1), durable(1, 1), commit(1, 1), ("ack", {"index": 1, "term": 1})],
            "n2": [start(), durable(1, 0)],
            "n3": [start(), append(A1), durable(1, 0)],
        },
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """The smallest history that breaks an invariant is refused by it, in a sentence that names node and lines."""
    kind, rows = REFUSED[name]
    traces = {node: trace(node, every) for node, every in rows.items()}
    result = check_traces(traces, one_clock=False)
    assert result.validity is Validity.INVALID
    finding = next(finding for finding in result.findings if finding.kind == kind)
    assert set(finding.nodes) <= set(rows)
    assert finding.nodes[0] in finding.message
    assert all(0 < row["line"] <= len(traces[row["node"]].events) for row in finding.evidence["lines"])


def test_every_invariant_is_refused_by_hand_and_by_mutation() -> None:
    """No invariant is without a hand-made history and a mutation that it refuses: a check that can't fail is none."""
    assert {kind for kind, _ in REFUSED.values()} == set(INVARIANTS)
    assert {kind for _, kind in MUTATIONS.values()} == set(INVARIANTS)


ACCEPTED: dict[str, dict[str, list[Row]]] = {
    "configurations that a former leader finds in its log when it starts again": {
        "n1": [
            start(),
            config("n1", "n2", "n3", index=0),
            role("leader", 1),
            append((1, 1, "a"), (2, 1, "c")),
            start(1, last=(2, 1)),
            config("n1", "n2", "n3", index=0),
            config("n1", "n2", "n3", "n4", index=2),
        ]
    },
    "a vote that was never durable may be lost and given anew": {
        "n1": [start(), vote(1, "n1"), start(), vote(1, "n2")],
    },
    "a vote that was never durable may survive": {"n1": [start(), vote(1, "n1"), start(1, "n1"), vote(2, "n2")]},
    "a term that was never durable may be lost": {
        "n1": [start(), ("term", {"term": 5}), start(), role("candidate", 1)]
    },
    "a sync may be told late": {"n1": [start(), ("term", {"term": 2}), durable(1, 0), ("term", {"term": 3})]},
    "entries that were never durable may be lost": {
        "n1": [start(), append(A1), durable(1, 1), append(A2), start(1, last=(1, 1)), append(B2)],
    },
    "what a start recovers is durable, though a kill took the line that told of it": {
        "n1": [
            *(start(), role("leader", 1), append(A1), append(A2), durable(1, 2), ("lag", {"max_ms": 1})),
            *(commit(2, 1), ("ack", {"index": 2, "term": 1})),
        ],
        "n2": [start(), append(A1), durable(1, 1), append(A2), start(1, last=(2, 1))],
        "n3": [start(), append(A1), durable(1, 1)],
    },
    "even committed ones": {
        "n2": [start(), append(A1), commit(1, 1), start(), append(A1), durable(1, 1), commit(1, 1)]
    },
    "entries may be on disk though their line was lost": {
        "n1": [start(), append(A1), durable(1, 1), start(2, last=(3, 2)), append((4, 2, "d"))],
    },
    "a cut may be on disk though its line was lost": {
        "n1": [start(), append(A1, A2), durable(1, 2), start(2, last=(1, 1)), append(B2)],
    },
    "a cut may be lost": {
        "n1": [start(), append(A1, A2), durable(2, 2), ("truncate", {"from": 2}), append(B2), start(2, last=(2, 1))],
    },
    "an uncommitted entry may be replaced without a line": {
        "n1": [start(), append(A1, A2), durable(1, 2), start(2, last=(2, 2))],
        "n2": [start(), append(A1, B2), commit(2, 2)],
    },
    "a replaced entry may come back and be committed later": {
        "n1": [start(), append(A1, A2), durable(1, 2), start(2, last=(2, 2))],
        "n2": [start(), append(A1, A2), commit(2, 4)],
    },
    "a leader that stepped down may cut": {
        "n1": [
            start(),
            role("leader", 1),
            append(A1),
            role("follower", 2),
            ("truncate", {"from": 1}),
            append((1, 2, "z")),
        ],
    },
    "applying begins anew in every incarnation": {
        "n1": [
            start(),
            append(A1),
            durable(1, 1),
            commit(1, 1),
            apply((*A1, "r")),
            start(1, last=(1, 1)),
            commit(1, 1),
            apply((*A1, "r")),
        ],
    },
    "a log may move into a snapshot": {
        "n1": [
            start(),
            append(A1, A2),
            durable(1, 2),
            commit(2, 1),
            snapshot("taken", 2, 1),
            start(1, last=(0, 0), snapshot=(2, 1)),
            append((3, 1, "c")),
        ],
    },
    "an installed snapshot replaces a conflicting log": {
        "n1": [start(), append(A1, A2), durable(1, 2), snapshot("installed", 2, 2), append((3, 2, "c")), commit(3, 2)],
        "n2": [start(), append(A1, B2), commit(2, 2), append((3, 2, "c")), commit(3, 2)],
    },
    "an installed snapshot keeps what follows it": {
        "n1": [start(), append(A1, A2), snapshot("installed", 1, 1), commit(2, 1), append((3, 1, "c"))],
    },
    "a follower commits entries of old terms": {"n1": [start(), append(A1), role("follower", 2), commit(1, 2)]},
    "a leader commits old entries with its own": {
        "n1": [start(), append(A1), role("leader", 2), append(B2), commit(2, 2)]
    },
    "not every entry is a command": {"n1": [start(), append(A1, A2), commit(2, 1), apply((*A2, "r"))]},
    "a commit index may be restored untold": {"n1": [start(1, last=(5, 1)), apply((*A1, "r"))]},
    "the same entry may be appended again": {"n1": [start(), append(A1, A2), commit(2, 1), append(A1, A2)]},
    "a log that began before the trace": {
        "n1": [start(4, last=(9, 4)), append((10, 4, "x")), commit(10, 4)],
        "n2": [start(4, last=(10, 4)), role("leader", 5), append((11, 5, "y"))],
    },
    "the others left no trace": {
        "n1": [start(), append(A1), durable(1, 1), commit(1, 1), ("ack", {"index": 1, "term": 1})],
    },
    "a durable line may speak of a log that was cut since": {
        "n1": [
            *(start(), append(A1, A2), ("term", {"term": 2}), ("truncate", {"from": 2}), append(B2)),
            *(durable(2, 2), start(2, last=(2, 1))),
        ],
        "n2": [start(), append(A1, B2), commit(2, 2)],
    },
    "a snapshot may be told after the cut, the append and the commit of its moment": {
        "n1": [
            start(),
            append(A1),
            ("truncate", {"from": 3}),
            append((3, 2, "c")),
            commit(3, 2),
            snapshot("installed", 2, 2),
        ],
        "n2": [start(), append(A1, B2, (3, 2, "c")), commit(3, 2)],
    },
    "a kill may take the snapshot's line and leave those": {
        "n1": [
            start(),
            append(A1, A2),
            ("truncate", {"from": 3}),
            commit(2, 2),
            start(2, last=(2, 2), snapshot=(2, 2)),
        ],
        "n2": [start(), append(A1, B2), commit(2, 2)],
    },
    "who comes back empty as somebody else has promised nothing": {
        "n1": [
            start(),
            vote(3, "n2"),
            append(A1),
            durable(3, 1, "n2"),
            commit(1, 3),
            ("start", {**start()[1], "identity": "n1~3.7", "voters": []}),
            vote(3, "n3"),
            durable(3, 0, "n3"),
        ]
    },
    "who joined and starts again tells its configurations again": {
        "n1": [
            ("start", {**start()[1], "identity": "n1~1.2", "voters": []}),
            config("n2", "n3", "n4", index=1),
            config("n2", "n3", "n4", "n1~1.2", index=3),
            config("n2", "n1~1.2", "n4", index=4),
            ("start", {**start()[1], "identity": "n1~1.2", "voters": []}),
            config("n2", "n3", "n4", index=1),
        ]
    },
    "who was asked for a commit may leave before it is acknowledged": {
        "n1": [
            start(),
            config("n1", "n2", "n3", index=0),
            append(A1),
            durable(1, 1),
            role("leader", 1),
            commit(1, 1),
            config("n1", "n2", index=2),
            ("ack", {"index": 1, "term": 1}),
        ],
        "n2": [start(), durable(1, 0)],
        "n3": [start(), append(A1), durable(1, 1)],
    },
    "changes by a leader that wait": {
        "n1": [
            start(),
            config("n1", "n2", "n3", index=0),
            role("leader", 1),
            append((1, 1, "a")),
            commit(1, 1),
            append((2, 1, "c")),
            config("n1", "n2", index=2),
            append((3, 1, "d")),
            commit(2, 1),
            config("n1", index=3),
        ]
    },
    "a configuration is rolled back with its entry": {
        "n1": [
            start(),
            config("n1", "n2", "n3", index=0),
            append((1, 1, "c")),
            config("n1", "n2", index=1),
            ("term", {"term": 2}),
            ("truncate", {"from": 1}),
            append((1, 2, "d")),
            commit(1, 2),
            config("n1", "n2", "n3", index=0),
            durable(2, 1),
        ]
    },
    "members join and leave one at a time": {
        "n1": [
            start(),
            config("n1", "n2", "n3"),
            config("n1", "n2", "n3", "n4", index=2),
            config("n2", "n3", "n4", index=3),
            config("n3", "n4", index=4),
        ]
    },
    "everybody is replaced by a joint change": {
        "n1": [
            start(),
            config("n4", "n5", "n6", outgoing=("n1", "n2", "n3"), index=2),
            config("n4", "n5", "n6", index=3),
        ]
    },
    "a snapshot jumps over configurations": {
        "n1": [start(), config("n1", "n2", "n3"), snapshot("installed", 9, 1), config("n7", "n8", "n9", index=9)]
    },
    "a restart may find other voters": {
        "n1": [start(), config("n1", "n2", "n3"), ("start", {**start()[1], "voters": ["n7", "n8", "n9"]})]
    },
    "a match is counted anew in every term": {
        "n1": [start(), role("leader", 1), match(1, n2=5), role("follower", 2), role("leader", 3), match(3, n2=0)]
    },
    "a follower's commit needs no majority behind it": {
        "n1": [start(), append(A1), durable(1, 1), role("follower", 1), commit(1, 1)],
        "n2": [start(), durable(1, 0)],
        "n3": [start(), durable(1, 0)],
    },
    "votes are not told by traces that end before them": {
        "n1": [start(), vote(1, "n1"), role("leader", 1)],
        "n2": [start()],
        "n3": [start()],
    },
    "a vote was recovered, or told when it was durable": {
        "n1": [start(), vote(1, "n1"), role("leader", 1)],
        "n2": [start(), start(1, "n1"), ("term", {"term": 2})],
        "n3": [start(), durable(1, 0, "n1"), ("term", {"term": 2})],
    },
    "a vote for nobody": {"n1": [start(), vote(1, "n1"), durable(1, 0), durable(1, 0, "n1"), start(1, "n1")]},
}


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("one_clock", [False, True])
def test_accepted(name: str, one_clock: bool) -> None:
    """What a correct Raft may do, above all around a kill, is refused by no invariant."""
    assert kinds(one_clock=one_clock, **ACCEPTED[name]) == set()


def test_clocks_are_compared_only_when_they_are_one() -> None:
    """A majority that became durable after the acknowledgement by another clock is a finding only with one clock."""
    ack: Row = ("ack", {"index": 1, "term": 1})
    leader = trace("n1", [start(), append(A1), durable(1, 1), commit(1, 1), ack])
    followers = {name: trace(name, [start(), append(A1), durable(1, 1)], begin=1000) for name in ("n2", "n3")}
    traces = {"n1": leader, **followers}
    assert check_traces(traces, one_clock=False).findings == ()
    (finding,) = check_traces(traces, one_clock=True, start_monotonic_ns=2).findings
    assert (finding.kind, finding.time_ns) == ("acknowledged on a majority", 3)
    assert "n2, n3" in finding.message


def test_findings_are_bounded_and_counted() -> None:
    """A break that repeats at every index shows a few findings and counts the rest."""
    ours = [(index, 1, f"{index}a") for index in range(1, 101)]
    theirs = [(index, 1, f"{index}b") for index in range(1, 101)]
    traces = {"n1": trace("n1", [start(), append(*ours)]), "n2": trace("n2", [start(), append(*theirs)])}
    result = check_traces(traces, one_clock=False)
    assert len(result.findings) == 5
    assert result.statistics["violations"]["log matching"] == 100


def test_no_traces_no_findings() -> None:
    """A system that emits no traces is neither accused nor praised."""
    assert check_traces({}, one_clock=True).findings == ()


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([1, 2, 3, 5]), steps=st.integers(0, 400))
@example(seed=57, size=5, steps=56)
def test_a_correct_raft_is_never_refused(seed: int, size: int, steps: int) -> None:
    """Random runs with elections, kills at any place, lost and torn lines, cuts and snapshots break nothing."""
    traces = Cluster(seed, size).run(steps).traces()
    for one_clock in (False, True):
        assert check_traces(traces, one_clock=one_clock).findings == ()


@pytest.mark.parametrize("one_clock", [False, True])
def test_a_voter_whose_trace_is_empty_accuses_nobody(one_clock: bool) -> None:
    """Everything that it had told may be lost, its first line too: it may have voted."""
    traces = Cluster(57).run(200).traces()
    leaders = {name for name, trace in traces.items() if any(getattr(e, "role", "") == "leader" for e in trace.events)}
    assert leaders
    for name in traces:
        without = {**traces, name: replace(traces[name], events=[], lines=[])}
        assert check_traces(without, one_clock=one_clock).findings == ()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), missing=st.integers(0, 2))
def test_a_missing_or_shortened_trace_raises_no_alarm(seed: int, missing: int) -> None:
    """A node's trace may be lost, or end anywhere: what is not there accuses nobody."""
    cluster = Cluster(seed).run(200)
    traces = cluster.traces()
    name = f"n{missing + 1}"
    del traces[name]
    assert check_traces(traces, one_clock=True).findings == ()


def _events(cluster: Cluster) -> Traces:
    return {
        name: [json.loads(line) for line in "".join(node.lines).splitlines()] for name, node in cluster.nodes.items()
    }


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_are_refused_by_the_named_invariant(name: str) -> None:
    """A correct run, broken in one documented way, is refused by the invariant that the way is listed under."""
    mutate, kind = MUTATIONS[name]
    broken = 0
    for seed in range(40):
        traces = _events(Cluster(seed, tears=False).run(200))
        if all(traces.values()) and mutate(traces, Random(seed)):
            broken += 1
            parsed = {
                node: parse_trace("\n".join(map(json.dumps, events)).encode(), name=node, node=node)
                for node, events in traces.items()
            }
            found = {finding.kind for finding in check_traces(parsed, one_clock=False).findings}
            assert kind in found, f"seed {seed}"
    assert broken >= 4


def test_timeline_shows_roles_and_terms() -> None:
    """Segments follow roles and terms, and stop where an incarnation stops."""
    rows = [start(), role("candidate", 1), role("leader", 1), append(A1), start(1), ("term", {"term": 2}), append(B2)]
    segments = timeline({"n1": trace("n1", rows)})["n1"]
    assert [(segment.role, segment.term, segment.from_ns, segment.to_ns) for segment in segments] == [
        ("follower", 0, 1, 2),
        ("candidate", 1, 2, 3),
        ("leader", 1, 3, 4),
        ("follower", 1, 5, 6),
        ("follower", 2, 6, 7),
    ]
