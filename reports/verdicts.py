"""How a verdict is told to people: a word, a sign and a sentence, the same on every page and in every list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checkers.verdict import Blame, Validity
from reports.lenient import integer, text
from reports.record import Record
from reports.words import moment, plural

NONE = "none"
"""Stands for the verdict of a run that has none."""

WORDS: Mapping[str, str] = {
    Validity.VALID: "Valid",
    Validity.INVALID: "Invalid",
    Validity.UNKNOWN: "Unknown",
    NONE: "No verdict",
}

SIGNS: Mapping[str, str] = {Validity.VALID: "✓", Validity.INVALID: "✗", Validity.UNKNOWN: "?", NONE: "–"}
"""So that colour is never the only difference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """``state`` is the validity or :data:`NONE`; ``reasons`` says why nothing is known, where nothing is."""

    state: str
    word: str
    sentence: str
    reasons: Sequence[str] = ()


def headline(record: Record) -> Headline:
    """What stands at the top of a run's page."""
    if record.validity is None:
        return Headline(state=NONE, word=WORDS[NONE], sentence=_unfinished(record), reasons=_remains(record))
    state = record.validity.value
    reasons = _doubts(record) if record.validity is Validity.UNKNOWN else ()
    return Headline(
        state=state, word=WORDS[state], sentence=record.sentence or _DEFAULTS[record.validity], reasons=reasons
    )


_DEFAULTS: Mapping[Validity, str] = {
    Validity.VALID: "Everything that was checked held.",
    Validity.INVALID: "The system under test did something that it must not do.",
    Validity.UNKNOWN: "Nothing could be proved, in either direction.",
}


def _unfinished(record: Record) -> str:
    if not record.phases:
        return "This run left no verdict: it ended, or was ended, before anything was recorded."
    last = record.phases[-1]
    if last.end_ns is None:
        since = f"it was in its phase “{last.name}” (since {moment(last.begin_ns)})"
        return f"This run left no verdict: {since} when it ended, or when this page was made."
    return f"This run left no verdict: it ended after its phase “{last.name}”, before it was judged."


def _remains(record: Record) -> Sequence[str]:
    reasons = [
        "What is shown below is what was on disk. The history is complete up to the last event that was written."
    ]
    if record.folder.history.exists():
        reasons.append("To judge what there is: capsize check history.jsonl (in this folder)")
    code = integer(record.run.get("exit_code"))
    if code is not None:
        reasons.append(f"The exit code was {code}.")
    return reasons


def _doubts(record: Record) -> Sequence[str]:
    """Why the verdict is unknown: the findings that say so; nobody is left to guess."""
    doubts = [
        f"{finding.message} ({finding.blame})"
        for finding in record.findings
        if finding.blame not in (Blame.SYSTEM, Blame.BEYOND_PROMISE)
    ]
    if len(doubts) > 8:
        return [*doubts[:8], f"and {plural(len(doubts) - 8, 'more finding')}, below"]
    return (
        doubts
        or [text(note) for note in record.run.get("notes") or ()]
        or ["No finding says why; the log of the harness may."]
    )
