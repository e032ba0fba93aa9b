"""Titles of findings: what happened, with the rule that it breaks in brackets.

A checker's kind is the name of a rule for invariants ("election safety") and the name of a pattern for client
histories ("stale read"). Somebody who meets "nothing durable is forgotten" as the title of a finding reads the opposite
of what happened, so pages never show a kind by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from checkers.verdict import Finding
from checkers.wording import capital

RULES: Mapping[str, str] = {
    "election safety": "two leaders were elected in one term",
    "one vote a term": "a node voted for two candidates in one term",
    "term never goes back": "a node went back to an earlier term",
    "log matching": "two logs differ where they must be the same",
    "log has no gaps": "a log skipped an index",
    "log terms never fall": "an entry has an earlier term than the one before it",
    "leader append-only": "a leader removed entries of its own log",
    "leader completeness": "a leader was elected without a committed entry",
    "committed prefix is kept": "a committed entry was removed",
    "commit agreement": "two nodes committed different entries at one index",
    "commit within the log": "a node committed beyond the end of its log",
    "commit by own term": "a leader committed an entry of an earlier term by counting copies",
    "commit never goes back": "a commit index went back",
    "state machine safety": "two nodes applied different commands at one index",
    "applied never goes back": "an applied index went back or jumped",
    "applied was committed": "an entry was applied before it was committed",
    "snapshot agreement": "a snapshot covers another entry than the one that was committed",
    "nothing durable is forgotten": "something stored was forgotten",
    "acknowledged on a majority": "a write was acknowledged before a majority had stored it",
    "committed on a majority": "a leader committed an entry before a majority had stored it",
    "match never goes back": "a leader took back how far it knew a follower's log to match",
    "elected by a majority": "a leader was elected without the votes of a majority",
    "cut by a later term": "a follower removed entries of its own leader's term",
    "one change at a time": "the membership was changed again before the change before it was done",
    "configuration follows the log": "a node goes by a membership that is not the one in its log",
    "quorums intersect": "two configurations were in force whose majorities need not share a node",
}
"""What happened, for each invariant: its kind is the rule that was broken."""

PATTERNS: Mapping[str, str] = {
    "stale read": "a client read a value that had already been replaced",
    "phantom read": "a client read a value that nobody wrote",
    "phantom compare-and-set": "a compare-and-set found a value that nobody wrote",
    "read before write": "a client read a value before anybody began to write it",
    "two compare-and-sets consumed one value": "a value that had already been replaced was found again",
    "compare-and-set cycle": "compare-and-sets took effect of which none can have been first",
    "value before its origin": "a value was there before the value that it was made from",
    "value came back": "a value that had already been replaced came back",
    "operation inside a compare-and-set chain": "a value was seen where there was no room for it",
    "no order possible": "the answers fit no order of the operations",
    "not linearizable": "the answers fit no order of the operations",
    "stale": "a read did not show what an earlier one had shown",
    "lost": "something acknowledged is gone",
    "internal": "a transaction did not see what it had done itself",
    "unwritten-read": "a transaction read an element that nobody wrote",
    "G1a": "a transaction read what certainly did not happen",
    "G1b": "a transaction read the middle of another one",
    "future-read": "a transaction read what it only wrote afterwards",
    "dirty-update": "a transaction went on from what certainly did not happen",
    "duplicate-elements": "an element that was appended once stands twice",
    "incompatible-order": "two reads show one list in orders that exclude each other",
    "cyclic-versions": "values followed one another in a circle",
    "lost-update": "two transactions went on from the same value",
    "no-serial-order": "the transactions fit no order",
    "CRASH": "a node died by itself",
    "fatal": "a node gave up",
    "panic": "a node gave up",
    "traceback": "a node met an error that it was not made for",
    "assertion": "a node found itself in a state that it takes for impossible",
    "replicas differ": "after everything was healed, nodes held different data",
    "lost element": "something acknowledged is gone",
    "phantom element": "a client got something that nobody put there",
    "no progress": "after everything was healed, the system did not serve",
    "no leader": "after everything was healed, nobody led",
    "node left behind": "after everything was healed, a node did not catch up",
}
"""What happened, for the other kinds that accuse the system: their kind is the name of a pattern."""


CYCLES = ("G0", "G1c", "G-single", "G-nonadjacent", "G2")
"""How the names of cycles between transactions begin (Adya); the rest of a name says what else counted."""

CIRCLE = "each of these transactions must come before the next, in a circle"


def title(finding: Finding) -> str:
    """What happened, in a line; a kind that is not known here stands for itself."""
    if finding.kind in RULES:
        return capital(f"{_broken(finding)} (rule broken: {finding.kind})")
    circle = (
        "transactions that each must come before the next, in a circle" if finding.kind.startswith(CYCLES) else None
    )
    happened = PATTERNS.get(finding.kind, circle)
    return capital(f"{happened} ({finding.kind})" if happened else finding.kind)


def lost_a_vote(finding: Finding) -> bool:
    """Whether what was forgotten is a vote; the same rule covers entries of the log, which have an index."""
    return finding.kind == "nothing durable is forgotten" and "index" not in finding.evidence


def _broken(finding: Finding) -> str:
    if finding.kind != "nothing durable is forgotten":
        return RULES[finding.kind]
    return "a stored vote was forgotten" if lost_a_vote(finding) else "a stored entry of the log was forgotten"
