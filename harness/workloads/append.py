"""The workload ``append``: entries are appended to logs (a key's bytes), and logs are read whole.

Every entry is a number that nothing else in the run appends. Where the evidence comes from:
:mod:`harness.workloads.growing`. A log shows more than a set: the order in which things happened, and an **append that
was done twice**, which stands there for good, with whatever came in between.

Judged by linearizability; the polynomial method is exact, and goes on while the run does.
"""

from __future__ import annotations

from harness.workloads.growing import GrowingWorkload

APPEND = GrowingWorkload(
    name="append",
    title="entries appended to logs, which are read whole; linearizable",
    f="append",
    prefix="a",
    unique=True,
    model="log",
)
