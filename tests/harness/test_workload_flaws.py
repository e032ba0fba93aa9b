"""Every workload finds the flaws that it is for, and accuses no correct store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkers import Validity
from harness.fake_store import Flaws
from harness.workloads import WORKLOADS
from tests.harness.flawed_stores import FLAWS, NODES, UNHURRIED, run

RUNS = 10
RATE = 250.0
"""In the fast tests; half of what is usual."""

SURE = {
    "a cut-off node serves reads for half a second": Flaws(isolated="n3", isolated_from_s=1, isolated_for_s=0.5),
    "acknowledged changes of 100 ms lost": Flaws(lose_at_s=1, lose_window_s=0.1, outage_s=0.3),
    "one change in fifty done again": Flaws(repeat_share=0.05, repeat_after_s=0.3),
    "one answer in fifty is another client's": Flaws(crossed_share=0.02),
    "one transaction in ten takes effect in two halves": Flaws(torn_share=0.1, torn_for_s=0.01),
    "fences are not looked at": Flaws(unfenced=True),
    "one try in ten at a held lock is granted": Flaws(doubled_share=0.1),
    "every token is 1": Flaws(same_token=True),
}
"""Flaws so strong that no run may miss them."""

CASES = {
    "set": ("a cut-off", "acknowledged", "one answer"),
    "append": ("a cut-off", "acknowledged", "one change"),
    "counter": ("a cut-off", "acknowledged", "one change"),
    "list-append": ("a cut-off", "acknowledged", "one change", "one transaction"),
    "lock": ("acknowledged", "one answer", "one try"),
    "fenced-lock": ("a cut-off", "acknowledged", "fences", "one try", "every token"),
}


def cases() -> Iterator[tuple[str, str]]:
    """Workloads and the strong flaws that they are for."""
    for name, beginnings in CASES.items():
        yield from ((name, flaw) for flaw in SURE if flaw.startswith(beginnings))


@pytest.mark.parametrize(("name", "flaw"), list(cases()))
def test_strong_flaws_are_found(tmp_path: Path, name: str, flaw: str) -> None:
    """In a run of two seconds, by the workload's own checker, as the system's fault, with the operations."""
    workload = WORKLOADS[name]
    parameters = workload.Parameters(rate=RATE)
    _, result = run(workload, tmp_path / "h.jsonl", SURE[flaw], seed=1, time_s=2, parameters=parameters)
    assert result.validity is Validity.INVALID
    assert all(finding.operations for finding in result.findings)


@pytest.mark.parametrize("name", CASES)
def test_a_correct_store_is_valid(tmp_path: Path, name: str) -> None:
    """Also if some answers come late; and the final operations went through every node, and leave nothing out."""
    workload = WORKLOADS[name]
    history, result = run(
        workload, tmp_path / "h.jsonl", UNHURRIED, seed=2, time_s=2, parameters=workload.Parameters(rate=RATE)
    )
    assert result.validity is Validity.VALID
    assert workload.unread(history)[0] == 0
    final = history.select(history.final.astype(bool))
    assert len(set(final.process.tolist())) == len(NODES)
    assert set(history.functions) == set(workload.functions)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLAWS)
def test_what_is_found_of_weak_flaws(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The table of docs/workloads.md: runs of ten seconds, k of n found; none without a flaw."""
    found: Counter[str] = Counter()
    for flaw, flaws in {**FLAWS[name], "none": Flaws(), "none, but late answers": UNHURRIED}.items():
        for seed in range(RUNS):
            path = tmp_path / f"{flaw}-{seed}.jsonl"
            _, result = run(WORKLOADS[name], path, flaws, seed=seed, time_s=10)
            found[flaw] += result.validity is Validity.INVALID
        with capsys.disabled():
            print(f"| `{name}` | {flaw} | {found[flaw]} of {RUNS} |")
    assert not found["none"]
    assert not found["none, but late answers"]
    assert all(found[flaw] for flaw in FLAWS[name])
