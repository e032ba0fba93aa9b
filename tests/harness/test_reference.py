"""What docs/ says about faults and promises is what the code says, and every example on those pages loads."""

from __future__ import annotations

import re

import pytest

from faults import FAMILIES
from harness.planning.examples import EXAMPLES
from harness.planning.reference import DOCS, PARTS, renewed
from harness.planning.scenario import parse_scenario
from harness.planning.schedule import plan_schedule
from harness.substrates import SUBSTRATES
from harness.substrates.protocol import ABILITIES
from harness.systems.protocol import ABILITIES as SYSTEM_ABILITIES

PAGES = [DOCS / "faults.md", *sorted((DOCS / "faults").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.mark.parametrize("page", PARTS)
def test_the_tables_are_up_to_date(page: str) -> None:
    """`python -m harness.planning.reference` would change nothing."""
    text = (DOCS / page).read_text(encoding="utf-8")
    assert renewed(page, text) == text


def test_every_family_has_an_example_and_a_page() -> None:
    """No more and no fewer."""
    assert set(EXAMPLES) == set(FAMILIES)
    assert {path.stem for path in (DOCS / "faults").glob("*.md")} == set(FAMILIES)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_loads(block: str) -> None:
    """Each block of faults on the pages is a part of a scenario that can be planned."""
    faults = block if "faults:" in block else f"faults:\n{block}"
    scenario = parse_scenario(f"name: t\nnodes: 5\ntime: 120s\n{faults}", "t.yaml")
    assert plan_schedule(scenario, 1)


def test_needs_are_abilities_that_somebody_has() -> None:
    """A misspelt need would be refused nowhere."""
    for family in FAMILIES.values():
        assert family.needs <= ABILITIES | SYSTEM_ABILITIES
        assert family.needs


@pytest.mark.parametrize("name", SUBSTRATES)
def test_what_a_kind_cannot_do_is_refused_on_every_machine(name: str) -> None:
    """The matrix and what a run is told agree."""
    substrate = SUBSTRATES[name]()
    assert set(substrate.cannot) <= set(substrate.refused())
    assert set(substrate.cannot) <= ABILITIES
