"""After healing: does the system serve again, and does every node that runs reach the commit index, in a stated time?

Safety must hold always; progress only once the network and a majority are whole again, which the harness has verified
at ``healed_ns`` (design, section 6: safety, then liveness). A machine that was starved meanwhile proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from checkers.history import OK, Column, History
from checkers.runs.windows import span_ns
from checkers.verdict import Blame, Finding, Result

CHECKER = "liveness"
MAJORITY = "liveness of a majority"
LEFT_BEHIND = "node left behind"
DEAD = {"process": "dead"}
"""The last word of a node that had no process when it was waited for, though nobody told of its end."""


def check_liveness(
    history: History,
    *,
    healed_ns: int | None,
    bound_ns: int,
    running: Sequence[str] = (),
    target_commit: int | None = None,
    caught_up_ns: Mapping[str, int] | None = None,
    last: Mapping[str, Any] | None = None,
    starved: str | None = None,
    changes: Column | None = None,
) -> Result:
    """Judges recovery; all times are ns of the run.

    ``healed_ns`` is when healing was verified (None: it was not, which coverage reports, and nothing is judged here).
    ``running`` are the nodes that should run; ``caught_up_ns`` says when each had reached ``target_commit`` (None:
    nobody led); ``last`` holds their last words. ``starved`` is a sentence if the machine was too slow to judge.
    ``changes`` is a mask of the operations that change something (None: all count): where any was asked, only they show
    progress, for who can commit nothing any more may still serve reads.
    """
    if healed_ns is None:
        return Result(checker=CHECKER, statistics={"judged": False})
    caught_up = caught_up_ns or {}
    blame, excuse = (Blame.SYSTEM, "") if starved is None else (Blame.MACHINE, f"; but {starved}")
    first_ok_ns, findings = _service(history, changes, healed_ns, bound_ns, blame, excuse)
    late = [node for node in running if caught_up.get(node, 2**63) - healed_ns > bound_ns]
    if late and target_commit is None:
        findings.append(_no_leader(bound_ns, late, blame, excuse))
    elif late:
        words = last or {}
        findings.extend(_behind(node, words.get(node), target_commit, bound_ns, blame, excuse) for node in late)
    statistics = {
        "judged": True,
        "healed_ns": healed_ns,
        "bound_ms": bound_ns / 1e6,
        "first_ok_ms": None if first_ok_ns is None else (first_ok_ns - healed_ns) / 1e6,
        "target_commit": target_commit,
        "caught_up_ms": {node: (caught_up[node] - healed_ns) / 1e6 for node in running if node in caught_up},
    }
    return Result(checker=CHECKER, findings=tuple(findings), statistics=statistics)


def check_majority(
    history: History,
    *,
    left: Sequence[str],
    words: str,
    healed_ns: int | None,
    until_ns: int,
    bound_ns: int,
    running: Sequence[str] = (),
    target_commit: int | None = None,
    caught_up_ns: Mapping[str, int] | None = None,
    last: Mapping[str, Any] | None = None,
    starved: str | None = None,
    changes: Column | None = None,
) -> Result:
    """Judges a healed majority while the nodes ``left`` stayed behind (``words`` say how).

    From ``healed_ns`` to ``until_ns`` somebody must be served through one of the others, and each of them that runs
    (``running``) reach what was committed when the first leader was seen. The rest as for :func:`check_liveness`.
    """
    if healed_ns is None:
        away = f"while {', '.join(left)} stayed behind"
        message = f"{away}, the others were not seen to be healed: no progress was demanded"
        unseen = Finding(checker=MAJORITY, kind="healing not verified", message=message, blame=Blame.HARNESS)
        return Result(checker=MAJORITY, findings=(unseen,), statistics={"judged": False, "left": list(left)})
    caught_up = caught_up_ns or {}
    blame, excuse = (Blame.SYSTEM, "") if starved is None else (Blame.MACHINE, f"; but {starved}")
    scene = f"while {', '.join(left)} {'was' if len(left) == 1 else 'were'} {words}"
    first_ok_ns = _first_ok(history, changes, healed_ns, until_ns, left)
    findings = []
    if first_ok_ns is None or first_ok_ns - healed_ns > bound_ns:
        findings.append(_unserved(scene, healed_ns, until_ns, bound_ns, first_ok_ns, blame, excuse))
    late = [node for node in running if caught_up.get(node, 2**63) - healed_ns > bound_ns]
    if late and target_commit is None:
        findings.append(_no_leader(bound_ns, late, blame, f", {scene}{excuse}", MAJORITY))
    elif late:
        said = last or {}
        findings.extend(
            _behind(node, said.get(node), target_commit, bound_ns, blame, f", {scene}{excuse}", MAJORITY)
            for node in late
        )
    statistics = {
        "judged": True,
        "left": list(left),
        "words": words,
        "healed_ns": healed_ns,
        "bound_ms": bound_ns / 1e6,
        "first_ok_ms": None if first_ok_ns is None else (first_ok_ns - healed_ns) / 1e6,
        "target_commit": target_commit,
        "caught_up_ms": {node: (caught_up[node] - healed_ns) / 1e6 for node in running if node in caught_up},
    }
    return Result(checker=MAJORITY, findings=tuple(findings), statistics=statistics)


def _first_ok(
    history: History, changes: Column | None, healed_ns: int, until_ns: int, left: Sequence[str]
) -> int | None:
    """When the first operation was acknowledged that was invoked on a healed majority, through one of its nodes."""
    behind = [place for place, name in enumerate(history.nodes) if name in left]
    through = ~np.isin(history.node, behind)
    meanwhile = _telling((history.call_ns >= healed_ns) & (history.call_ns <= until_ns), changes)
    returns = history.return_ns[meanwhile & through & (history.outcome == OK)]
    return int(returns.min()) if len(returns) else None


def _telling(asked: Column, changes: Column | None) -> Column:
    """The operations that show progress."""
    changing = asked if changes is None else asked & changes
    return changing if changing.any() else asked


def _unserved(
    scene: str, healed_ns: int, until_ns: int, bound_ns: int, first_ok_ns: int | None, blame: Blame, excuse: str
) -> Finding:
    waited_ns = until_ns - healed_ns
    if first_ok_ns is None and waited_ns < bound_ns:
        message = (
            f"a majority was healed {scene}, but it was watched for {waited_ns / 1e9:.1f} s only of the "
            f"{bound_ns / 1e9:.1f} s that it has, and nobody was served"
        )
        return Finding(checker=MAJORITY, kind="asked too briefly", message=message, blame=Blame.HARNESS)
    took = "nobody was" if first_ok_ns is None else f"the first was after {(first_ok_ns - healed_ns) / 1e9:.1f} s"
    message = (
        f"a majority was healed at {healed_ns / 1e9:.3f} s {scene}, and should have served through its nodes, but "
        f"{took}; {bound_ns / 1e9:.1f} s are allowed{excuse}"
    )
    evidence = {"healed_ns": healed_ns, "until_ns": until_ns, "first_ok_ns": first_ok_ns, "bound_ns": bound_ns}
    return Finding(
        checker=MAJORITY,
        kind="no progress",
        message=message,
        blame=blame,
        time_ns=healed_ns + bound_ns,
        evidence=evidence,
    )


def _service(
    history: History, changes: Column | None, healed_ns: int, bound_ns: int, blame: Blame, excuse: str
) -> tuple[int | None, list[Finding]]:
    """The first success of an operation invoked after healing, and what is wrong with it.

    The bound runs from the first invocation after healing: before that, nobody asked.
    """
    asked = _telling(history.call_ns >= healed_ns, changes)
    if not asked.any():
        message = "no operation was invoked after healing, so nothing shows that the system serves again"
        return None, [Finding(checker=CHECKER, kind="nobody asked", message=message, blame=Blame.HARNESS)]
    since = int(history.call_ns[asked].min())
    returns = history.return_ns[asked & (history.outcome == OK)]
    first_ok = int(returns.min()) if len(returns) else None
    waited = (span_ns(history)[1] if first_ok is None else first_ok) - since
    if first_ok is not None and waited <= bound_ns:
        return first_ok, []
    if first_ok is None and waited < bound_ns:
        message = (
            f"no operation succeeded after healing, but clients asked for {waited / 1e9:.1f} s only of the "
            f"{bound_ns / 1e9:.1f} s that the system has"
        )
        return None, [Finding(checker=CHECKER, kind="asked too briefly", message=message, blame=Blame.HARNESS)]
    found = (
        "no operation succeeded" if first_ok is None else f"the first operation succeeded after {waited / 1e9:.1f} s"
    )
    message = (
        f"everything was healed at {healed_ns / 1e9:.3f} s, but {found}; {bound_ns / 1e9:.1f} s are allowed{excuse}"
    )
    evidence = {"healed_ns": healed_ns, "asked_ns": since, "first_ok_ns": first_ok, "bound_ns": bound_ns}
    finding = Finding(
        checker=CHECKER, kind="no progress", message=message, blame=blame, time_ns=since + bound_ns, evidence=evidence
    )
    return first_ok, [finding]


def _no_leader(bound_ns: int, nodes: Sequence[str], blame: Blame, excuse: str, checker: str = CHECKER) -> Finding:
    message = f"no node led within {bound_ns / 1e9:.1f} s after healing, though {', '.join(nodes)} run{excuse}"
    return Finding(checker=checker, kind="no leader", message=message, blame=blame, nodes=tuple(nodes))


def _behind(
    node: str, last: Any, target: int | None, bound_ns: int, blame: Blame, excuse: str, checker: str = CHECKER
) -> Finding:
    words = "it did not answer" if last is None else f"it last said {_said(last)}"
    message = (
        f"{node} runs, but did not reach commit index {target} within {bound_ns / 1e9:.1f} s after healing: "
        f"{words}{excuse}"
    )
    if last == DEAD:
        message = f"{node} had ended by itself and did not run {bound_ns / 1e9:.1f} s after healing{excuse}"
    facts = {"target_commit": target, "last": last}
    return Finding(checker=checker, kind=LEFT_BEHIND, message=message, blame=blame, nodes=(node,), evidence=facts)


def _said(last: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in last.items()) if isinstance(last, Mapping) else str(last)
