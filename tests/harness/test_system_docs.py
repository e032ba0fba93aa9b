"""docs/systems.md says what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.systems import SYSTEMS
from harness.systems.etcd_connection import DEFINITE
from harness.systems.protocol import System

PAGE = (Path(__file__).parents[2] / "docs" / "systems.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_every_system_and_option_is_on_the_page(system: System) -> None:
    """With its default, as the code has it; one that is left to the system says so."""
    section = PAGE.partition(f"\n## {system.name}\n")[2].partition("\n## ")[0]
    assert section
    defaults = system.Options().model_dump(mode="json")
    for option, default in defaults.items():
        row = re.search(rf"^\| `{option}` \| ([^|]*)\|", section, re.MULTILINE)
        assert row is not None, f"{system.name}: option {option} is not on docs/systems.md"
        if default is not None:
            assert row[1].strip() == f"`{str(default).lower()}`"


def test_the_table_of_systems_names_what_each_has() -> None:
    """Columns are the systems; those with traces say yes."""
    header = next(line for line in PAGE.splitlines() if line.startswith("| | "))
    names = [cell.strip().strip("`") for cell in header.strip("|").split("|")[1:]]
    assert names == list(SYSTEMS)
    traces = next(line for line in PAGE.splitlines() if line.startswith("| traces"))
    says = [cell.strip().startswith("yes") for cell in traces.strip("|").split("|")[1:]]
    assert says == [SYSTEMS[name].traces for name in names]


def test_every_definite_answer_of_etcd_to_a_write_is_on_the_page() -> None:
    """Nothing is called definite that is not explained; changes of the membership are no writes."""
    written = {text.removeprefix("etcdserver: ") for text in DEFINITE}
    missing = {text for text in written if f"`{text}`" not in PAGE}
    assert missing == {"unhealthy cluster", "re-configuration failed due to not enough started members"}
