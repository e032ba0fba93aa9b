"""The compose substrate without an engine: the shipped files, and what a run lays over them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from faults.fakes.cluster import FakeUndoList
from faults.family import Setup
from harness.errors import HarnessError
from harness.substrates import compose_project
from harness.substrates.compose import ComposeSubstrate, places_on
from harness.substrates.compose_images import VARIABLES
from harness.substrates.compose_project import FILE, SERVICES, service
from harness.substrates.engine import ContainerSpec
from harness.substrates.images import INPUTS
from harness.substrates.protocol import Launch
from harness.substrates.subnets import Network
from harness.systems.raftkv import CLIENT_PORT, PEER_PORT

FOLDER = FILE.parent
CLUSTER = yaml.safe_load(FILE.read_text())
OVER_SSH = yaml.safe_load((FOLDER / "ssh.yaml").read_text())


def test_the_file_has_the_nodes_that_the_substrate_says() -> None:
    """Each is a server that shares the network of a holder."""
    assert {name for name in CLUSTER["services"] if not name.endswith("-net")} == set(SERVICES)
    for name in SERVICES:
        assert CLUSTER["services"][name]["network_mode"] == f"service:{name}-net"


def test_a_cluster_started_by_hand_has_the_addresses_of_a_run() -> None:
    """So that both are the same cluster: the numbers, and the ports that the system's client expects."""
    places = places_on(Network("10.201.7.0/24"), SERVICES)
    text = FILE.read_text().replace("${CAPSIZE_NET:-10.201.7}", "10.201.7")
    for name, place in places.items():
        assert f"--node {name}={place.address}:{PEER_PORT}:{CLIENT_PORT}" in text
        assert yaml.safe_load(text)["services"][f"{name}-net"]["networks"]["nodes"]["ipv4_address"] == place.address


@pytest.mark.parametrize("path", [FILE, FOLDER / "ssh.yaml"], ids=lambda path: path.name)
def test_images_that_files_name_can_be_made(path: Path) -> None:
    """Every variable has an image, and every target is in the table of the builder."""
    text = path.read_text()
    named = {word.partition("{")[2].partition(":")[0] for word in text.split() if "capsize/" in word and "{" in word}
    assert named <= set(VARIABLES)
    targets = set(re.findall(r"target: (\w+)", text))
    assert targets
    assert targets <= set(INPUTS)


def test_the_scenario_of_the_controller_names_the_hosts_of_the_file() -> None:
    """Five of them, and the file that the keys' service writes."""
    scenario = yaml.safe_load((FOLDER / "ssh-scenario.yaml").read_text())
    assert scenario["hosts"] == "/keys/hosts.yaml"
    assert scenario["nodes"] == len([name for name in OVER_SSH["services"] if name in SERVICES])
    assert "keys:/keys:ro" in OVER_SSH["services"]["controller"]["volumes"]


def test_dollars_are_not_composes() -> None:
    """A command of ours may hold some; compose would put its own variables there."""
    spec = ContainerSpec(
        name="c",
        image="i",
        argv=["sh", "-c", "echo $HOME"],
        labels={"a": "$b"},
        mounts={"/x": "/y"},
        address="10.0.0.1",
    )
    laid_over = service(spec)
    assert laid_over["command"] == ["-c", "echo $$HOME"]
    assert laid_over["labels"] == {"a": "$$b"}
    assert laid_over["volumes"] == ["/x:/y"]
    assert laid_over["networks"] == {"nodes": {"ipv4_address": "10.0.0.1"}}
    assert "networks" not in service(ContainerSpec(name="c", image="i", argv=["a"], labels={}, network_of="h"))


async def test_more_nodes_than_the_file_has_are_refused(tmp_path: Path) -> None:
    """With the nodes that there are, and the way out."""
    with pytest.raises(HarnessError, match=r"no service n6.*--nodes 5, or --substrate docker"):
        await ComposeSubstrate().cluster(
            run_id="r",
            nodes=[*SERVICES, "n6"],
            launch=lambda place, places: Launch(argv=[]),  # noqa: ARG005
            image=None,
            folder=tmp_path,
            undo=FakeUndoList(),
            setup=Setup(),
        )


def test_a_machine_without_compose_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line to type."""
    compose_project.program.cache_clear()
    monkeypatch.setattr(compose_project, "SEARCH_PATH", "/nowhere")
    try:
        with pytest.raises(HarnessError, match="sudo apt-get install -y docker-compose"):
            compose_project.program()
    finally:
        compose_project.program.cache_clear()
