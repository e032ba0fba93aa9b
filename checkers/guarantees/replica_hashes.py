"""Replicas that applied the same commands have the same state: hashes of nodes at equal indexes agree.

A ``hashes`` operation asks a node (``node``) for pairs of an applied index and the hash of the state, or of the
result, at that index: the result is ``[[index, hash], ...]``, or ``[index, hash]`` alone; a node that was asked twice
must agree with itself. With ``{"n1": [[index, hash], ...], ...}`` one operation tells of several nodes. :func:`compare`
does the same for tuples from anywhere (traces: see state machine safety in :mod:`checkers.raft.applications`).

Where nodes disagree at an index, the odd ones out are those that are not with the most; the first index of disagreement
is the one to look at, for what was applied there or since the last index that was compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from checkers.event import shorten
from checkers.guarantees.accusation import LISTED_MAX, SHOWN_MAX, Case, nothing_judged
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.selection import acknowledged, rows_of
from checkers.guarantees.settings import Settings
from checkers.history import ABSENT, History, HistoryError
from checkers.verdict import Finding, Result
from checkers.wording import listed, show

NAME = "replica-hashes"


@dataclass(frozen=True, slots=True)
class Hash:
    """What a node said: the hash of its state at an applied index; ``row`` is the operation that asked."""

    node: str
    index: int
    hash: Any
    row: int = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """Different hashes at one index: who said what, the most frequent first."""

    index: int
    said: tuple[tuple[Any, tuple[Hash, ...]], ...]
    agreed_before: int | None
    """The last index below at which all that was said agreed (None: there is none)."""


def compare(hashes: Iterable[Hash]) -> Iterator[Disagreement]:
    """Every index at which different hashes were said, in order."""
    by_index: dict[int, dict[str, list[Hash]]] = {}
    for item in hashes:
        by_index.setdefault(item.index, {}).setdefault(show(item.hash), []).append(item)
    agreed: int | None = None
    for index in sorted(by_index):
        groups = sorted(by_index[index].values(), key=lambda group: -len({item.node for item in group}))
        if len(groups) > 1:
            yield Disagreement(
                index=index, said=tuple((group[0].hash, tuple(group)) for group in groups), agreed_before=agreed
            )
        elif len({item.node for item in groups[0]}) > 1:
            agreed = index


def judge(history: History, settings: Settings) -> Result:  # noqa: ARG001 (there are no settings)
    """Do all nodes have the same hash at the same index?

    Raises:
        HistoryError: a result is not in the vocabulary, or nobody knows which node it is of.
    """
    rows = acknowledged(history, rows_of(history, "hashes"))
    hashes = [item for row in rows.tolist() for item in _hashes(history, row)]
    found = list(compare(hashes))
    findings = [_finding(history, disagreement) for disagreement in found[:SHOWN_MAX]]
    told: dict[int, set[str]] = {}
    for item in hashes:
        told.setdefault(item.index, set()).add(item.node)
    compared = sum(len(nodes) > 1 for nodes in told.values())
    if not findings and not compared:
        findings.append(nothing_judged(NAME, "No two nodes told a hash at the same index, so nothing can be compared."))
    statistics = {
        "hashes": len(hashes),
        "nodes": sorted({item.node for item in hashes}),
        "indexes_compared": compared,
        "disagreements": len(found),
        "indexes": [disagreement.index for disagreement in found[:LISTED_MAX]],
    }
    return Result(checker=NAME, findings=tuple(findings), statistics=statistics)


def _hashes(history: History, row: int) -> Iterator[Hash]:
    result = history.values.values[int(history.result[row])]
    if isinstance(result, Mapping):
        for node, pairs in result.items():
            yield from _pairs(history, row, str(node), pairs)
        return
    code = int(history.node[row])
    if code == ABSENT:
        problem = "hashes of nobody knows which node"
        raise _error(history, row, problem, 'Record "node", or an object of pairs by node as the result.')
    yield from _pairs(history, row, history.nodes[code], result)


def _pairs(history: History, row: int, node: str, pairs: Any) -> Iterator[Hash]:
    alone = isinstance(pairs, tuple) and len(pairs) == 2 and type(pairs[0]) is int
    for pair in (pairs,) if alone else pairs if isinstance(pairs, tuple) else (pairs,):
        if not isinstance(pair, tuple) or len(pair) != 2 or type(pair[0]) is not int:
            raise _error(history, row, f"a hash is {shorten(pair)}", "Record [index, hash].")
        yield Hash(node, pair[0], pair[1], row)


def _error(history: History, row: int, problem: str, step: str) -> HistoryError:
    return HistoryError(history.source, int(history.call[row]) + 1, problem, step)


def _finding(history: History, found: Disagreement) -> Finding:
    case = Case(history, [group[0].row for _, group in found.said][: SHOWN_MAX + 1])
    told = [
        f"{show(value)} on {listed(sorted({item.node for item in group}))}" for value, group in found.said[:SHOWN_MAX]
    ]
    since = (
        "" if found.agreed_before is None else f"; up to index {found.agreed_before} those that were compared agreed"
    )
    message = f"At index {found.index} the replicas' hashes differ: {listed(told)}{since}. The replicas have parted."
    evidence = {
        "index": found.index,
        "hashes": {item.node: item.hash for _, group in found.said for item in group},
        "agreed_before": found.agreed_before,
    }
    return case.finding(NAME, "replicas differ", message, **evidence)


REPLICA_HASHES = Guarantee(
    name=NAME,
    judge=judge,
    functions=frozenset({"hashes"}),
    summary="replicas agree: nodes tell the same hash at the same applied index",
)
