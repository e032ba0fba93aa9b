"""The workload ``counter``: counters are incremented by one, and read.

An increment tells the new number, so almost every operation says how many came before it: nothing can be **lost** or
**applied twice** without the next one telling. Where the evidence comes from: :mod:`harness.workloads.growing`.

Judged by linearizability: for equal steps the polynomial method is exact, and goes on while the run does.
"""

from __future__ import annotations

from harness.workloads.growing import GrowingWorkload

COUNTER = GrowingWorkload(
    name="counter",
    title="counters that are incremented, which tells the new number, and read; linearizable",
    f="increment",
    prefix="c",
    unique=False,
    model="counter",
)
