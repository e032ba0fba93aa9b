"""The workload ``set``: elements are added to sets, and sets are read whole.

Every element is a number that nothing else in the run adds. Where the evidence comes from:
:mod:`harness.workloads.growing`. What a set does not show is an addition that was done twice; ``append`` does.

Judged by linearizability, whose polynomial method is exact for sets to which is only added, and which goes on while the
run does; and by ``set-full``, which says of each element what became of it, and measures how long it took to be there
for good.
"""

from __future__ import annotations

from harness.workloads.growing import GrowingWorkload

SET = GrowingWorkload(
    name="set",
    title="elements added to sets, which are read whole; linearizable",
    f="add",
    prefix="s",
    unique=True,
    model="set",
    also=("set-full",),
)
