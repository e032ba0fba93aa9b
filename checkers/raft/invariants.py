"""Judges a run by the Raft invariants, over the traces of all its nodes (docs/invariants.md lists them with sources).

The traces are re-enacted once (:mod:`checkers.raft.replay`); every invariant is a function of what they tell together.
None compares the clocks of two nodes unless the caller says that they share one. A node without a trace, a torn line
and an entry that can't be known make an invariant keep silent, never cry: a line is written before any message that
reveals its event, so whatever is missing at the end of a trace had no effect on anybody else.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from checkers.raft import applications, elections, membership, persistence, progress, replication
from checkers.raft.replay import Story
from checkers.raft.sightings import CHECKER
from checkers.raft.testimony import Invariant, Testimony, hear
from checkers.raft.timeline import Segment, timeline
from checkers.raft.traces import Start, Trace
from checkers.verdict import Finding, Result

__all__ = ["INVARIANTS", "Segment", "check_traces", "timeline"]

INVARIANTS: Mapping[str, Invariant] = {
    "election safety": elections.election_safety,
    "elected by a majority": elections.elected_by_a_majority,
    "one vote a term": elections.one_vote_a_term,
    "term never goes back": elections.term_never_goes_back,
    "log matching": replication.log_matching,
    "log has no gaps": replication.log_has_no_gaps,
    "log terms never fall": replication.log_terms_never_fall,
    "leader append-only": replication.leader_append_only,
    "cut by a later term": replication.cut_by_a_later_term,
    "leader completeness": replication.leader_completeness,
    "committed prefix is kept": replication.committed_prefix_is_kept,
    "commit agreement": replication.commit_agreement,
    "commit within the log": replication.commit_within_log,
    "commit by own term": replication.commit_by_own_term,
    "commit never goes back": replication.commit_never_goes_back,
    "committed on a majority": persistence.committed_on_majority,
    "match never goes back": progress.match_never_goes_back,
    "quorums intersect": membership.quorums_intersect,
    "one change at a time": membership.one_change_at_a_time,
    "configuration follows the log": membership.configuration_follows_log,
    "state machine safety": applications.state_machine_safety,
    "applied never goes back": applications.applied_never_goes_back,
    "applied was committed": applications.applied_was_committed,
    "snapshot agreement": applications.snapshot_agreement,
    "nothing durable is forgotten": persistence.nothing_durable_is_forgotten,
    "acknowledged on a majority": persistence.acknowledged_on_majority,
}
"""Every invariant by the ``kind`` of its findings, in the order in which a reader should meet them."""

_SHOWN_MAX = 5
"""Findings kept per invariant: one broken write breaks the same invariant at every later index."""

_COUNTED_MAX = 1000


def check_traces(traces: Mapping[str, Trace], *, one_clock: bool, start_monotonic_ns: int | None = None) -> Result:
    """Checks all invariants over the traces of a run's nodes.

    ``one_clock`` says that the nodes share CLOCK_MONOTONIC (process substrate, containers on one machine). With
    ``start_monotonic_ns`` too (run.json), findings carry the run's time.
    """
    if one_clock and start_monotonic_ns is not None:
        traces = {name: replace(trace, origin_ns=start_monotonic_ns) for name, trace in traces.items()}
    with _collector_paused():
        testimony = hear(traces, one_clock=one_clock)
        found = {name: list(islice(judge(testimony), _COUNTED_MAX)) for name, judge in INVARIANTS.items()}
    findings = [finding for every in found.values() for finding in every[:_SHOWN_MAX]]
    counts = {name: len(every) for name, every in found.items()}
    if one_clock and start_monotonic_ns is not None:
        findings = [_timed(finding, start_monotonic_ns) for finding in findings]
    return Result(checker=CHECKER, findings=tuple(findings), statistics=_statistics(testimony, counts))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A million live events make full collections slow (half of the time, measured), and no cycles are made here."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _timed(finding: Finding, start_ns: int) -> Finding:
    """A finding over traces is provable once the last line it rests on was written."""
    last = max(row["monotonic_ns"] for row in finding.evidence["lines"])
    return replace(finding, time_ns=last - start_ns)


def _statistics(testimony: Testimony, counts: Mapping[str, int]) -> dict[str, Any]:
    stories = testimony.stories
    return {
        "one_clock": testimony.one_clock,
        "events": sum(len(story.trace.events) for story in stories),
        "incarnations": {story.identity: _incarnations(story) for story in stories},
        "leaders": sum(len(story.leaders) for story in stories),
        "terms": len({leading.term for story in stories for leading in story.leaders}),
        "committed": len(testimony.committed.entries),
        "torn": [note for story in stories for note in story.trace.notes],
        "violations": dict(counts),
    }


def _incarnations(story: Story) -> int:
    return sum(1 for _ in story.trace.select(Start))
