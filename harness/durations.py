"""Durations of scenarios: those of :mod:`faults.durations`, which parameters of faults are written in, too."""

from faults.durations import LONGEST_NS, Duration, format_duration, parse_duration

__all__ = ["LONGEST_NS", "Duration", "format_duration", "parse_duration"]
