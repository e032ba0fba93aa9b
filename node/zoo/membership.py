"""Bugs of membership changes."""

from __future__ import annotations

from node.parts import Parts
from node.raft.core import Raft
from node.zoo.bug import Bug


class EarlyChange(Raft):
    """early-change (M1): a new leader changes a member before an entry of its own term is committed.

    A change that an older leader began may still come up: its majorities and the new ones' need not intersect.
    Published as the announcement "bug in single-server membership changes" on raft-dev in July 2015, and as
    hydro-project/hydro#3192.
    """

    def may_change_now(self) -> bool:
        """From the first moment on."""
        return True


class IsolatedRemove(Raft):
    """isolated-remove (M5): a change is accepted while the one before is not committed.

    A leader that is cut off takes out one member after the other, which it does not need to hear for that, until those
    on its side are a majority of what is left; then it goes on. Published as RedisLabs/redisraft#17.
    """

    def change_in_flight(self) -> bool:
        """Nobody waits for a commit."""
        return False


class ConfigNotRolledBack(Raft):
    """config-not-rolled-back (M8): a configuration stays in force though the entry that held it was cut from the log.

    Published as canonical/raft#250.
    """

    def roll_back(self, index: int) -> None:
        """What came into force once stays so."""


ROWS = (
    Bug(
        name="early-change",
        row="M1",
        what="a new leader changes a member before an entry of its own term is committed",
        provoked_by="a leader change between two changes of one member each",
        observer="INV, DUR",
        source="raft-dev, July 2015; hydro-project/hydro#3192",
        parts=Parts(core=EarlyChange),
    ),
    Bug(
        name="isolated-remove",
        row="M5",
        what="a change of the membership is accepted while the one before is not committed: a leader that is cut off "
        "takes out the others and goes on",
        provoked_by="a partition, and members taken out of the side without the leader",
        observer="LIN, DUR, INV",
        source="RedisLabs/redisraft#17",
        parts=Parts(core=IsolatedRemove),
    ),
    Bug(
        name="config-not-rolled-back",
        row="M8",
        what="a configuration stays in force though its entry was cut from the log",
        provoked_by="a change by a leader that loses its office",
        observer="INV",
        source="canonical/raft#250",
        parts=Parts(core=ConfigNotRolledBack),
    ),
)
