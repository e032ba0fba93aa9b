"""How a figure is spread: least, median, 95th and 99th percentile, greatest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

POINTS = (("min", 0.0), ("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
NS_PER_MS = 1e6


def quantiles(values: npt.NDArray[Any], *, unit: float = 1.0, decimals: int = 3) -> Mapping[str, float]:
    """Quantiles of the values in units of ``unit``; each is one of the values. Empty if there are none."""
    if not len(values):
        return {}
    ordered = np.sort(values)
    places = {name: min(int(len(ordered) * point), len(ordered) - 1) for name, point in POINTS}
    return {name: round(float(ordered[place]) / unit, decimals) for name, place in places.items()}


def quantiles_ms(values_ns: npt.NDArray[Any]) -> Mapping[str, float]:
    """Quantiles in milliseconds of durations in nanoseconds."""
    return quantiles(values_ns, unit=NS_PER_MS)
