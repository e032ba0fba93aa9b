"""Findings: cycles edge by edge, and what was seen without a graph, in words that are true as they stand.

Transactions of a cycle are called T1, T2 ...; the same steps are in the evidence as data, for pages to draw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from checkers.history import History
from checkers.models.model import visible
from checkers.operation import Operation, Outcome
from checkers.transactions import anomalies
from checkers.transactions.cycles import Cycle, Step
from checkers.transactions.dependencies import KINDS, NO_VERSION, PROCESS, REALTIME
from checkers.transactions.observations import Observations, Words
from checkers.transactions.sightings import Sighting
from checkers.transactions.spelling import spell, spell_list
from checkers.verdict import Blame, Finding
from checkers.wording import Wording, listed, show

OPERATIONS_MAX = 20
"""Transactions that are listed where no smaller reason is known."""

STEPS_TOLD_MAX = 12
"""Steps of a cycle in its sentence; the evidence has all."""


def explain_cycle(
    history: History, observations: Observations, checker: str, cycle: Cycle, words_of_edges: Words | None = None
) -> Finding:
    """The finding for a cycle of the dependency graph; ``words_of_edges``: if not those of the observations. Its
    operations are those of the cycle, then others that prove its steps (who read the list that orders two appends)."""
    reasons = words_of_edges or observations.words
    rows = [int(observations.rows[step.source]) for step in cycle.steps]
    operations = [history.operation(row) for row in rows]
    words = Wording(operations)
    names = {row: f"T{number}" for number, row in enumerate(rows, 1)}
    told: set[int] = set()
    steps, clauses, proof = [], [], list(operations)
    for step in cycle.steps:
        source, target = int(observations.rows[step.source]), int(observations.rows[step.target])
        clause, further = _clause(history, reasons, step, source, target, words)
        proof.extend(history.operation(row) for row in further if row not in {item.index for item in proof})
        a, b = (_called(history, words, names, told, row) for row in _as_named(clause, source, target))
        a, b = (a, b) if clause.find("{a}") < clause.find("{b}") else (b, a)
        clauses.append(f"{_filled(clause, a, b)}: so {names[source]} before {names[target]}")
        steps.append(_evidence(observations, step, source, target, _filled(clause, names[source], names[target])))
    if len(clauses) > STEPS_TOLD_MAX:
        left = len(clauses) - STEPS_TOLD_MAX + 1
        clauses = [*clauses[: STEPS_TOLD_MAX - 1], f"and {left} more such steps, back to T1"]
    return Finding(
        checker=checker,
        kind=cycle.kind,
        message=f"{'; '.join(clauses)}: a contradiction. {CAPTIONS[cycle.kind]}",
        key=_only_key(observations, cycle),
        operations=tuple(proof),
        nodes=_nodes(proof),
        time_ns=_provable(proof),
        evidence={"cycle": steps, "names": {name: row for row, name in names.items()}},
    )


def _as_named(clause: str, source: int, target: int) -> tuple[int, int]:
    """The rows in the order in which the clause mentions them."""
    return (source, target) if clause.find("{a}") < clause.find("{b}") else (target, source)


def _called(history: History, words: Wording, names: Mapping[int, str], told: set[int], row: int) -> str:
    """T1, with its process where it is first mentioned."""
    if row in told:
        return names[row]
    told.add(row)
    operation = history.operation(row)
    unknown = ", which nobody saw end" if operation.outcome is Outcome.INFO else ""
    return f"{names[row]} ({words.who(operation)}{unknown})"


def _clause(
    history: History, reasons: Words, step: Step, source: int, target: int, words: Wording
) -> tuple[str, tuple[int, ...]]:
    one, two = history.operation(source), history.operation(target)
    if step.kind == REALTIME:
        return f"{{a}} was over at {words.ended(one)}, before {{b}} began at {words.began(two)}", ()
    if step.kind == PROCESS:
        return f"process {one.process} did {{a}} before {{b}}", ()
    return reasons.why(step.kind, step.version, source, target)


def _evidence(observations: Observations, step: Step, source: int, target: int, why: str) -> dict[str, Any]:
    about = step.version != NO_VERSION
    return {
        "from": source,
        "to": target,
        "edge": KINDS[step.kind],
        "key": visible(observations.version_key[step.version]) if about else None,
        "value": visible(observations.version_value[step.version]) if about else None,
        "why": why,
    }


def _filled(clause: str, a: str, b: str) -> str:
    """A clause about two transactions. (Not ``str.format``: what users wrote stands in it too, braces and all.)"""
    return re.sub(r"\{[ab]\}", lambda found: a if found[0] == "{a}" else b, clause)


def _only_key(observations: Observations, cycle: Cycle) -> Any:
    keys = {observations.version_key[step.version] for step in cycle.steps if step.version != NO_VERSION}
    return visible(keys.pop()) if len(keys) == 1 else None


def _nodes(operations: Iterable[Operation]) -> tuple[str, ...]:
    return tuple(sorted({item.node for item in operations if item.node is not None}))


def _provable(operations: Iterable[Operation]) -> int | None:
    """When the last result was in of those that prove it."""
    returns = [item.return_ns for item in operations if item.outcome is Outcome.OK and item.return_ns is not None]
    return max(returns, default=None)


_SHAPES: Mapping[str, str] = {
    anomalies.G0: "Writes of the transactions are interleaved",
    anomalies.G1C: "Each of the transactions needs that another one came first",
    anomalies.G_SINGLE: "One transaction saw a part of what another did, and missed a part",
    anomalies.G_NONADJACENT: "Transactions missed what others did, in turns with having seen it",
    anomalies.G2_ITEM: "Transactions missed what each other did",
    anomalies.NO_ORDER: "In no serial order could all of them have seen what they saw",
}
_LEVEL_WORDS = ("", ", given the order within each process", ", given the order in time")

CAPTIONS: Mapping[str, str] = {
    shape + suffix: f"({shape + suffix}: {words[0].lower()}{words[1:]}{more}.)"
    for shape, words in _SHAPES.items()
    for suffix, more in zip(anomalies.LEVELS, _LEVEL_WORDS, strict=True)
}
"""What each kind of cycle is, in a sentence."""


def explain_no_order(history: History, checker: str, level: int, looked_at: int) -> Finding:
    """The finding where all orders were tried."""
    must = ("", ", also in the order of each process", ", also in the order of time")[level]
    told = f"No serial order of the {len(history)} transactions explains what they read{must}"
    kind = anomalies.NO_ORDER + anomalies.LEVELS[level]
    return Finding(
        checker=checker,
        kind=kind,
        message=f"{told}: all orders that the dependencies allow were tried ({looked_at} steps).",
        operations=tuple(history.operations) if len(history) <= OPERATIONS_MAX else (),
        time_ns=_provable(history.operations) if len(history) <= OPERATIONS_MAX else None,
        evidence={"looked_at": looked_at},
    )


def explain_gave_up(checker: str, looked_at: int, transactions: int) -> Finding:
    """The finding where the budget was used up."""
    why = f"none was found or excluded for these {transactions} transactions in {looked_at} steps"
    return Finding(
        checker=checker,
        kind="budget used up",
        message=f"No anomaly was found; whether there is a serial order is open: {why}.",
        blame=Blame.GAVE_UP,
        evidence={"looked_at": looked_at},
    )


def explain_sighting(history: History, checker: str, sighting: Sighting) -> Finding:
    """The finding for what is wrong without a graph."""
    operations = [history.operation(row) for row in sighting.rows]
    words = Wording(operations)
    message = _SENTENCES[sighting.kind](sighting, operations, words)
    return Finding(
        checker=checker,
        kind=sighting.kind,
        message=message,
        key=visible(sighting.key),
        operations=tuple(operations),
        nodes=_nodes(operations),
        time_ns=_provable(operations),
        evidence={name: visible(value) for name, value in sighting.facts.items()},
    )


Sentence = Callable[[Sighting, Sequence[Operation], Wording], str]


def _reader(sighting: Sighting, operation: Operation, words: Wording, value: Any = None) -> str:
    read = sighting.facts["read"]
    if isinstance(visible(read), list):
        place = read.index(value) if value in read else len(read) - 1
        seen = spell_list(read, place)
    else:
        seen = spell(read)
    who = f"The transaction of {words.who(operation)} that began at {words.began(operation)}"
    return f"{who} read {spell(sighting.key)} = {seen}"


def _internal(sighting: Sighting, operations: Sequence[Operation], words: Wording) -> str:
    expected = sighting.facts["expected"]
    shown = spell_list(expected, len(expected) - 1) if isinstance(visible(expected), list) else spell(expected)
    must = f"must end in {shown}" if sighting.facts.get("ends") else f"must be {shown}"
    return f"{_reader(sighting, operations[0], words)}, but after its own earlier micro-operations that {must}."


def _unwritten(sighting: Sighting, operations: Sequence[Operation], words: Wording) -> str:
    value = sighting.facts["value"]
    return f"{_reader(sighting, operations[0], words, value)}; nobody ever tried to write {spell(value)} to it."


def _aborted(sighting: Sighting, operations: Sequence[Operation], words: Wording) -> str:
    value = sighting.facts["value"]
    who = f"the only transaction that wrote {spell(value)} there, of {words.who(operations[1])}, certainly failed"
    return f"{_reader(sighting, operations[0], words, value)}, but {who}."


def _intermediate(sighting: Sighting, operations: Sequence[Operation], words: Wording) -> str:
    value, key = spell(sighting.facts["value"]), spell(sighting.key)
    who = f"The transaction of {words.who(operations[0])} that began at {words.began(operations[0])}"
    halfway = f"as the transaction of {words.who(operations[1])} left it after writing {value}"
    return f"{who} read {key} {halfway}, before that one wrote it again."


def _future(sighting: Sighting, operations: Sequence[Operation], words: Wording) -> str:
    value = sighting.facts["value"]
    return f"{_reader(sighting, operations[0], words, value)}, with its own {spell(value)}, which it wrote only later."


def _dirty(sighting: Sighting, operations: Sequence[Operation], words: Wording) -> str:
    value, later, key = spell(sighting.facts["value"]), spell(sighting.facts["later"]), spell(sighting.key)
    begin = (
        f"The transaction of {words.who(operations[0])}, which took effect, wrote {later} to {key} on top of {value}"
    )
    return f"{begin}, though the transaction of {words.who(operations[1])} that wrote {value} certainly failed."


def _duplicate(sighting: Sighting, operations: Sequence[Operation], words: Wording) -> str:
    value = sighting.facts["value"]
    read = _reader(sighting, operations[0], words, value)
    return f"{read}, where {spell(value)} stands more than once; it was appended once."


def _incompatible(sighting: Sighting, operations: Sequence[Operation], words: Wording) -> str:
    if "swapped" in sighting.facts:
        first, second = (spell(value) for value in sighting.facts["swapped"])
        read = _reader(sighting, operations[0], words, sighting.facts["swapped"][0])
        return f"{read}; but the transaction of {words.who(operations[1])} appended {first} before {second}."
    reads, key = sighting.facts["reads"], spell(sighting.key)
    differ = next((n for n, pair in enumerate(zip(*reads, strict=False)) if pair[0] != pair[1]), 0)
    who = [f"{spell_list(read, differ)} by {words.who(item)}" for read, item in zip(reads, operations, strict=True)]
    return f"{key} was read as {who[0]} and as {who[1]}: lists only grow, and neither is the beginning of the other."


def _cyclic(sighting: Sighting, _operations: Sequence[Operation], _words: Wording) -> str:
    facts = sighting.facts
    chain = " before ".join(show(visible(value)) for value in facts["versions"])
    why = "; ".join(facts["why"][:6])
    return f"The values of {spell(sighting.key)} would have to come in a circle: {chain} ({why})."


def _lost(sighting: Sighting, operations: Sequence[Operation], words: Wording) -> str:
    who = listed([words.who(item) for item in operations[:5]])
    more = f" and {len(operations) - 5} more" if len(operations) > 5 else ""
    told = f"The transactions of {who}{more} all read the same version of {spell(sighting.key)} and all wrote to it"
    return f"{told}: whichever came later did not see the other's write, and overwrote what it had not seen."


_SENTENCES: Mapping[str, Sentence] = {
    anomalies.INTERNAL: _internal,
    anomalies.UNWRITTEN: _unwritten,
    anomalies.ABORTED: _aborted,
    anomalies.INTERMEDIATE: _intermediate,
    anomalies.FUTURE: _future,
    anomalies.DIRTY_UPDATE: _dirty,
    anomalies.DUPLICATE: _duplicate,
    anomalies.INCOMPATIBLE: _incompatible,
    anomalies.CYCLIC_VERSIONS: _cyclic,
    anomalies.LOST_UPDATE: _lost,
}
