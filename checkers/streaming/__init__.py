"""Judging while operations arrive: what a run's controller asks, so that a violation is known while the cluster lives.

The final verdict is always that of the batch checkers over the whole history (design, section 6).
"""

from checkers.streaming.stream import Stream, Violation, streams

__all__ = ["Stream", "Violation", "streams"]
