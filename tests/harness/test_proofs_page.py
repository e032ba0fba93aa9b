"""docs/proofs.md: the record of real runs has a cell for everything that is not refused, and all of them hold."""

from __future__ import annotations

import re

import pytest

from faults import FAMILIES
from harness.planning.reference import DOCS
from harness.proving import cells
from harness.substrates import SUBSTRATES
from harness.systems import SYSTEMS

PAGE = (DOCS / "proofs.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(rf"\| ({'|'.join(FAMILIES)}) \|", line)
]


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_every_cell_was_proved_or_is_refused(substrate: str) -> None:
    """What the code refuses on every machine, and nothing else, was refused."""
    refusals = {substrate: SUBSTRATES[substrate]().cannot}
    expected = {(cell.family, cell.system): cell.refused is not None for cell in cells(FAMILIES, refusals, SYSTEMS)}
    shown = {(row[0], row[2]): row[3] == "refused" for row in ROWS if row[1] == substrate}
    assert shown == expected


def test_whatever_was_run_bit_was_healed_and_was_valid() -> None:
    """With evidence of both."""
    for _, _, _, bit, bitten, healed, mended, run in (row for row in ROWS if row[3] != "refused"):
        assert (bit, healed, run) == ("yes", "yes", "valid")
        assert bitten
        assert mended
