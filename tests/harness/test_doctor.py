"""The doctor, on whatever machine the tests run."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from harness.host import doctor
from harness.host.doctor import EXAMINATIONS, Ability, examine, render
from harness.substrates import disks


def shown(abilities: list[Ability]) -> str:
    """What a person sees."""
    console = Console(width=200, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115 - closed with the console
    with console.file:
        console.print(render(abilities))
    return console.export_text()


def test_every_examination_answers_under_its_name() -> None:
    """None is left out, none raises, in the order of the table."""
    assert [ability.name for ability in examine()] == [name for name, _ in EXAMINATIONS]


def test_what_is_required_and_missing_has_a_line_that_mends_it() -> None:
    """Where this machine lacks something that the default scenario needs."""
    assert all(ability.mend for ability in examine() if ability.required and not ability.ok)


def test_an_examination_that_goes_wrong_is_a_finding() -> None:
    """Whatever machine it is brought to: no traceback."""

    def breaks() -> Ability:
        raise FileNotFoundError("/proc/surprise")

    found = doctor._guarded("odd", breaks)
    assert not found.ok
    assert "/proc/surprise" in found.detail


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with an empty search path."""
    monkeypatch.setattr(doctor, "SEARCH_PATH", "/nowhere")
    found = doctor._tools()
    assert (found.ok, found.required) == (False, True)
    assert found.mend == "sudo apt-get install -y iproute2 iptables util-linux"


def test_the_table_says_all_and_takes_no_text_for_markup() -> None:
    """An error message with brackets is shown as it is."""
    text = shown([Ability(name="x", ok=False, detail="Error: [Errno 1]", mend="sudo [do] it", required=True)])
    assert "NO" in text
    assert "[Errno 1]" in text
    assert "sudo [do] it" in text


def test_the_doctor_finds_what_a_run_would_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is there is no ability without the program that it takes: the probes are those of a run."""
    monkeypatch.setattr(disks.namespaces, "SEARCH_PATH", "/nowhere")
    found = doctor._loop()
    assert not found.ok
    assert (found.detail, found.mend) == ("mkfs.ext4 not found", "sudo apt-get install -y e2fsprogs")
    assert doctor._probed("x", None, "it works") == Ability(name="x", ok=True, detail="it works")
