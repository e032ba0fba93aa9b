"""Raft invariants about terms, votes and leaders, judged from traces.

Sources: Ongaro & Ousterhout (2014), figures 2 and 3, 5.2; Ongaro's thesis (2014), 3.4 and 3.8. Each function's
docstring names its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from checkers.raft.membership import Voters, is_quorum, voters_of
from checkers.raft.replay import Story
from checkers.raft.sightings import Sighting, accuse
from checkers.raft.testimony import Testimony
from checkers.raft.traces import Commit, Config, Durable, RoleChange, Start, TermChange, Vote
from checkers.verdict import Finding


def election_safety(testimony: Testimony) -> Iterator[Finding]:
    """At most one leader is elected in a term (figure 3, Election Safety), and each election has a term of its own, so
    that no node wins the same term twice either (5.2: a candidate increments its term)."""
    winners: dict[int, Sighting] = {}
    for story in testimony.stories:
        for leading in story.leaders:
            new = story.at(leading.position)
            first = winners.setdefault(leading.term, new)
            if first != new:
                yield accuse("election safety", _two_wins(leading.term, first, new), [first, new], term=leading.term)


def _two_wins(term: int, first: Sighting, second: Sighting) -> str:
    if first.node == second.node:
        return (
            f"{first.node} became leader of term {term} twice {first.words} and {second.words}; a term has one election"
        )
    return (
        f"term {term} had two leaders: {first.node} {first.words} and {second.node} {second.words}; "
        "two nodes can accept different commands under the same index and term"
    )


def elected_by_a_majority(testimony: Testimony) -> Iterator[Finding]:
    """A leader has the votes of a majority of its voters, given to it in its own term (5.2).

    Every vote is told before the answer that grants it, so it stands in the voter's trace. A trace that may have ended
    before the vote accuses nobody: only one that goes on into a later term (or, if clocks can tell, to a later time)
    without it does.
    """
    if not any(next(story.trace.select(Vote), None) for story in testimony.stories):
        return  # a system that tells of no votes
    for story in testimony.stories:
        voters: Voters = ()
        for position, event in story.trace.select(Start, Config, RoleChange):
            if not isinstance(event, RoleChange):
                voters = told if (told := voters_of(event))[0] else voters
            elif event.role == "leader" and voters:
                names = frozenset().union(*voters)
                possible = {name for name in names if _may_have_voted(testimony, name, story.identity, event)}
                if not is_quorum(possible, voters):
                    yield _too_few_votes(story, position, event.term, sorted(names - possible))


def _may_have_voted(testimony: Testimony, voter: str, candidate: str, won: RoleChange) -> bool:
    story = testimony.by_node.get(voter)
    if story is None or not story.trace.events or voter == candidate:
        return True
    goes_on = testimony.one_clock and story.trace.events[-1].time > won.time
    for _, event in story.trace.select(Vote, Start, TermChange, Durable, RoleChange):
        vote = event.candidate if isinstance(event, Vote) else getattr(event, "vote", None)
        if (event.term, vote) == (won.term, candidate):  # type: ignore[union-attr]
            return True
        goes_on |= event.term > won.term  # type: ignore[union-attr]
    return not goes_on


def _too_few_votes(story: Story, position: int, term: int, lacking: list[str]) -> Finding:
    sighting = story.at(position)
    message = (
        f"{story.trace.node} became leader of term {term} {sighting.words}, but {', '.join(lacking)} did not vote "
        "for it in that term: the others are no majority of the voters, and another leader could win the same term"
    )
    return accuse("elected by a majority", message, [sighting], term=term, lacking=lacking)


@dataclass(slots=True)
class _Ballot:
    """A vote that a node gave in one term; ``firm`` once it must outlive a kill."""

    candidate: str
    position: int
    incarnation: int
    firm: bool


def one_vote_a_term(testimony: Testimony) -> Iterator[Finding]:
    """A server votes for at most one candidate in a term, restarts included (figure 2, votedFor; 5.2).

    A vote that was traced but not yet durable may be lost by a kill before anybody heard of it; then the next
    incarnation may vote anew. So two votes collide if one incarnation gave both, or the first was durable, or it made a
    leader (a candidate asks for votes only after its own vote is on disk). One that was durable is not taken back
    either: whoever has none in this term is free to give another.
    """
    for story in testimony.stories:
        ballots: dict[int, _Ballot] = {}
        incarnation = 0
        durable: dict[int, int] = {}
        for position, event in story.trace.select(Vote, Durable, RoleChange, Start):
            if isinstance(event, Durable):
                if event.vote is not None:
                    durable.setdefault(event.term, position)
                elif event.term in durable:
                    yield _taken_back(story, durable.pop(event.term), position)
            if isinstance(event, Start):
                incarnation += 1
                _recall(ballots, event, position, incarnation)
                continue
            cast = _cast(story, event)
            if cast is None:
                continue
            term, candidate, firm = cast
            known = ballots.get(term)
            if known is None or (known.candidate != candidate and not known.firm and known.incarnation != incarnation):
                ballots[term] = _Ballot(candidate, position, incarnation, firm)
            elif known.candidate == candidate:
                known.firm |= firm
            else:
                yield _two_votes(story, term, candidate, known, position)
                ballots[term] = _Ballot(candidate, position, incarnation, firm)


def _taken_back(story: Story, given: int, position: int) -> Finding:
    first, second = story.at(given), story.at(position)
    term, vote = first.event.term, first.event.vote  # type: ignore[union-attr]
    message = (
        f"{story.trace.node} had its vote of term {term} for {vote} on disk {first.words} and none in that term "
        f"{second.words}; it is free to vote once more"
    )
    return accuse("one vote a term", message, [first, second], term=term, votes=[vote, None])


def _recall(ballots: dict[int, _Ballot], start: Start, position: int, incarnation: int) -> None:
    """A vote that a start found on disk binds this incarnation."""
    known = ballots.get(start.term)
    if start.vote is not None and not (known is not None and known.firm):
        ballots[start.term] = _Ballot(start.vote, position, incarnation, False)


def _cast(story: Story, event: object) -> tuple[int, str, bool] | None:
    """(term, candidate, firm) of the vote that an event tells of."""
    if isinstance(event, Vote):
        return None if event.candidate is None else (event.term, event.candidate, False)
    if isinstance(event, Durable):
        return None if event.vote is None else (event.term, event.vote, True)
    if isinstance(event, RoleChange) and event.role == "leader":
        return event.term, story.identity, True
    return None


def _two_votes(story: Story, term: int, candidate: str, known: _Ballot, position: int) -> Finding:
    first, second = story.at(known.position), story.at(position)
    between = "" if _same_incarnation(story, known.position, position) else ", with a restart between"
    message = (
        f"{story.trace.node} voted twice in term {term}: for {known.candidate} {first.words} "
        f"and for {candidate} {second.words}{between}; two candidates can win that term"
    )
    return accuse("one vote a term", message, [first, second], term=term, votes=[known.candidate, candidate])


def _same_incarnation(story: Story, first: int, second: int) -> bool:
    return not any(story.trace.events[place].__class__ is Start for place in range(first + 1, second))


def term_never_goes_back(testimony: Testimony) -> Iterator[Finding]:
    """The current term increases monotonically (figure 2, currentTerm; 5.1), over restarts too.

    Over a restart only a term that was durable counts: one that was traced and not yet synced may be lost by a kill.
    """
    for story in testimony.stories:
        highest: tuple[int, int] | None = None  # (term, position)
        durable: tuple[int, int] | None = None
        for position, event in story.trace.select(RoleChange, TermChange, Vote, Commit, Durable, Start):
            term = event.term  # type: ignore[union-attr]
            if isinstance(event, Durable):  # a sync may report late what it covered: its term binds restarts only
                durable = max(durable or (0, 0), (term, position))
                continue
            before = durable if isinstance(event, Start) else highest
            if before is not None and term < before[0]:
                yield _lower_term(story, before, term, position)
            if isinstance(event, Start) or highest is None or term > highest[0]:
                highest = (term, position)


def _lower_term(story: Story, before: tuple[int, int], term: int, position: int) -> Finding:
    first, second = story.at(before[1]), story.at(position)
    how = "came back from a restart" if isinstance(second.event, Start) else "went back"
    message = (
        f"{story.trace.node} was in term {before[0]} {first.words} and {how} in term {term} {second.words}; "
        "it can vote again in terms in which it has voted"
    )
    return accuse("term never goes back", message, [first, second], term=term, before=before[0])
