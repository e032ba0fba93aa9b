"""Bugs of leader election."""

from __future__ import annotations

from node.parts import Parts
from node.raft.core import Raft
from node.raft.messages import RequestVote, Role, VoteReply
from node.zoo.bug import Bug


class DupVote(Raft):
    """dup-vote (E1): a candidate counts replies, not voters; one follower whose reply arrives twice votes twice.

    Published as ktoso/akka-raft#45 and xnnyygn/xraft#27.
    """

    def ballot_is_won(self) -> bool:
        """So many replies as a majority has members."""
        return len(self.ballots) >= self.quorum_size(self.voters)


class StaleVote(Raft):
    """stale-vote (E2): a vote that was granted in an older term is counted in the present one.

    Published as xnnyygn/xraft#33 and andreev-io/little-raft#44.
    """

    def vote_counts(self, reply: VoteReply) -> bool:
        """A vote is a vote."""
        if reply.pre:
            return super().vote_counts(reply)
        return reply.granted and self.role is Role.CANDIDATE


class ForgetVote(Raft):
    """forget-vote (E3): a candidate that follows another server of the same term forgets that it voted for itself, and
    may vote once more.

    Published as ktoso/akka-raft#56.
    """

    def become_follower(self, term: int, leader: str | None) -> None:
        """Begins as a follower without a past."""
        lost_election = self.role is Role.CANDIDATE and term == self.term
        super().become_follower(term, leader)
        if lost_election:
            self.vote = None


class StaleLogWins(Raft):
    """stale-log-wins (E8): voters do not compare the candidate's log with their own.

    Published as jgroups-extras/jgroups-raft#14.
    """

    def log_is_up_to_date(self, last_index: int, last_term: int) -> bool:  # noqa: ARG002
        """Any log will do."""
        return True


class PrevoteStuck(Raft):
    """prevote-stuck (E10): pre-votes between servers of different terms are ignored, in silence; without a leader that
    both hear, neither ever learns the other's term.

    Published as etcd-io/etcd#8243.
    """

    def take_vote_request(self, request: RequestVote) -> None:
        """Answers a pre-vote only if the candidate is in the same term."""
        if not request.pre or request.term == self.term + 1:
            super().take_vote_request(request)


class NoCheckQuorum(Raft):
    """no-check-quorum (E12): a leader that can't hear a majority goes on leading; as long as it is heard, nobody else
    can be elected, and nothing is committed.

    Published as the outage of Cloudflare of November 2020 ("A Byzantine failure in the real world").
    """

    def must_step_down(self) -> bool:
        """Never."""
        return False


ROWS = (
    Bug(
        name="dup-vote",
        row="E1",
        what="a candidate counts replies instead of voters: one follower's vote counts as often as it arrives",
        provoked_by="vote replies are duplicated in a split election",
        observer="INV",
        source="ktoso/akka-raft#45, xnnyygn/xraft#27",
        parts=Parts(core=DupVote),
    ),
    Bug(
        name="stale-vote",
        row="E2",
        what="a vote of an older term is counted in the present one",
        provoked_by="vote replies later than the election time-out",
        observer="INV, LIN",
        source="xnnyygn/xraft#33, andreev-io/little-raft#44",
        parts=Parts(core=StaleVote),
    ),
    Bug(
        name="forget-vote",
        row="E3",
        what="a candidate that follows the winner of its term forgets its vote, and may vote again in that term",
        provoked_by="split votes",
        observer="INV",
        source="ktoso/akka-raft#56",
        parts=Parts(core=ForgetVote),
    ),
    Bug(
        name="stale-log-wins",
        row="E8",
        what="voters do not compare the candidate's log with their own: a server that lacks committed entries can win",
        provoked_by="a lagging node times out first",
        observer="DUR, INV",
        source="jgroups-extras/jgroups-raft#14",
        parts=Parts(core=StaleLogWins),
    ),
    Bug(
        name="prevote-stuck",
        row="E10",
        what="pre-votes between servers of different terms are ignored in silence: neither learns the other's term",
        provoked_by="a follower is cut off through an election, and back when the leader is gone for good",
        observer="LIVE",
        source="etcd-io/etcd#8243",
        parts=Parts(core=PrevoteStuck),
    ),
    Bug(
        name="no-check-quorum",
        row="E12",
        what="a leader that can't hear a majority never steps down, and nobody who hears it elects another",
        provoked_by="the leader can send but not receive, and that stays so",
        observer="LIVE",
        source="Cloudflare's outage of 2020-11-02",
        parts=Parts(core=NoCheckQuorum),
    ),
)
