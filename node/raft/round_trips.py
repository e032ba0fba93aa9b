"""How long a question and its answer take, as an average that follows (RFC 6298, the estimator of TCP).

A smoothed mean and a smoothed deviation, both exponentially weighted: few numbers, no history, and a change shows after
a handful of samples. What is waited for is the mean plus four deviations; without any answer, twice as long each time.
"""

from __future__ import annotations

ALPHA = 1 / 8
"""Weight of a new sample in the mean."""
BETA = 1 / 4
"""Weight of a new sample in the deviation."""
DEVIATIONS = 4


class RoundTrips:
    """The round trips to one server, in nanoseconds."""

    __slots__ = ("deviation_ns", "mean_ns")

    def __init__(self) -> None:
        self.mean_ns = 0.0
        """0: nothing was measured yet."""
        self.deviation_ns = 0.0

    def measured(self, ns: int) -> None:
        """One round trip (RFC 6298, 2.2 and 2.3)."""
        if not self.mean_ns:
            self.mean_ns, self.deviation_ns = float(max(ns, 1)), ns / 2
            return
        self.deviation_ns += BETA * (abs(self.mean_ns - ns) - self.deviation_ns)
        self.mean_ns += ALPHA * (ns - self.mean_ns)

    @property
    def expected_ns(self) -> int:
        """Within which time an answer is as good as certain (RFC 6298's RTO, without its floor)."""
        return int(self.mean_ns + DEVIATIONS * self.deviation_ns)
