"""The process substrate, as far as it can be judged without namespaces; the rest is in tests/integration."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from faults import FAMILIES
from faults.cuts import CLIENT
from faults.fakes.cluster import FakeUndoList
from faults.family import Setup
from harness.errors import HarnessError
from harness.substrates import lab
from harness.substrates.process import ProcessNode, ProcessSubstrate
from harness.substrates.protocol import ABILITIES, Launch, Place, Substrate


def launch(place: Place, places: object) -> Launch:
    del place, places
    return Launch(argv=["true"])


def node() -> ProcessNode:
    exits: dict[str, int] = {}
    return ProcessNode(name="n1", address="10.77.1.1", undo=FakeUndoList(), on_exit=exits.__setitem__)


def test_it_can_do_what_families_need() -> None:
    """The substrate fulfils its contract, and every family that is no question of the system can be injected on it."""
    substrate: Substrate = ProcessSubstrate()
    able = ABILITIES - set(substrate.refused())
    assert all(family.needs & ABILITIES <= able for family in FAMILIES.values())


async def test_places_are_in_the_run_folder(tmp_path: Path) -> None:
    """Every node has a log folder by its name, data beneath it, and an address of its own."""
    names = [f"n{number}" for number in range(1, 8)]
    cluster = await ProcessSubstrate().cluster(
        run_id="r", nodes=names, launch=launch, image=None, folder=tmp_path, undo=FakeUndoList(), setup=Setup()
    )
    assert list(cluster.places) == list(cluster.nodes) == names
    assert all(place.log_dir == str(tmp_path / name) for name, place in cluster.places.items())
    assert all(place.data_dir == str(tmp_path / name / "data") for name, place in cluster.places.items())
    assert len({place.address for place in cluster.places.values()}) == len(names)
    assert lab.BRIDGE_ADDRESS not in {place.address for place in cluster.places.values()}
    assert not list(tmp_path.iterdir()), "nothing is made before the start"
    await cluster.stop()


async def test_the_clients_name_is_taken(tmp_path: Path) -> None:
    """A node cannot be called what the clients' end of links is called."""
    with pytest.raises(HarnessError, match=CLIENT):
        await ProcessSubstrate().cluster(
            run_id="r", nodes=[CLIENT], launch=launch, image=None, folder=tmp_path, undo=FakeUndoList(), setup=Setup()
        )


async def test_too_many_nodes_are_refused() -> None:
    """More nodes than addresses are refused before anything is made."""
    with pytest.raises(HarnessError, match="at most 250"):
        await lab.build([f"n{number}" for number in range(251)])


@pytest.mark.parametrize(
    ("sent", "status", "ours"),
    [
        ([], 0, False),
        ([], -9, False),
        ([signal.SIGKILL], -9, True),
        ([signal.SIGKILL], 1, False),
        ([signal.SIGSTOP, signal.SIGCONT], -11, False),
        ([signal.SIGTERM], 0, True),
        ([signal.SIGTERM], -15, True),
    ],
)
async def test_whose_doing_an_exit_is(sent: list[int], status: int, ours: bool) -> None:
    """Killed by a signal that we sent is ours; a crash is not, even beside our signals; after SIGTERM any end is."""
    judged = node()
    for number in sent:
        await judged.signal(number)
    assert judged._is_ours(status) is ours


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """The error says which node and which program, before anything runs."""
    wrong = node()
    wrong.folder = tmp_path
    wrong.launch = Launch(argv=["capsize-no-such-program"])
    with pytest.raises(HarnessError, match=r"n1.*capsize-no-such-program"):
        await wrong.start()


async def test_the_watchdogs_commands_enter_the_namespace_by_path() -> None:
    """What undoes a rule runs in the node's network namespace."""
    assert node().command(["iptables", "-F"])[:2] == ["nsenter", "--net=/run/netns/n1"]
