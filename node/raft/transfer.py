"""Leadership transfer: thesis 3.10.

The leader takes no more proposals, brings the target up to date, and tells it to stand for election at once
(TimeoutNow). The target asks for votes in the leader's name, so that voters answer although they hear a leader; its log
is complete, so it wins, and its newer term is what deposes the old leader. If that has not come to pass within an
election time-out, the leader goes on as before: the message or the votes were lost.

A TimeoutNow that comes late does no harm but an election: it is for one term only, and asks for votes like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.identity import host_of
from node.raft.changes import Changes, Refused, Why
from node.raft.messages import Configuration, Message, Role, TimeoutNow


class Transfer(Changes):
    """A leader's orderly end."""

    transfer_target: str | None = None
    """Whom this leader hands over to at present."""
    _transfer_deadline_ns = 0
    _urged = False
    """The target has been told, and the message may be under way still."""

    # Leader

    def transfer_leadership(self, target: str) -> Refused | None:
        """Begins to hand over to ``target``; None if it is under way now.

        It is done when the target leads; nothing says that it will.
        """
        if self.role is not Role.LEADER:
            return Refused(why=Why.NOT_LEADER, words=f"{self.name} does not lead")
        if target == self.name:
            return Refused(why=Why.INVALID, words=f"{host_of(target)} leads already")
        if target not in self.voters:
            return Refused(why=Why.INVALID, words=f"{host_of(target)} is no voter")
        if self.transfer_target not in (None, target):
            words = f"the leadership is on its way to {host_of(self.transfer_target or '')}"
            return Refused(why=Why.NOT_NOW, words=words)
        if target not in self.heard_lately():
            return Refused(why=Why.NOT_NOW, words=f"{host_of(target)} was not heard lately")
        if self.transfer_target is None:
            self.transfer_target = target
            self._transfer_deadline_ns = self.now_ns + self.timing.election_ns_max
            self._urge_if_ready()
        return None

    def best_successor(self) -> str | None:
        """The voter that has most of the log, of those heard lately; None if there is nobody."""
        heard = self.heard_lately()
        fit = [one for name, one in self.progress.items() if name in self.voters and name in heard]
        return max(fit, key=lambda one: one.match).name if fit else None

    def _urge_if_ready(self) -> None:
        target = self.transfer_target
        progress = None if target is None else self.progress.get(target)
        if progress is not None and not self._urged and progress.match == self.log.last_index:
            self._urged = True
            self.urge(progress.name)

    def urge(self, target: str) -> None:
        """Tells a voter to stand. From now on others may be elected though this leader is heard."""
        self.give_up_lease()
        self.outbox.messages_now.append(TimeoutNow(source=self.name, target=target, term=self.term))

    def end_transfer(self) -> None:
        """It came to pass, or is given up."""
        self.transfer_target = None
        self._urged = False

    def append_commands(self, commands: Sequence[bytes]) -> tuple[int, int] | None:
        """Nothing new while the target catches up (thesis 3.10, step 1)."""
        return None if self.transfer_target is not None else super().append_commands(commands)

    def refusal(self, target: Configuration, *, joint: bool) -> Refused | None:
        """Changes would keep the target from catching up, too."""
        if self.transfer_target is not None:
            return Refused(why=Why.NOT_NOW, words=f"the leadership is on its way to {host_of(self.transfer_target)}")
        return super().refusal(target, joint=joint)

    def follower_answered(self, name: str) -> None:
        """The target may have caught up."""
        super().follower_answered(name)
        if name == self.transfer_target:
            self._urge_if_ready()

    def heartbeat(self) -> None:
        """Gives up when it took too long (thesis 3.10); until then the message is repeated, for it may be lost."""
        super().heartbeat()
        if self.transfer_target is not None and self.now_ns >= self._transfer_deadline_ns:
            self.end_transfer()
        self._urged = False
        self._urge_if_ready()

    def leadership_ends(self) -> None:
        """Successful or not, it is over."""
        self.end_transfer()
        super().leadership_ends()

    def leave_office(self) -> None:
        """Who was taken out does not make the others wait for a time-out."""
        successor = self.best_successor()
        if successor is not None:
            self.urge(successor)
        super().leave_office()

    # Target

    def take_timeout_now(self, message: Message) -> None:
        """The leader of this term asks this server to take over."""
        if message.term == self.term and self.role is not Role.LEADER and self.may_campaign():
            self.start_election(transfer=True)
