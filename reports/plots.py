"""Latency and rate over time as one SVG, by matplotlib, in colours that follow the page's light or dark theme.

One panel a function (latency on a log scale, coloured by outcome, with the median and the 99th percentile), and one of
operations a second; all share the time axis and the fault bands. Points are rasterized in the SVG, so that its size
does not grow with the history, and thinned by pixel cells: two points on the same pixel are one. Curves are always
computed from every operation.

matplotlib takes half a second to import, so that is done when the first plot is made, and without pyplot, which would
look for a display.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from checkers.history import FAIL, INFO, OK, History
from reports.outcomes import NOT_EQUAL, shown_outcomes
from reports.record import Fault

PANELS_MAX = 6
WIDTH_IN, LATENCY_IN, RATE_IN = 11.0, 1.65, 1.75
DPI = 110
LABEL_ROWS = 4
_CELLS = (1400, 150)
"""Resolution of the thinning: about the pixels of a panel."""

# Stand-ins that become CSS variables after drawing, so that the same SVG works in a light and in a dark page.
_INK, _FAINT, _BAND = "#010203", "#040506", "#070809"
_VARIABLES = {_INK: "var(--ink-2)", _FAINT: "var(--line)", _BAND: "var(--band)"}

OUTCOMES = (
    (OK, "ok", "#3b7dc4"),
    (NOT_EQUAL, "not equal", "#7f95ad"),
    (INFO, "unknown", "#e08a1e"),
    (FAIL, "failed", "#a0568c"),
)
_TINTS = ("#2b6cb0", "#5b9bd5", "#9cc3e6", "#7a8fb8", "#b5b9d6", "#c9d4e8")

_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: sharp, selectable, in the page's font
    "svg.hashsalt": "capsize",  # ids that do not change from build to build
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.family": ["sans-serif"],
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
}


def plot(history: History, faults: Sequence[Fault], end_ns: int) -> str:
    """The SVG element. ``end_ns`` is the end of the time axis.

    Raises:
        Exception: whatever matplotlib raises; the page shows it in the plot's place.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    functions = _panels(history)
    heights = [LATENCY_IN] * len(functions) + [RATE_IN]
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.5), dpi=DPI)
        FigureCanvasSVG(figure)
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        figure.subplots_adjust(
            left=0.065, right=0.985, top=1 - 0.25 / (sum(heights) + 0.5), bottom=0.42 / (sum(heights) + 0.5), hspace=0.2
        )
        _latencies(axes[:-1], history, functions)
        _rates(axes[-1], history, functions, end_ns)
        _decorate(axes, faults, end_ns)
        out = io.StringIO()
        figure.savefig(
            out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _themed(out.getvalue())


def _panels(history: History) -> Sequence[int]:
    """Codes of the functions to show, the most frequent ones."""
    counts = np.bincount(history.f, minlength=len(history.functions)) if len(history) else np.zeros(0, int)
    frequent = np.argsort(-counts, kind="stable")[:PANELS_MAX]
    return sorted(int(code) for code in frequent if counts[code])


def _latencies(axes: Any, history: History, functions: Sequence[int]) -> None:
    ended = history.return_ns >= 0
    ms = np.maximum((history.return_ns - history.call_ns) / 1e6, 1e-3)
    shown = ms[ended]
    low, high = (
        (10 ** np.floor(np.log10(shown.min())), 10 ** np.ceil(np.log10(shown.max() * 1.01)))
        if len(shown)
        else (0.1, 1e3)
    )
    outcomes = shown_outcomes(history)
    for axis, f in zip(axes, functions, strict=True):
        for code, label, colour in OUTCOMES:
            rows = ended & (history.f == f) & (outcomes == code)
            if rows.any():
                x, y = _thinned(history.call_ns[rows] / 1e9, ms[rows])
                axis.scatter(
                    x,
                    y,
                    s=4 if code == OK else 9,
                    c=colour,
                    alpha=0.45 if code == OK else 0.9,
                    linewidths=0,
                    label=label,
                    rasterized=True,
                )
        _quantiles(axis, history, ms, ended & (history.f == f) & (history.outcome == OK))
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")  # powers of ten in words: mathtext is off
        axis.yaxis.set_minor_formatter(lambda _value, _place: "")
        axis.set_ylim(low, high)
        axis.set_ylabel(f"{history.functions[f][:24]}, ms")


def _thinned(x: Any, y: Any) -> tuple[Any, Any]:
    """One point for each cell of the panel that has any."""
    if len(x) < 4000:
        return x, y
    columns = ((x - x.min()) / max(float(np.ptp(x)), 1e-9) * (_CELLS[0] - 1)).astype(np.int64)
    heights = np.log(y)
    rows = ((heights - heights.min()) / max(float(np.ptp(heights)), 1e-9) * (_CELLS[1] - 1)).astype(np.int64)
    _, first = np.unique(columns * _CELLS[1] + rows, return_index=True)
    return x[first], y[first]


def _quantiles(axis: Any, history: History, ms: Any, rows: Any) -> None:
    """Median and 99th percentile of the acknowledged ones, in windows of equal length with at least ten operations
    each.
    """
    if rows.sum() < 40:
        return
    called, values = history.call_ns[rows] / 1e9, ms[rows]
    edges = np.linspace(0, called.max() + 1e-9, int(np.clip(len(called) // 25, 8, 90)) + 1)
    places = np.searchsorted(called, edges)
    spans = [(edges[i], edges[i + 1], values[a:b]) for i, (a, b) in enumerate(pairwise(places))]
    middles = [(begin + end) / 2 for begin, end, _ in spans]
    for quantile, style, label in ((50, "-", "median"), (99, (0, (2.2, 1.6)), "99 %")):
        curve = [np.percentile(part, quantile) if len(part) >= 10 else np.nan for _, _, part in spans]
        axis.plot(middles, curve, color=_INK, linewidth=1.1, linestyle=style, label=label)


def _rates(axis: Any, history: History, functions: Sequence[int], end_ns: int) -> None:
    """Acknowledged operations stacked by function; the others as lines, because they are few and matter."""
    seconds = max(end_ns / 1e9, 1e-3)
    bins = int(np.clip(seconds * 2, 20, 240))
    edges = np.linspace(0, seconds, bins + 1)
    width = seconds / bins
    ended = np.where(history.return_ns >= 0, history.return_ns, history.call_ns) / 1e9
    base = np.zeros(bins)
    for tint, f in zip(_TINTS, functions, strict=False):
        rate = np.histogram(ended[(history.outcome == OK) & (history.f == f)], edges)[0] / width
        axis.stairs(
            base + rate,
            edges,
            baseline=base,
            fill=True,
            color=tint,
            alpha=0.85,
            label=f"ok {history.functions[f][:24]}",
        )
        base = base + rate
    outcomes = shown_outcomes(history)
    for code, label, colour in OUTCOMES[1:]:
        rate = np.histogram(ended[outcomes == code], edges)[0] / width
        if rate.any():
            axis.stairs(rate, edges, color=colour, linewidth=1.5, label=label)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("operations a second")
    axis.set_xlabel("seconds of the run")


def _decorate(axes: Any, faults: Sequence[Fault], end_ns: int) -> None:
    for axis in axes:
        axis.set_xlim(0, max(end_ns / 1e9, 1e-3))
        axis.grid(visible=True, axis="y")
        axis.set_axisbelow(True)
        for begin, end in _bands(faults, end_ns):
            axis.axvspan(begin, end, color=_BAND, linewidth=0, zorder=0)
    for axis in axes[:-1]:
        axis.tick_params(axis="x", length=0)
    for axis, panels in ((axes[0], axes[:-1]), (axes[-1], axes[-1:])):
        _legend(axis, panels)
    for begin_ns, label, row in _labels(faults[:60], end_ns):
        place = {"xycoords": ("data", "axes fraction"), "xytext": (3, -10 - 10 * row), "textcoords": "offset points"}
        axes[0].annotate(label, (begin_ns / 1e9, 1.0), fontsize=8, **place)


def _labels(faults: Sequence[Fault], end_ns: int) -> Iterator[tuple[int, str, int]]:
    """Begin, label and row of each fault's name, so that none is written over another; what fits in no row is left out
    (the table of faults has it).
    """
    free = [0.0] * LABEL_ROWS  # where each row is free again, in ns
    character_ns = end_ns / WIDTH_IN / 17  # 8 pt: about 17 characters an inch
    for fault in faults:
        label = f"{fault.label} {fault.family[:16]}"
        row = next(
            (row for row, since in enumerate(free) if fault.begin_ns is not None and since <= fault.begin_ns), -1
        )
        if fault.begin_ns is not None and row >= 0:
            free[row] = fault.begin_ns + (len(label) + 2) * character_ns
            yield fault.begin_ns, label, row


def _legend(axis: Any, panels: Any) -> None:
    """One legend above an axis for all of its panels, each label once."""
    pairs = [pair for panel in panels for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
    entries = {label: handle for handle, label in reversed(pairs)}
    labels = sorted(entries, key=[label for _, label in pairs].index)
    place = {
        "loc": "lower right",
        "bbox_to_anchor": (1.0, 1.0),
        "ncols": 9,
        "frameon": False,
        "borderpad": 0,
        "fontsize": 8.5,
    }
    axis.legend(
        [entries[label] for label in labels], labels, handlelength=1.3, columnspacing=1.2, markerscale=2, **place
    )


def _bands(faults: Sequence[Fault], end_ns: int) -> Iterator[tuple[float, float]]:
    for fault in faults:
        if fault.begin_ns is not None:
            yield fault.begin_ns / 1e9, (end_ns if fault.end_ns is None else fault.end_ns) / 1e9


def _themed(svg: str) -> str:
    """The bare SVG element, with the stand-in colours as CSS variables and the page's font."""
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    return re.sub(
        r'(<svg[^>]*?) height="[^"]*"',
        r'\1 role="img" aria-label="Latency by function and rates over time"',
        svg,
        count=1,
    )
