"""The verdict on a history of transactions: anomalies against what the asked model forbids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from checkers.history import FAIL, INFO, OK, History
from checkers.search.exploration import Budget
from checkers.transactions import consistency
from checkers.transactions.anomalies import IMPLIES, LEVELS, NO_ORDER, SEVERITY, implied
from checkers.transactions.cycles import STEPS_EASY, Cycles, find_cycles
from checkers.transactions.dependencies import Dependencies, add_process_order, add_real_time, graph_of
from checkers.transactions.explanation import explain_cycle, explain_gave_up, explain_no_order, explain_sighting
from checkers.transactions.lists import observe as observe_lists
from checkers.transactions.observations import Observations
from checkers.transactions.orders import Ordering, seek
from checkers.transactions.register_words import DerivedWords, RegisterWords
from checkers.transactions.registers import Assumptions
from checkers.transactions.registers import observe as observe_registers
from checkers.verdict import Finding, Result

FINDINGS_MAX = 20
"""Findings in a result; the others are counted."""

SETTINGS: Mapping[str, str] = {
    "anomalies": "these anomalies are asked for, instead of what the consistency model forbids (names, with commas)",
}
"""Settings of both kinds of transactions."""

REGISTER_SETTINGS: Mapping[str, str] = {
    **SETTINGS,
    "wfr_keys": "true: in a transaction that read a key and then wrote it, the written value comes after the read one",
    "sequential_keys": "true: each key by itself is sequentially consistent",
    "linearizable_keys": "true: each key by itself is linearizable",
}
"""Settings of rw-register."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked: consistency models (all must hold), or anomalies by name."""

    models: tuple[str, ...]
    forbidden: frozenset[str]

    @staticmethod
    def of(consistency_model: str, asked: str | Sequence[str] | None) -> Question:
        """The question: a model or several with commas between, or, if any are given, anomalies instead.

        Raises:
            ValueError: there is no such model or anomaly.
        """
        if asked is None:
            models = tuple(consistency.canonical(name.strip()) for name in consistency_model.split(","))
            return Question(models=models, forbidden=frozenset().union(*map(consistency.forbidden, models)))
        names = {name.strip() for name in asked.split(",")} if isinstance(asked, str) else set(asked)
        for name in sorted(names - set(IMPLIES)):
            raise ValueError(f"there is no anomaly {name!r}; use: {', '.join(IMPLIES)}")
        return Question(models=(), forbidden=frozenset(name for name in SEVERITY if implied([name]) & names))


def judge_lists(
    history: History,
    settings: Mapping[str, Any],
    *,
    consistency_model: str = "strict-serializable",
    initial: Any = None,
    null_read: str = "value",
    budget: Budget | None = None,
) -> Result:
    """list-append. ``settings``: :data:`SETTINGS`.

    Raises:
        ValueError: an option has a value that it can't have.
        HistoryError: the history is none of list-append transactions.
    """
    check_settings(settings, SETTINGS)
    question = Question.of(consistency_model, settings.get("anomalies"))
    if initial is not None:
        raise ValueError(f"lists begin empty; there is no initial value {initial!r}")
    observations = observe_lists(history, null_read=null_read)
    return _judge(history, "list-append", question, observations, budget or Budget())


def judge_registers(
    history: History,
    settings: Mapping[str, Any],
    *,
    consistency_model: str = "strict-serializable",
    initial: Any = None,
    null_read: str = "value",
    budget: Budget | None = None,
) -> Result:
    """rw-register. ``settings``: :data:`REGISTER_SETTINGS`.

    Raises:
        ValueError: an option has a value that it can't have.
        HistoryError: the history is none of rw-register transactions.
    """
    check_settings(settings, REGISTER_SETTINGS)
    question = Question.of(consistency_model, settings.get("anomalies"))
    assumptions = Assumptions(
        wfr=_flag(settings, "wfr_keys"),
        sequential=_flag(settings, "sequential_keys"),
        linearizable=_flag(settings, "linearizable_keys"),
    )
    observations = observe_registers(history, initial=initial, null_read=null_read, assumptions=assumptions)
    return _judge(history, "rw-register", question, observations, budget or Budget())


def _flag(settings: Mapping[str, Any], name: str) -> bool:
    value = settings.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"the setting {name} is {value!r}; it is true or false")
    return value


def check_settings(settings: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Refuses settings that nobody knows.

    Raises:
        ValueError: there is one.
    """
    for name in sorted(set(settings) - set(known)):
        raise ValueError(f"there is no setting {name!r} for transactions; use: {', '.join(known)}")


def _judge(history: History, checker: str, question: Question, observations: Observations, budget: Budget) -> Result:
    edges = observations.edges.copy()
    add_process_order(history, observations.rows, edges)
    add_real_time(history, observations.rows, edges)
    graph = graph_of(observations.rows, edges)
    cycles = find_cycles(graph)
    found = {**observations.sightings.counts, **cycles.present}
    findings = _findings(history, checker, question, observations, cycles)
    order = _order_unless_proved(history, question, observations, budget, bool(findings))
    if order is not None and not order.exists:
        findings = [_no_order(history, checker, observations, order)]
        if order.exists is False:
            found[NO_ORDER + LEVELS[order.level]] = 1
    statistics = _statistics(history, question, observations, graph, found, cycles.unclear)
    statistics = {**statistics, "proof": _proof(question, observations, order, bool(findings))}
    forbidden = sum(count for kind, count in found.items() if kind in question.forbidden)
    left_out = max(0, forbidden - len(findings))
    return Result(checker=checker, findings=tuple(findings), statistics={**statistics, "findings_left_out": left_out})


def _order_unless_proved(
    history: History, question: Question, observations: Observations, budget: Budget, refused: bool
) -> Ordering | None:
    """Where a serial order is asked for and the graph alone does not say whether there is one."""
    levels = [consistency.SERIAL[model] for model in question.models if model in consistency.SERIAL]
    if refused or observations.exact or not levels:
        return None
    return seek(history, observations, max(levels), budget)


def _no_order(history: History, checker: str, observations: Observations, order: Ordering) -> Finding:
    if order.exists is None:
        return explain_gave_up(checker, order.looked_at, len(history))
    if order.cycle is None:
        return explain_no_order(history, checker, order.level, order.looked_at)
    rows = observations.rows
    links = {(int(rows[a]), int(rows[b]), kind): int(rows[link]) for (a, b, kind), link in order.because.items()}
    processes = {link: int(history.process[link]) for link in links.values()}
    assert isinstance(observations.words, RegisterWords)  # nothing is derived for lists
    words = DerivedWords(plain=observations.words, links=links, processes=processes)
    cycle = replace(order.cycle, kind=NO_ORDER + LEVELS[order.level])
    return explain_cycle(history, observations, checker, cycle, words)


def _proof(question: Question, observations: Observations, order: Ordering | None, refused: bool) -> str:
    """What stands behind the verdict, in words."""
    if refused:
        return "see the findings"
    if order is not None:
        return f"a serial order of {len(order.rows)} transactions was found and replayed"
    if observations.exact and set(question.models) & set(consistency.SERIAL):
        return "no cycle: every order of the transactions that keeps the dependencies is a serial order"
    return "none: no forbidden anomaly was found, which does not prove that the model holds"


def _findings(
    history: History, checker: str, question: Question, observations: Observations, cycles: Cycles
) -> list[Finding]:
    makers: list[tuple[str, int, Callable[[], Finding]]] = [
        *((item.kind, 0, partial(explain_sighting, history, checker, item)) for item in observations.sightings.kept),
        *(
            (item.kind, len(item.steps), partial(explain_cycle, history, observations, checker, item))
            for item in cycles.shown
        ),
    ]
    # What anybody can follow first, then the worst.
    chosen = sorted(
        (steps > STEPS_EASY, SEVERITY.index(kind), steps, number)
        for number, (kind, steps, _) in enumerate(makers)
        if kind in question.forbidden
    )
    return [makers[number][2]() for *_, number in chosen[:FINDINGS_MAX]]


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
        "consistency_model": ", ".join(question.models),
        "transactions": len(history),
        **outcomes,
        "info_observed": len(observations.rows) - outcomes["ok"],
        "edges": graph.counts(),
        "anomalies": dict(sorted(found.items(), key=lambda item: SEVERITY.index(item[0]))),
        "not": consistency.weakest(no),
        "may_be": consistency.strongest(maybe),
        "values_written_twice": observations.ambiguous,
        "exact": observations.exact,
        "not_looked_for": sorted({name for model in question.models for name in consistency.not_looked_for(model)}),
        "unclear": list(unclear),
    }
