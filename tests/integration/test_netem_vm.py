"""The kernel's own netem: our code, from the parameters to the proofs, in a virtual machine whose kernel has it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.netem_vm import MachineError, run

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

RESTRICTED = "cannot mix duplicating netems"
"""What newer kernels (and older ones with the mend) say to copies beside another netem on one device."""


@pytest.fixture(scope="module")
def seen() -> Mapping[str, Any]:
    """What the machine saw; it is booted once for all tests."""
    try:
        result = run()
    except MachineError as error:
        if "CI" in os.environ and "said nothing" in str(error):
            raise
        pytest.skip(str(error))
    assert "error" not in result, result["error"]
    return result


@pytest.mark.parametrize("name", ["delay", "spoiled", "copied", "rate"])
def test_netem_bites_and_heals(seen: Mapping[str, Any], name: str) -> None:
    """Each effect is made by ``tc netem`` alone, proved by bursts and counters, and nothing is left after healing."""
    note = seen["faults"][name]
    assert note["bit"]["holds"], note
    assert set(note["bit"]["means"]) == {"tc netem"}
    assert note["healed"]["holds"], note
    assert note["left"] == []
    assert note["undo_left"] == []


def test_a_connection_takes_the_delay_that_was_asked(seen: Mapping[str, Any]) -> None:
    """50 ms +- 10 ms on one direction: a TCP ping-pong has that mean and that deviation."""
    took = seen["faults"]["delay"]["ping_pong_ms"]
    assert took["mean"] > 45
    assert took["deviation"] > 6
    assert seen["before_ms"]["median"] < 25


def test_what_tc_refuses_is_done_by_the_stand_in(seen: Mapping[str, Any]) -> None:
    """Copies on two links of one device: by netem where the kernel takes it, else by the stand-in, with the reason."""
    note = seen["faults"]["copied to two"]
    assert note["bit"]["holds"], note
    assert note["healed"]["holds"], note
    assert note["left"] == []
    if "stand-in" in note["bit"]["means"]:
        assert RESTRICTED in note["bit"]["no_netem"]["n1"]
        assert set(note["bit"]["means"]) == {"stand-in"}, "one fault's links from one node go one way"


def test_faults_that_meet_on_a_link(seen: Mapping[str, Any]) -> None:
    """The first keeps the link, the second is in force elsewhere and stays so when the first is healed."""
    overlap = seen["overlap"]
    assert overlap["bit"] == [True, True]
    assert overlap["left_to_first"] == ["n1 to n2"]
    assert overlap["second_still_ms"] > 38
    assert overlap["freed_ms"] < 20
    assert overlap["healed"] == [True, True]
    assert overlap["left"] == []


def test_nobody_is_there_to_heal(seen: Mapping[str, Any]) -> None:
    """What clients send is delayed by the stand-in, what nodes send by netem; the registered commands take both out."""
    orphan = seen["orphan"]
    assert orphan["bit"]
    assert orphan["means"] == {"tc netem": ["n2 to n1"], "stand-in": ["client to n1"]}
    assert orphan["undos"] == 2
    assert orphan["statuses"] == [0, 0, 0, 0]
    assert orphan["left"] == []
