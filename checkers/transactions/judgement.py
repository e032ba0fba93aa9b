"""The verdict on a history of transactions: anomalies against what the asked model forbids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from checkers.history import FAIL, INFO, OK, History
from checkers.transactions import consistency
from checkers.transactions.anomalies import IMPLIES, SEVERITY, implied
from checkers.transactions.cycles import Cycles, find_cycles
from checkers.transactions.dependencies import Dependencies, add_process_order, add_real_time, graph_of
from checkers.transactions.explanation import explain_cycle, explain_sighting
from checkers.transactions.lists import observe as observe_lists
from checkers.transactions.observations import Observations
from checkers.verdict import Finding, Result

if TYPE_CHECKING:
    from checkers.checking import Options

FINDINGS_MAX = 20
"""Findings in a result; the others are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked: a consistency model, or anomalies by name."""

    model: str | None
    forbidden: frozenset[str]

    @staticmethod
    def of(options: Options, known: frozenset[str]) -> Question:
        """The question that options ask.

        Raises:
            ValueError: an unknown model, anomaly or setting.
        """
        unknown = sorted(set(options.settings) - known - {"anomalies"})
        if unknown:
            names = ", ".join(sorted(known | {"anomalies"}))
            raise ValueError(f"there is no setting {unknown[0]!r} for transactions; use: {names}")
        asked = options.settings.get("anomalies")
        if asked is None:
            model = consistency.canonical(options.consistency_model)
            return Question(model=model, forbidden=consistency.forbidden(model))
        names_asked = set(asked.split(",") if isinstance(asked, str) else asked)
        for name in sorted(names_asked - set(IMPLIES)):
            raise ValueError(f"there is no anomaly {name!r}; use: {', '.join(IMPLIES)}")
        return Question(model=None, forbidden=frozenset(name for name in SEVERITY if implied([name]) & names_asked))


def judge_lists(history: History, options: Options) -> Result:
    """list-append.

    Raises:
        ValueError: an option has a value that it can't have.
        HistoryError: the history is none of list-append transactions.
    """
    question = Question.of(options, frozenset())
    if options.initial is not None:
        raise ValueError(f"lists begin empty; there is no initial value {options.initial!r}")
    observations = observe_lists(history, null_read=options.null_read)
    return _judge(history, "list-append", question, observations)


def _judge(history: History, checker: str, question: Question, observations: Observations) -> Result:
    edges = observations.edges
    add_process_order(history, observations.rows, edges)
    add_real_time(history, observations.rows, edges)
    graph = graph_of(observations.rows, edges)
    cycles = find_cycles(graph)
    found = {**observations.sightings.counts, **cycles.present}
    findings = _findings(history, checker, question, observations, cycles)
    statistics = _statistics(history, question, observations, graph, found, cycles.unclear)
    return Result(
        checker=checker,
        findings=tuple(findings[:FINDINGS_MAX]),
        statistics={**statistics, "findings_left_out": max(0, len(findings) - FINDINGS_MAX)},
    )


def _findings(
    history: History, checker: str, question: Question, observations: Observations, cycles: Cycles
) -> list[Finding]:
    makers: list[tuple[str, Callable[[], Finding]]] = [
        *((item.kind, partial(explain_sighting, history, checker, item)) for item in observations.sightings.kept),
        *((item.kind, partial(explain_cycle, history, observations, checker, item)) for item in cycles.shown),
    ]
    forbidden = sorted(
        (SEVERITY.index(kind), number) for number, (kind, _) in enumerate(makers) if kind in question.forbidden
    )
    return [makers[number][1]() for _, number in forbidden[:FINDINGS_MAX]]


def _statistics(
    history: History,
    question: Question,
    observations: Observations,
    graph: Dependencies,
    found: Mapping[str, int],
    unclear: Sequence[str],
) -> Mapping[str, Any]:
    no = consistency.ruled_out(found)
    maybe = set(consistency.CONSISTENCY_MODELS) - no
    outcomes = {
        name: int((history.outcome == code).sum()) for name, code in (("ok", OK), ("fail", FAIL), ("info", INFO))
    }
    return {
        "consistency_model": question.model,
        "transactions": len(history),
        **outcomes,
        "info_observed": len(observations.rows) - outcomes["ok"],
        "edges": graph.counts(),
        "anomalies": dict(sorted(found.items(), key=lambda item: SEVERITY.index(item[0]))),
        "not": consistency.weakest(no),
        "may_be": consistency.strongest(maybe),
        "values_written_twice": observations.ambiguous,
        "exact": observations.exact,
        "not_looked_for": consistency.not_looked_for(question.model) if question.model else [],
        "unclear": list(unclear),
    }
