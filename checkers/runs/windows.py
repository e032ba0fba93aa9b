"""When which fault was in force: what availability, liveness, coverage and the ledger share.

Told by a history's fault events, or by ``schedule.jsonl``, which also knows the faults that found nobody to hit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkers.history import OK, Column, History


@dataclass(slots=True, kw_only=True)
class Window:
    """One fault: from the moment its injection began until its healing was done (ns of the run).

    ``injected_ns`` is when it was in force; ``to_ns`` is None for a fault that nobody healed. ``bit`` and ``healed``
    are the harness's own proofs, None if it never got so far.
    """

    id: int
    family: str
    from_ns: int
    injected_ns: int | None = None
    to_ns: int | None = None
    bit: bool | None = None
    healed: bool | None = None
    targets: Sequence[str] = ()
    summary: str = ""
    entry: int | None = None
    """What asked for it: the place in the scenario's list of faults; None if unknown, or if it was drawn at random."""
    reason: str | None = None
    """Why it did not bite, in words, if that is known."""
    hit_nothing: str | None = None
    """Why it is known that it took hold of nothing, although it was in force."""

    def end_ns(self, history_end_ns: int) -> int:
        """When it was over: for one that nobody healed, the end of the history."""
        return history_end_ns if self.to_ns is None else self.to_ns


def fault_windows(events: Iterable[Mapping[str, Any]]) -> tuple[Window, ...]:
    """The faults told by nemesis events (``History.nemesis``), in the order in which their injections began."""
    windows: dict[int, Window] = {}
    for event in events:
        value, time = event.get("value"), int(event.get("time", 0))
        if isinstance(value, Mapping) and "id" in value:
            family = str(value.get("family", "fault"))
            window = windows.setdefault(value["id"], Window(id=value["id"], family=family, from_ns=time))
            _note(window, str(event.get("f")), str(event.get("type")), value, time)
    return tuple(windows.values())


def _note(window: Window, f: str, type_: str, value: Mapping[str, Any], time: int) -> None:
    """What one event adds. Completions tell the proofs; whatever is told later stands."""
    if f == "inject":
        window.targets, window.summary = tuple(value.get("targets", ())), str(value.get("summary", ""))
    if type_ == "invoke":
        return
    proved = bool(value.get("proved"))
    if f == "inject":
        window.injected_ns, window.bit = time, proved
    elif f == "heal":
        window.to_ns, window.healed = time, proved


FREEZE = "freeze"
"""What stopped the nodes so that a person could look at them: no fault, and nobody's failure."""


def freeze_windows(events: Iterable[Mapping[str, Any]]) -> tuple[Window, ...]:
    """When the whole cluster stood still for inspection, from the decision on (events ``freeze`` and ``thaw``)."""
    windows: list[Window] = []
    for event in events:
        value, time = event.get("value"), int(event.get("time", 0))
        if event.get("f") == FREEZE and isinstance(value, Mapping):
            began, nodes = value.get("decided_ns"), tuple(value.get("nodes", ()))
            from_ns = began if isinstance(began, int) else time
            windows.append(Window(id=-1, family=FREEZE, from_ns=from_ns, injected_ns=time, bit=True, targets=nodes))
        elif event.get("f") == "thaw" and windows:
            windows[-1].to_ns, windows[-1].healed = time, True
    return tuple(windows)


def scheduled_windows(rows: Iterable[Mapping[str, Any]]) -> tuple[Window, ...]:
    """The faults of ``schedule.jsonl`` (docs/formats.md), in the order of their begin; without those left out."""
    windows = (_of_row(row) for row in rows if row.get("left_out") is None)
    return tuple(sorted(windows, key=lambda window: (window.from_ns, window.id)))


def _of_row(row: Mapping[str, Any]) -> Window:
    injected, healed = row.get("injected_ns"), row.get("healed_ns")
    return Window(
        id=row["id"],
        family=row["family"],
        from_ns=injected[0] if injected else row.get("planned_ns") or 0,
        injected_ns=injected[1] if injected else None,
        to_ns=healed[1] if healed else None,
        bit=_holds(row.get("bit")),
        reason=_reason(row.get("bit")),
        healed=_holds(row.get("healed")),
        targets=tuple(row.get("targets") or ()),
        summary=row.get("summary") or "",
        entry=None if row.get("drawn") else row.get("entry"),
        hit_nothing=row.get("hit_nothing"),
    )


def _holds(proof: Mapping[str, Any] | None) -> bool | None:
    return None if proof is None else bool(proof.get("holds"))


def _reason(proof: Mapping[str, Any] | None) -> str | None:
    """A proof that does not hold may say why."""
    if proof is None or proof.get("holds"):
        return None
    reason = (proof.get("evidence") or {}).get("reason")
    return None if reason is None else str(reason)


def span_ns(history: History) -> tuple[int, int]:
    """First invocation and last event of any operation; (0, 0) for an empty history."""
    if not len(history):
        return 0, 0
    return int(history.call_ns.min()), int(max(history.call_ns.max(), history.return_ns.max()))


def overlapping_ok(history: History, from_ns: int, to_ns: int) -> Column:
    """A mask of the ok operations that were under way at some time in ``[from_ns, to_ns]``."""
    mask: Column = (history.outcome == OK) & (history.return_ns >= from_ns) & (history.call_ns <= to_ns)
    return mask


def ok_times(history: History) -> Column:
    """The return times of all ok operations, rising."""
    times: Column = np.sort(history.return_ns[history.outcome == OK])
    return times
