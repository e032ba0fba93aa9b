"""Final operations: a change through every node, of something that nobody else touches, before anything is read."""

from __future__ import annotations

from typing import Any

import pytest

from checkers import History
from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.generators.simulation import simulate
from harness.workloads import WORKLOADS
from harness.workloads.finals import CHANGE_NS
from harness.workloads.protocol import Workload, changes, is_change

NODES = ("n1", "n2", "n3")
S = 1_000_000_000


def finals(workload: Workload, outcome: Outcome) -> list[Any]:
    """All that is asked in the end, where every change has this outcome, and reads are served."""

    def respond(_: int, invocation: Invocation) -> tuple[int, Completion]:
        changing = is_change(workload.changing, invocation.f, invocation.value)
        value = 1 if invocation.f == "acquire" else invocation.value
        return 1_000_000, Completion(outcome if changing else Outcome.OK, value)

    generator = workload.final_generator(workload.Parameters(), workers=6, nodes=NODES)
    return list(simulate(generator, workers=6, nodes=NODES, respond=respond))


def touched(invocation: Invocation) -> set[str]:
    """The objects of an operation."""
    return {str(invocation.key)} if invocation.key is not None else {step[1] for step in invocation.value}


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_nodes_client_changes_something_of_its_own_first(name: str) -> None:
    """Through every node one change, which is ok, and then looked at or taken back, before any other operation."""
    workload = WORKLOADS[name]
    done = finals(workload, Outcome.OK)
    for node in NODES:
        change, follow, *rest = [each.invocation for each in done if each.node == node]
        assert is_change(workload.changing, change.f, change.value)
        assert touched(follow) == touched(change)
        others = [each.invocation for each in done if each.node != node]
        assert not any(touched(each) & touched(change) for each in [*rest, *others])


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INFO])
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_change_is_tried_for_longer_than_systems_have_to_recover(name: str, outcome: Outcome) -> None:
    """And each try is one that nobody made before: a try in doubt may have happened, and an acquired lock may be
    nobody's to release.
    """
    workload = WORKLOADS[name]
    tries = [
        each
        for each in finals(workload, outcome)
        if is_change(workload.changing, each.invocation.f, each.invocation.value)
    ]
    for node in NODES:
        mine = [each for each in tries if each.node == node]
        assert mine[-1].call_ns - mine[0].call_ns > CHANGE_NS - S
        assert workload.name == "counter" or len(
            {(each.invocation.key, each.invocation.value) for each in mine}
        ) == len(mine)
    if name == "lock":
        keys = [each.invocation.key for each in tries]
        assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_history_without_operations_has_no_changes(name: str) -> None:
    """A run that was killed before its load began is judged like any other."""
    assert not changes(History.of([]), WORKLOADS[name].changing).any()
