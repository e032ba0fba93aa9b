"""Consistency models by Elle's names: what each forbids, and which weaker ones it includes.

Sources, as the table cites them: *Adya* ("Weak Consistency", 1999; Adya, Liskov & O'Neil, "Generalized Isolation Level
Definitions", 2000: PL-1 ... PL-3), *Bailis* (Bailis, Davidson, Fekete et al., "Highly Available Transactions", 2013),
*Cerone* (Cerone, Bernardi & Gotsman, "A Framework for Transactional Consistency Models with Atomic Visibility", 2015;
Cerone & Gotsman, "Analysing Snapshot Isolation", 2016), *Daudjee* (Daudjee & Salem, "Lazy Database Replication with
Ordering Guarantees", 2004, and "... with Snapshot Isolation", 2006). The arrangement is that of Elle's documentation
(jepsen.io/consistency and elle.consistency-model).
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from checkers.transactions import anomalies
from checkers.transactions.anomalies import SEVERITY, implied


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsistencyModel:
    """What a model forbids beyond the weaker models that it includes, and who says so."""

    includes: Sequence[str] = ()
    forbids: Sequence[str] = ()
    source: str


CONSISTENCY_MODELS: Final[Mapping[str, ConsistencyModel]] = {
    "read-uncommitted": ConsistencyModel(
        forbids=("G0", "duplicate-elements", "cyclic-versions", "internal", "unwritten-read"),
        source="Adya PL-1; that versions have one order and somebody wrote them is part of Adya's histories",
    ),
    "read-committed": ConsistencyModel(includes=("read-uncommitted",), forbids=("G1",), source="Adya PL-2"),
    "cursor-stability": ConsistencyModel(
        includes=("read-committed",), forbids=("lost-update", "G-cursor"), source="Adya PL-CS, Bailis"
    ),
    "monotonic-view": ConsistencyModel(includes=("read-committed",), forbids=("G-monotonic",), source="Adya PL-2L"),
    "monotonic-snapshot-read": ConsistencyModel(includes=("read-committed",), forbids=("G-MSR",), source="Adya PL-MSR"),
    "consistent-view": ConsistencyModel(
        includes=("cursor-stability", "monotonic-view"), forbids=("G-single",), source="Adya PL-2+"
    ),
    "forward-consistent-view": ConsistencyModel(
        includes=("consistent-view",), forbids=("G-SIb",), source="Adya PL-FCV"
    ),
    "monotonic-atomic-view": ConsistencyModel(includes=("read-committed",), source="Bailis"),
    "read-atomic": ConsistencyModel(
        includes=("monotonic-atomic-view",), forbids=("internal", "G1a", "future-read"), source="Cerone"
    ),
    "causal-cerone": ConsistencyModel(includes=("read-atomic",), forbids=("internal", "G1a"), source="Cerone"),
    "update-atomic": ConsistencyModel(includes=("read-atomic",), forbids=("lost-update",), source="Cerone"),
    "parallel-snapshot-isolation": ConsistencyModel(
        includes=("causal-cerone", "update-atomic"), forbids=("internal", "G1a"), source="Cerone"
    ),
    "prefix": ConsistencyModel(includes=("causal-cerone",), forbids=("internal", "G1a"), source="Cerone"),
    "repeatable-read": ConsistencyModel(
        includes=("cursor-stability", "monotonic-atomic-view"),
        forbids=("G2-item", "lost-update"),
        source="Adya PL-2.99, Bailis",
    ),
    "snapshot-isolation": ConsistencyModel(
        includes=(
            *("forward-consistent-view", "monotonic-atomic-view", "monotonic-snapshot-read"),
            *("parallel-snapshot-isolation", "prefix"),
        ),
        forbids=("internal", "G-nonadjacent", "G-SI"),
        source="Adya PL-SI, Cerone (generalized snapshot isolation)",
    ),
    "update-serializable": ConsistencyModel(
        includes=("forward-consistent-view",), forbids=("G-update",), source="Adya PL-3U"
    ),
    "serializable": ConsistencyModel(
        includes=("repeatable-read", "update-serializable", "snapshot-isolation"),
        forbids=("internal", "G2", anomalies.NO_ORDER),
        source="Adya PL-3",
    ),
    "strong-session-read-uncommitted": ConsistencyModel(
        includes=("read-uncommitted",), forbids=("G0-process",), source="as Daudjee, for PL-1"
    ),
    "strong-session-read-committed": ConsistencyModel(
        includes=("read-committed", "strong-session-read-uncommitted"),
        forbids=("G1c-process",),
        source="as Daudjee, for PL-2",
    ),
    "strong-read-uncommitted": ConsistencyModel(
        includes=("strong-session-read-uncommitted",), forbids=("G0-realtime",), source="as Daudjee, for PL-1"
    ),
    "strong-read-committed": ConsistencyModel(
        includes=("strong-session-read-committed", "strong-read-uncommitted"),
        forbids=("G1c-realtime",),
        source="as Daudjee, for PL-2",
    ),
    "strong-session-snapshot-isolation": ConsistencyModel(
        includes=("snapshot-isolation", "strong-session-read-committed"),
        forbids=("G1-process", "G-nonadjacent-process"),
        source="Daudjee, Cerone",
    ),
    "strong-snapshot-isolation": ConsistencyModel(
        includes=("strong-session-snapshot-isolation", "strong-read-committed"),
        forbids=("G1-realtime", "G-nonadjacent-realtime"),
        source="Daudjee",
    ),
    "strong-session-serializable": ConsistencyModel(
        includes=("serializable", "strong-session-snapshot-isolation"),
        forbids=("G1-process", "G2-process", f"{anomalies.NO_ORDER}-process"),
        source="Daudjee",
    ),
    "strict-serializable": ConsistencyModel(
        includes=("strong-session-serializable", "strong-snapshot-isolation"),
        forbids=("G1-realtime", "G2-realtime", f"{anomalies.NO_ORDER}-realtime"),
        source="Adya PL-SS",
    ),
}
"""Every model that can be asked, weaker ones before stronger ones."""

ALIASES: Final[Mapping[str, str]] = {
    "PL-1": "read-uncommitted",
    "PL-2": "read-committed",
    "PL-CS": "cursor-stability",
    "PL-2L": "monotonic-view",
    "PL-MSR": "monotonic-snapshot-read",
    "PL-2+": "consistent-view",
    "PL-FCV": "forward-consistent-view",
    "PL-2.99": "repeatable-read",
    "PL-SI": "snapshot-isolation",
    "PL-3U": "update-serializable",
    "PL-3": "serializable",
    "PL-SS": "strict-serializable",
    "conflict-serializable": "serializable",
    "strong-serializable": "strict-serializable",
    "ROLA": "update-atomic",
}
"""Other names for them."""

SERIAL: Final[Mapping[str, int]] = {
    "serializable": 0,
    "strong-session-serializable": 1,
    "strict-serializable": 2,
}
"""The models that mean: some serial order explains everything; with the level of order that it must keep besides."""


def canonical(name: str) -> str:
    """The name under which a model stands in the table.

    Raises:
        ValueError: there is no such model.
    """
    found = ALIASES.get(name, name)
    if found not in CONSISTENCY_MODELS:
        known = ", ".join([*CONSISTENCY_MODELS, *ALIASES])
        raise ValueError(f"there is no consistency model {name!r} for transactions; use one of: {known}")
    return found


@functools.cache
def included(name: str) -> frozenset[str]:
    """A model and all weaker ones that it includes."""
    reached: set[str] = set()
    open_ = [name]
    while open_:
        model = open_.pop()
        if model not in reached:
            reached.add(model)
            open_.extend(CONSISTENCY_MODELS[model].includes)
    return frozenset(reached)


@functools.cache
def forbidden(name: str) -> frozenset[str]:
    """Every anomaly that a model forbids and that is looked for: its own and those of the models that it includes."""
    stated = stated_by(name)
    return frozenset(anomaly for anomaly in SEVERITY if implied([anomaly]) & stated)


@functools.cache
def stated_by(name: str) -> frozenset[str]:
    """The anomalies that the table names for a model and those that it includes."""
    return frozenset(anomaly for model in included(name) for anomaly in CONSISTENCY_MODELS[model].forbids)


def not_looked_for(name: str) -> Sequence[str]:
    """Anomalies that a model forbids and that nothing here can find: where they are all that is wrong, it is missed."""
    findable = implied(SEVERITY)
    return sorted(stated_by(name) - findable)


def ruled_out(found: Iterable[str]) -> frozenset[str]:
    """The models that cannot hold where these anomalies are."""
    every = implied(found)
    return frozenset(name for name in CONSISTENCY_MODELS if every & stated_by(name))


def weakest(models: Collection[str]) -> Sequence[str]:
    """Those that include no other of them."""
    return [name for name in CONSISTENCY_MODELS if name in models and included(name) & set(models) == {name}]


def strongest(models: Collection[str]) -> Sequence[str]:
    """Those that no other of them includes."""
    covered = {weaker for name in models for weaker in included(name) - {name}}
    return [name for name in CONSISTENCY_MODELS if name in models and name not in covered]
