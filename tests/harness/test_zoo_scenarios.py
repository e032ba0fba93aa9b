"""Each planted bug has a scenario that is made for it, called as the bug is; the correct build runs the same one."""

from __future__ import annotations

import pytest

from harness.planning.scenario import load_scenario, zoo_scenarios
from harness.systems.raftkv import RAFTKV

LOAD_NS_MAX = 30_000_000_000


def test_every_bug_has_a_scenario_and_every_scenario_a_bug() -> None:
    """Neither is forgotten when the other is added."""
    assert set(zoo_scenarios()) == set(RAFTKV.bugs)


@pytest.mark.parametrize("name", zoo_scenarios())
def test_a_scenario_plants_nothing_itself(name: str) -> None:
    """It is short, is called as its file, and says neither bug nor seed: the hunt adds them, the control does not."""
    scenario = load_scenario(name)
    assert (scenario.name, scenario.head.system) == (name, "raftkv")
    assert (scenario.head.bug, scenario.head.announce_bug, scenario.head.seed) == (None, None, None)
    assert scenario.head.time <= LOAD_NS_MAX
    assert scenario.head.about
