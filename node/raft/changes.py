"""How a leader changes the membership: by one server at a time (thesis 4.1-4.2), or arbitrarily by joint consensus
(section 6; thesis 4.3).

Both ways end in CONFIG entries, which are in force as soon as they are in the log (:mod:`node.raft.membership`). A
change of one voter goes there in one step, because any two majorities around it intersect. Any other goes through a
joint configuration, whose decisions need majorities of the old and of the new voters; once that is committed, the
leader of the day appends the new one: also a leader that only inherited the joint one.

What is refused, and why:

- *While another change is under way* (:meth:`Changes.change_in_flight`): two changes that overlap can reach disjoint
  majorities.
- *Before an entry of the leader's own term is committed* (:meth:`Changes.may_change_now`): a change of an older leader
  may still be about, uncommitted and unseen, and its majorities need not intersect with those of a change that is based
  on the configuration before it. That gap was in the thesis; it was announced, with this remedy, on raft-dev in July
  2015 ("bug in single-server membership changes").
- *Voters that lag* (:meth:`Changes.lag_of`): who is to vote is added as a learner first, and must have caught up, or
  the cluster could not commit for as long as that takes (thesis 4.2.1).
- *A cluster that could not go on* (:meth:`Changes.would_hear_majority`): of the new voters, too few were heard lately.

A leader that is not among the new voters leads on until they have committed, without counting itself, and then steps
down (thesis 4.2.2). Who was taken out is told so once, with the commit; if it never hears of it, PreVote and thesis
4.2.3 keep it from disturbing (:mod:`node.raft.election`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from node.identity import host_of, new_identity
from node.raft.catchup import Catchup
from node.raft.membership import encode_configuration
from node.raft.messages import Configuration, Entry, EntryKind, Role
from node.raft.progress import ProgressState

LEARNER_LAG_ENTRIES_MAX = 1024
"""A learner may be promoted when it lacks no more of what is committed than this: about one AppendEntries, or a tenth
of a second at ten thousand writes a second."""


class Why(enum.Enum):
    """Kinds of refusal. Nothing has happened after any of them."""

    NOT_LEADER = enum.auto()
    NOT_NOW = enum.auto()
    """The same may be granted later."""
    INVALID = enum.auto()
    """It never will be, as the cluster is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A change or a transfer that was not begun; the words are for people."""

    why: Why
    words: str


class Changes(Catchup):
    """Configurations proposed by a leader."""

    _settled = -1
    """The index of the configuration whose commit was acted upon."""

    def leadership_begins(self) -> None:
        """Whatever the last leader left undone is this one's."""
        self._settled = -1
        super().leadership_begins()

    # Asking for a change

    def propose_change(self, target: Configuration, *, joint: bool = False) -> tuple[int, int] | Refused:
        """Begins a change to ``target``; (index, term) of its first entry, or why it was refused.

        ``joint`` allows more than one voter to differ. The change is done when a configuration without ``outgoing`` at
        this or a later index is committed; it happened if the entry at that index is committed with this term.
        """
        refused = self.refusal(target, joint=joint)
        if refused is not None:
            return refused
        old = self.configuration
        if joint and set(target.voters) != set(old.voters):
            target = Configuration(voters=target.voters, outgoing=old.voters, learners=target.learners)
        return self.append_configuration(target)

    def next_identity(self, node: str) -> str:
        """What a node is to be called if the next entry adds it."""
        return new_identity(node, term=self.term, index=self.log.last_index + 1)

    def append_configuration(self, configuration: Configuration) -> tuple[int, int]:
        """Puts it into the leader's log, and so into force."""
        index = self.log.last_index + 1
        self.extend_log([Entry(index, self.term, EntryKind.CONFIG, encode_configuration(configuration))])
        self._flush_due = True
        return index, self.term

    # What is refused

    def refusal(self, target: Configuration, *, joint: bool) -> Refused | None:
        """Why a change to ``target`` can't begin; None if it can."""
        if self.role is not Role.LEADER:
            return Refused(why=Why.NOT_LEADER, words=f"{self.name} does not lead")
        fault = fault_of(self.configuration, target, joint=joint)
        if fault is not None:
            return Refused(why=Why.INVALID, words=fault)
        if self.change_in_flight():
            words = f"another change is under way (at index {self.configuration_index}, committed: {self.commit})"
            return Refused(why=Why.NOT_NOW, words=words)
        if not self.may_change_now():
            words = f"no entry of term {self.term} is committed yet, so an older change may still come up"
            return Refused(why=Why.NOT_NOW, words=words)
        return self._risk_of(target)

    def change_in_flight(self) -> bool:
        """Whether the configuration in force is joint, or may still be rolled back."""
        return bool(self.configuration.outgoing) or self.configuration_index > self.commit

    def may_change_now(self) -> bool:
        """Whether an entry of this leader's own term is committed, which settles whatever older leaders left."""
        return self.commit >= self.term_start

    def _risk_of(self, target: Configuration) -> Refused | None:
        for name in target.voters:
            lag = None if name in self.configuration.voters else self.lag_of(name)
            if lag is not None:
                return Refused(why=Why.NOT_NOW, words=f"{host_of(name)} has not caught up: {lag}")
        if not self.would_hear_majority(target):
            heard = ", ".join(sorted(host_of(name) for name in self.known_alive() if name in target.voters))
            words = f"of the voters that there would be, only {heard or 'nobody'} was heard lately: no majority"
            return Refused(why=Why.NOT_NOW, words=words)
        return None

    def lag_of(self, learner: str) -> str | None:
        """What a learner still lacks, in words; None when it has caught up."""
        progress = self.progress.get(learner)
        if progress is None or learner not in self.heard_lately():
            return "it does not answer"
        if progress.state is not ProgressState.REPLICATE:
            return "where its log ends is not known yet, or it is being sent a snapshot"
        lag = self.commit - progress.match
        if lag > LEARNER_LAG_ENTRIES_MAX:
            return f"it lacks {lag} committed entries, of which {LEARNER_LAG_ENTRIES_MAX} are allowed"
        return None

    def would_hear_majority(self, target: Configuration) -> bool:
        """Whether so many of the new voters answer that they could commit the change, and go on after it."""
        heard = self.known_alive()
        return sum(1 for voter in target.voters if voter in heard) >= self.quorum_size(target.voters)

    def known_alive(self) -> set[str]:
        """Those heard lately, without the benefit of the doubt in which a leader begins (``Progress.contact_ns``): once
        it has committed anything it has heard who is there, and to take somebody out for the sake of one that is long
        dead could be the end.
        """
        doubtful = () if self.commit < self.term_start else self.progress.values()
        return self.heard_lately() - {one.name for one in doubtful if not one.heard}

    def heard_lately(self) -> set[str]:
        """This server, and whom it heard within the longest election time-out."""
        since = self.now_ns - self.timing.election_ns_max
        return {self.name, *(name for name, one in self.progress.items() if one.contact_ns >= since)}

    # When a configuration is committed

    def learn_commit(self, index: int) -> None:
        """A commit may be that of the configuration in force."""
        super().learn_commit(index)
        since = self.configuration_index
        if self.role is Role.LEADER and since <= self.commit and since != self._settled:
            self._settled = since
            self.configuration_committed()

    def configuration_committed(self) -> None:
        """A joint configuration is followed by the new one (section 6); behind any other the leader cleans up."""
        configuration = self.configuration
        if configuration.outgoing:
            self.append_configuration(Configuration(voters=configuration.voters, learners=configuration.learners))
            return
        gone = [name for name in self.progress if name not in configuration.members]
        leads_on = self.name in configuration.voters
        if gone or not leads_on:
            self._beat_due = True
            self.flush()  # tells those, too, who are out
        for name in gone:
            del self.progress[name]
        if not leads_on:
            self.leave_office()

    def leave_office(self) -> None:
        """Thesis 4.2.2: a leader that is no voter steps down once that is committed."""
        self.become_follower(self.term, None)


def fault_of(old: Configuration, target: Configuration, *, joint: bool) -> str | None:
    """What is wrong with a change whatever the state of the cluster; None if nothing is."""
    if target.outgoing:
        return "a change names the voters that there shall be, not those on their way out"
    if not target.voters:
        return "a cluster needs a voter"
    named = [*target.voters, *target.learners]
    if len(set(named)) != len(named):
        return f"somebody is named twice among the voters {target.voters} and learners {target.learners}"
    if target == old:
        return "that is the membership already"
    changed = set(target.voters) ^ set(old.voters)
    if len(changed) > 1 and not joint:
        names = ", ".join(sorted(map(host_of, changed)))
        return f"only one voter can be changed at a time without joint consensus, not {names}"
    new = set(target.voters) - set(old.members)
    if new:
        return f"{', '.join(sorted(map(host_of, new)))} must catch up as a learner before it can vote"
    return None
