"""Leader election: sections 5.2 and 5.4.1 of the paper, with PreVote (thesis 9.6) and the rule of thesis 4.2.3.

A time-out first asks whether an election could be won, without touching anyone's term; only a majority of yeses starts
the election proper. So a server that was cut off can't depose a leader that the others hear.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.raft.membership import Membership
from node.raft.messages import Entry, EntryKind, Message, RequestVote, Role, VoteReply


class Election(Membership):
    """Candidates and voters."""

    ballots: Sequence[str] = ()
    """Who granted what this server asks for at present, itself included, in the order of arrival."""

    # Asking

    def campaign(self) -> None:
        """The election time-out passed without a sign of life: asks for pre-votes in the term that would come next."""
        if not self.may_campaign():
            self.restart_election_timer(redraw=True)
            return
        self.role = Role.PRE_CANDIDATE
        self.leader = None
        self._ask(pre=True)

    def may_campaign(self) -> bool:
        """Whether this server has a vote to win with, or may be needed though it is leaving.

        Thesis 4.2.2: a server that is not part of its latest configuration must go on to stand for election until that
        configuration is committed, for it may be the only one whose log is complete enough to commit it (figure 4.6).
        Of what is committed it may know little, after a restart: so any configuration counts that may be the last one.
        """
        possible = [one for index, one in self.configurations if index > self.commit]
        return any(self.name in one.electorate for one in (self.configuration_at(self.commit), *possible))

    def start_election(self, *, transfer: bool = False) -> None:
        """Section 5.2: increments the term, votes for itself, restarts its timer, asks all others. With ``transfer`` in
        the name of the leader that asked for it (thesis 3.10).
        """
        self.role = Role.CANDIDATE
        self.leader = None
        self.enter_term(self.term + 1, vote=self.name)
        self._ask(pre=False, transfer=transfer)

    def _ask(self, *, pre: bool, transfer: bool = False) -> None:
        self.restart_election_timer(redraw=True)
        self.ballots = [self.name]
        for peer in self.peers:
            self.reply(
                RequestVote(
                    source=self.name,
                    target=peer,
                    term=self.term + 1 if pre else self.term,
                    last_index=self.log.last_index,
                    last_term=self.log.last_term,
                    pre=pre,
                    transfer=transfer,
                )
            )
        self._close_ballot()

    # Counting

    def take_vote_reply(self, reply: VoteReply) -> None:
        """One server's answer."""
        if self.vote_counts(reply):
            self.ballots = [*self.ballots, reply.source]
            self._close_ballot()

    def vote_counts(self, reply: VoteReply) -> bool:
        """A vote counts if it was granted for what is asked now: the same kind, in the same term."""
        if reply.pre:
            return reply.granted and self.role is Role.PRE_CANDIDATE and reply.term == self.term + 1
        return reply.granted and self.role is Role.CANDIDATE and reply.term == self.term

    def ballot_is_won(self) -> bool:
        """Section 5.2: votes from a majority of the servers, each counted once however often its reply arrives."""
        return self.is_quorum(set(self.ballots))

    def _close_ballot(self) -> None:
        if not self.ballot_is_won():
            return
        if self.role is Role.PRE_CANDIDATE:
            self.start_election()
        elif self.peers:
            self._lead()
        else:
            self.extend_log([Entry(self.log.last_index + 1, self.term, EntryKind.NOOP)])

    def _lead(self) -> None:
        self.role = Role.LEADER
        self.leader = self.name
        self.leadership_begins()

    def own_vote_persisted(self) -> None:
        """The only voter leads as soon as its vote is durable, which a no-op written behind it shows.

        With more voters no such wait is needed: a candidate's own vote was durable before it asked anyone else's.
        """
        if not self.peers and self.log.last_term == self.term and self.log.durable == self.log.last_index:
            self._lead()

    # Voting

    def adopts_term(self, message: Message) -> bool:
        """Whether a message of a newer term makes this server enter that term (section 5.1).

        Not for pre-votes, asked or granted: that term may never come. A *refused* pre-vote carries the voter's real
        term, and must be learned from, or a server that fell behind would ask in vain for ever. Not for a vote asked
        while a leader is heard (thesis 4.2.3).
        """
        if isinstance(message, RequestVote):
            return not message.pre and not self.disturbs(message)
        return not (isinstance(message, VoteReply) and message.pre and message.granted)

    def disturbs(self, request: RequestVote) -> bool:
        """Thesis 4.2.3: it stands while a leader is heard; unless that leader itself asked it to (3.10)."""
        return self.hears_leader() and not request.transfer

    def take_vote_request(self, request: RequestVote) -> None:
        """Answers a candidate; a disruptive one (a newer term that was not adopted) gets no answer at all."""
        if request.pre:
            granted = self.may_pre_vote(request)
        elif request.term > self.term:
            return
        else:
            granted = self.may_vote(request)
            if granted:
                self._vote_for(request.source)
        self.reply(
            VoteReply(
                source=self.name,
                target=request.source,
                term=request.term if granted else self.term,
                granted=granted,
                pre=request.pre,
            )
        )

    def _vote_for(self, candidate: str) -> None:
        self.vote = candidate
        if self.role is Role.PRE_CANDIDATE:  # having helped another, it doesn't compete in the next term
            self.become_follower(self.term, None)
        self.restart_election_timer()

    def may_vote(self, request: RequestVote) -> bool:
        """Figure 2, RequestVote: the current term, no vote for another in it, a log as complete as ours; and thesis
        4.2.3, for this term may have been learned from somebody else than the candidate.
        """
        return (
            request.term == self.term
            and not self.disturbs(request)
            and self.vote in (None, request.source)
            and self.log_is_up_to_date(request.last_index, request.last_term)
        )

    def may_pre_vote(self, request: RequestVote) -> bool:
        """Thesis 9.6: would we vote for it, and have we lost our leader too? Binds us to nothing."""
        return (
            request.term > self.term
            and not self.disturbs(request)
            and self.log_is_up_to_date(request.last_index, request.last_term)
        )

    def log_is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Section 5.4.1: the later last term wins; with equal terms, the longer log."""
        return (last_term, last_index) >= (self.log.last_term, self.log.last_index)
