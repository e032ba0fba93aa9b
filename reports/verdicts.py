"""How a verdict is told to people: a word, a sign and a sentence, the same on every page and in every list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checkers.verdict import Blame, Finding, Validity
from reports.lenient import integer, text
from reports.record import Record
from reports.titles import lost_a_vote
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
    """``state`` is the validity or :data:`NONE`. ``sentence`` is the large one; ``detail`` is what the verdict says,
    where that is too long to be large; ``reasons`` says why nothing is known, where nothing is.
    """

    state: str
    word: str
    sentence: str
    detail: str = ""
    reasons: Sequence[str] = ()


def headline(record: Record) -> Headline:
    """What stands at the top of a run's page."""
    if record.validity is None:
        return Headline(state=NONE, word=WORDS[NONE], sentence=_unfinished(record), reasons=_remains(record))
    state = record.validity.value
    sentence = record.sentence or _DEFAULTS[record.validity]
    lead = _lead(record.findings[0]) if record.validity is Validity.INVALID and record.findings else ""
    return Headline(
        state=state,
        word=WORDS[state],
        sentence=lead or sentence,
        detail=sentence
        if lead and not any(sentence.startswith(finding.message) for finding in record.findings)
        else "",
        reasons=_doubts(record) if record.validity is Validity.UNKNOWN else (),
    )


def _lead(finding: Finding) -> str:
    if lost_a_vote(finding):
        return "A node forgot, after a restart, whom it had voted for."
    return LEADS.get(finding.kind, "")


LEADS: Mapping[str, str] = {
    "stale read": "A client read a value that had already been replaced.",
    "phantom read": "A client read a value that nobody wrote.",
    "phantom compare-and-set": "An update found a value that nobody wrote.",
    "read before write": "A client read a value before anybody began to write it.",
    "two compare-and-sets consumed one value": "A value that had already been replaced came back.",
    "compare-and-set cycle": "Updates took effect that each needed what only another of them wrote.",
    "value before its origin": "A value was there before what it was made from.",
    "value came back": "A value that had already been replaced came back.",
    "operation inside a compare-and-set chain": "A client saw a value that had already been replaced.",
    "no order possible": "The answers that clients got fit no order of their operations.",
    "not linearizable": "The answers that clients got fit no order of their operations.",
    "election safety": "One term had two leaders.",
    "one vote a term": "A node voted for two candidates in one term.",
    "term never goes back": "A node went back to an earlier term.",
    "nothing durable is forgotten": "A node forgot, after a restart, what it had already stored.",
    "log has no gaps": "A node’s log skipped an index.",
    "log terms never fall": "In a node’s log, an entry has an earlier term than the one before it.",
    "commit within the log": "A node committed entries that it did not have.",
    "commit by own term": "A leader committed an entry in a way that does not make it safe.",
    "commit never goes back": "A node took back a commit.",
    "applied never goes back": "A node applied commands twice, or left some out.",
    "applied was committed": "A node applied a command before it was committed.",
    "snapshot agreement": "A snapshot tells another past than the log that was committed.",
    "log matching": "Two nodes’ logs differ where they must be the same.",
    "leader completeness": "A leader lacked an entry that was already committed.",
    "state machine safety": "Two nodes applied different commands in the same place.",
    "committed prefix is kept": "An entry was removed after it had been committed.",
    "commit agreement": "Two nodes committed different entries in the same place.",
    "acknowledged on a majority": "A write was acknowledged before a majority had stored it.",
    "committed on a majority": "A leader committed an entry before a majority had stored it.",
    "match never goes back": "A leader forgot how far a follower’s log matched its own.",
    "quorums intersect": "Two groups of nodes could each decide alone.",
    "leader append-only": "A leader removed entries of its own log.",
    "elected by a majority": "A node led without the votes of a majority.",
    "cut by a later term": "A node threw entries away though the leader they came from was still in office.",
    "one change at a time": "A leader changed who has a vote before the change before it was settled.",
    "configuration follows the log": "A node went by a membership that is not the one in its log.",
    "CRASH": "A node died by itself.",
    "no progress": "Everything was healed, and the system still did not serve.",
    "no leader": "Everything was healed, and still nobody led.",
    "node left behind": "Everything was healed, and a node still never caught up.",
    "replicas differ": "Everything was healed, and nodes still held different data.",
    "lost element": "Something that had been acknowledged was gone.",
    "phantom element": "A client got something that nobody had put there.",
}
"""What a kind of finding means to somebody who has never heard of it. Other kinds are told by their message."""

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
