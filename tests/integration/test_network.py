"""Network faults with real namespaces: every effect by the stand-in (or netem, where the kernel has it), under load,
and with nobody there to heal.

Each test runs a controller of its own (tests/integration/network_controller.py), which moves into namespaces for good.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.substrates import shaping
from tests.integration.persons import PERSONS, as_person, writable

pytestmark = pytest.mark.integration

CONTROLLER = str(Path(__file__).parent / "network_controller.py")
refused = shaping.why_refused()
needs_shaping = pytest.mark.skipif(refused is not None, reason=str(refused))
needs_standin = pytest.mark.skipif(shaping.why_no_netem() is None, reason="this kernel has netem: no stand-in is used")


def play(person: str, deed: str, folder: Path) -> dict[str, Any]:
    argv, environment = as_person(person, ["true"], folder)
    scratch = writable(person, folder)
    argv = [*argv[:-1], sys.executable, "-W", "error", CONTROLLER, str(scratch), deed]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user can reach; pytest's own are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="capsize-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@needs_shaping
@pytest.mark.parametrize("person", PERSONS)
def test_every_effect_bites_and_heals(person: str, folder: Path) -> None:
    """As root and as an ordinary user: both proofs hold, and nothing is left in the namespaces."""
    said = play(person, "effects", folder)
    assert set(said) == {"delay", "spoiled", "copied", "rate", "clients"}
    for name, note in said.items():
        assert note["bit"], (name, note)
        assert note["healed"], (name, note)
        assert note["left"] == [], (name, note)


@needs_shaping
def test_nobody_is_there_to_heal(folder: Path) -> None:
    """What was registered takes everything out, twice; a stand-in whose controller is gone ends, and packets pass."""
    said = play("root", "orphan", folder)
    assert said["bit"]
    assert said["statuses"] == [0] * len(said["statuses"])
    assert said["left"] == []
    assert said["alive_before"] == said["standins"] > 0
    assert said["alive_after"] == 0
    assert said["passes"]


@needs_standin
def test_more_than_the_stand_in_carries_is_counted(folder: Path) -> None:
    """A flood is delivered, or lost as asked, or counted as overload: nothing vanishes without being told."""
    said = play("root", "flood", folder)
    assert said["bit"]
    assert said["healed"]
    assert said["packets"] + said["overload_in_kernel"] >= said["sent"]
    assert said["arrived"] == said["sent"] - said["lost"] - said["overload"]


@needs_standin
def test_what_is_held_still_arrives(folder: Path) -> None:
    """Packets that wait when the fault is healed are delivered, at once."""
    said = play("root", "parting", folder)
    assert said["healed"]
    assert said["arrived"] == said["sent"]


@needs_shaping
def test_a_partition_and_a_delay_on_one_link(folder: Path) -> None:
    """Rules of a partition see packets that a delay holds; each heals by itself."""
    said = play("root", "partition", folder)
    assert said == {
        "delayed": True,
        "cut": True,
        "closed_under_both": True,
        "cut_healed": True,
        "delay_healed": True,
        "left": [],
    }
