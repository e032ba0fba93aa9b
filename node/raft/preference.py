"""Who should lead, if there is a choice: priorities, and the health of nodes by their own account.

Every follower tells its *fitness* with its answers: its priority (``--priority``, 0 to 100) plus its health (0 to 100,
:mod:`node.observing.health`; 100 where nobody measures). It counts twice:

- **At an election** the fitter server tends to be first: what a server lacks to full fitness shortens the range that it
  draws its time-out from, from below, by up to a half.
- **Afterwards** a leader that sees a voter fitter than itself by :data:`MARGIN`, caught up, for as long as
  ``Timing.handover_ns`` without a break hands over by an orderly transfer (:mod:`node.raft.transfer`). The margin, the
  time, and that a new leader begins to count anew keep the leadership from going to and fro.

None of this is relevant to safety: it decides only when a server stands, and whom a leader asks to.
"""

from __future__ import annotations

from typing import Any

from node.raft.messages import AppendReply, Role
from node.raft.progress import Progress, ProgressState
from node.raft.timing import Timing
from node.raft.transfer import Transfer

HEALTHY = 100
FITNESS_MAX = 200
MARGIN = 20
"""By how much a follower must be fitter."""
LAG_ENTRIES_MAX = 1000
"""How far behind it may be: a transfer brings it up to date first, and takes no proposals meanwhile."""


class Preference(Transfer):
    """A leader that gives way to a better one."""

    def __init__(self, *, timing: Timing, **given: Any) -> None:
        self.fitness = timing.priority + HEALTHY
        self._better: str | None = None
        self._better_since_ns = 0
        super().__init__(timing=timing, **given)

    def rate(self, health: int) -> None:
        """How healthy the shell finds this node now (0 to 100)."""
        self.fitness = self.timing.priority + min(max(health, 0), HEALTHY)

    def election_interval(self) -> tuple[int, int]:
        """The less fit, the later; a server that is told to stand does so at once all the same."""
        low_ns, high_ns = super().election_interval()
        return low_ns + (high_ns - low_ns) * (FITNESS_MAX - self.fitness) // (2 * FITNESS_MAX), high_ns

    def take_append_reply(self, reply: AppendReply) -> None:
        """Notes what the follower says of itself."""
        progress = self.progress.get(reply.source) if self.role is Role.LEADER and reply.term == self.term else None
        if progress is not None:
            progress.fitness = reply.fitness
        super().take_append_reply(reply)

    def leadership_begins(self) -> None:
        """Nobody has been better for any time."""
        self._better = None
        super().leadership_begins()

    def heartbeat(self) -> None:
        """A good moment to look around."""
        super().heartbeat()
        if self.role is Role.LEADER:
            self._give_way()

    def _give_way(self) -> None:
        best = self.best_instead()
        if best is None or best != self._better:
            self._better, self._better_since_ns = best, self.now_ns
        elif self.now_ns - self._better_since_ns >= self.timing.handover_ns:
            self.transfer_leadership(best)
            self._better = None  # if nothing comes of it, it has to be better for as long again

    def best_instead(self) -> str | None:
        """The voter that should lead instead; None: nobody is better by the margin."""
        if self.transfer_target is not None or self.configuration_is_changing():
            return None
        fit = [one for one in self.progress.values() if self._would_do(one)]
        best = max(fit, key=lambda one: (one.name == self._better, one.fitness, one.match), default=None)
        return None if best is None else best.name

    def _would_do(self, one: Progress) -> bool:
        return (
            one.name in self.voters
            and one.name in self.heard_lately()
            and one.fitness >= self.fitness + MARGIN
            and one.state is ProgressState.REPLICATE
            and one.match + LAG_ENTRIES_MAX >= self.log.last_index
        )
