"""The docker substrate without Docker: a fake engine whose containers are idle processes on loopback addresses."""

from __future__ import annotations

import ast
import ipaddress
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.cuts import CLIENT
from faults.fakes.cluster import FakeUndoList
from faults.family import Setup
from faults.kill import Kill
from faults.needs import ProcessState
from faults.pause import Pause
from harness.cleanup import marks
from harness.errors import HarnessError
from harness.substrates import images, subnets
from harness.substrates.docker import DockerCluster, DockerSubstrate, Plan
from harness.substrates.docker_node import DirectHands, DockerNode, EngineHands, exit_status
from harness.substrates.engine import EngineError, connect, reach
from harness.substrates.fake_engine import FakeEngine
from harness.substrates.protocol import Image, Launch, Place

NAMES = ("n1", "n2", "n3")
LOOPBACK = subnets.Network("127.64.0.0/10")


def launch(place: Place, places: Mapping[str, Place]) -> Launch:
    """A server that is told its own address and everybody's."""
    return Launch(argv=["server", place.address, *(other.address for other in places.values())], env={"A": place.name})


def plan_for(folder: Path, *, keep_data: bool = False) -> Plan:
    """A cluster on loopback addresses."""
    return Plan(
        run_id=folder.name.replace("_", ""),
        folder=folder,
        image="system:1",
        toolbox="toolbox:1",
        launch=launch,
        keep_data=keep_data,
        pool=LOOPBACK,
    )


def cluster_on(engine: FakeEngine, plan: Plan, undo: FakeUndoList | None = None) -> DockerCluster:
    """A cluster that is not started."""
    return DockerCluster(plan=plan, engine=engine, names=NAMES, undo=undo or FakeUndoList())


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    """An engine that takes its containers along when the test is over."""
    made = FakeEngine()
    yield made
    made.stubborn = frozenset()
    for name in list(made.containers):
        await made.remove(name)


@pytest.fixture
async def cluster(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[DockerCluster]:
    """A running cluster of three."""
    made = cluster_on(engine, plan_for(tmp_path))
    await made.start()
    yield made
    await made.stop()


class TestCluster:
    async def test_every_node_is_a_server_in_the_network_of_a_holder(
        self, cluster: DockerCluster, engine: FakeEngine
    ) -> None:
        """The holder has the address and the right to change the firewall; the server has neither, but shares it."""
        plan = cluster._plan
        holder, server = (engine.containers[name].spec for name in (plan.holder("n2"), plan.server("n2")))
        assert (holder.network, holder.address) == (plan.network, cluster.places["n2"].address)
        assert "NET_ADMIN" in holder.capabilities
        assert (server.network_of, server.network, server.capabilities) == (holder.name, None, ())
        assert server.argv[-4:] == [cluster.places[name].address for name in ("n2", *NAMES)]
        assert server.env["A"] == "n2"

    async def test_everything_carries_the_run_and_its_controller(
        self, cluster: DockerCluster, engine: FakeEngine
    ) -> None:
        """Leftovers of dead controllers must be known as such."""
        controller = str(marks.this_controller())
        assert len(engine.labels) == 2 * len(NAMES) + 1
        for labels in engine.labels.values():
            assert labels == {marks.LABEL_RUN: cluster._plan.run_id, marks.LABEL_CONTROLLER: controller}

    async def test_everything_is_registered_before_it_is_made(self, tmp_path: Path) -> None:
        """A controller that dies at any moment leaves nothing that the watchdog does not know."""
        undo = FakeUndoList()

        class Watching(FakeEngine):
            async def launch(self, spec):  # type: ignore[no-untyped-def]
                assert f"container {spec.name}" in undo.entries
                return await super().launch(spec)

            async def create_network(self, name, **rest):  # type: ignore[no-untyped-def]
                assert f"docker_network {name}" in undo.entries
                await super().create_network(name, **rest)

        cluster = cluster_on(Watching(), plan_for(tmp_path), undo)
        await cluster.start()
        await cluster.stop()
        assert not undo.entries

    async def test_clients_and_nodes_reach_one_another(self, cluster: DockerCluster) -> None:
        """The links of all nodes and of the controller answer, through sockets that the holders handed out."""
        pairs = [(one, other) for one in (*NAMES, CLIENT) for other in (*NAMES, CLIENT) if one != other]
        assert all((await cluster.links.probe(pairs, timeout_s=5)).values())

    async def test_a_subnet_of_somebody_else_is_passed_over(self, engine: FakeEngine, tmp_path: Path) -> None:
        """A run that was faster takes its subnet without our knowing: the next is tried."""
        plan = plan_for(tmp_path)
        first = next(subnets.candidates(plan.run_id, [], LOOPBACK))
        engine.taken = {str(first)}
        cluster = cluster_on(engine, plan)
        await cluster.start()
        assert ipaddress.ip_address(cluster.places["n1"].address) not in first
        await cluster.stop()

    async def test_a_failed_start_is_removed(self, engine: FakeEngine, tmp_path: Path) -> None:
        """One container is refused: the error comes when all others are there, and stop removes them."""
        undo = FakeUndoList()
        plan = plan_for(tmp_path)
        engine.refused = frozenset({plan.server("n2")})
        cluster = cluster_on(engine, plan, undo)
        with pytest.raises(EngineError, match="refused"):
            await cluster.start()
        assert len(engine.containers) == 2 * len(NAMES) - 1
        await cluster.stop()
        assert (engine.containers, engine.networks, undo.entries) == ({}, {}, {})

    async def test_stop_says_what_is_left_and_keeps_the_undo(self, engine: FakeEngine, tmp_path: Path) -> None:
        """What cannot be removed is named, the rest is removed, and the watchdog still knows of it."""
        undo = FakeUndoList()
        plan = plan_for(tmp_path)
        cluster = cluster_on(engine, plan, undo)
        await cluster.start()
        engine.stubborn = frozenset({plan.server("n3")})
        with pytest.raises(HarnessError, match=f"{plan.server('n3')}.*capsize clean"):
            await cluster.stop()
        assert list(engine.containers) == [plan.server("n3")]
        assert f"container {plan.server('n3')}" in undo.entries
        engine.stubborn = frozenset()
        await cluster.stop()
        assert not undo.entries

    async def test_data_goes_and_logs_stay(self, engine: FakeEngine, tmp_path: Path) -> None:
        """Data stays only if the scenario keeps it; what a container printed before its log was open is kept, too."""
        engine.printed = b"sh: server: not found\n"
        for keep in (False, True):
            cluster = cluster_on(engine, plan_for(tmp_path, keep_data=keep))
            await cluster.start()
            await cluster.collect()
            await cluster.stop()
            assert (tmp_path / "n1" / "data").exists() is keep
            assert (tmp_path / "n1" / "docker.log").read_bytes() == engine.printed

    async def test_a_death_that_no_fault_caused_is_an_exit(self, cluster: DockerCluster, engine: FakeEngine) -> None:
        """Killed by a fault: no exit. Killed by itself: an exit with the signal."""
        await cluster.nodes["n1"].signal(signal.SIGKILL)
        process = engine.containers[cluster._plan.server("n2")].process
        process.send_signal(signal.SIGSEGV)
        process.wait(timeout=10)
        assert await cluster.exits() == {"n2": -signal.SIGSEGV}

    async def test_a_kill_does_not_erase_an_earlier_crash(self, cluster: DockerCluster, engine: FakeEngine) -> None:
        """Neither the kill that comes too late, nor the start that heals it."""
        process = engine.containers[cluster._plan.server("n2")].process
        process.send_signal(signal.SIGSEGV)
        process.wait(timeout=10)
        node = cluster.nodes["n2"]
        await node.signal(signal.SIGKILL)
        assert await cluster.exits() == {"n2": -signal.SIGSEGV}
        await node.start()
        await node.signal(signal.SIGKILL)
        assert await cluster.exits() == {"n2": -signal.SIGSEGV}


class TestFaults:
    async def test_kill_bites_and_heals(self, cluster: DockerCluster) -> None:
        """The real fault on it: dead, then alive as another process."""
        before = cluster.nodes["n1"].pids()
        fault = Kill(targets=("n1", "n3"), cluster=cluster)
        assert (await fault.inject()).holds
        assert await cluster.nodes["n1"].state() is ProcessState.DEAD
        assert (await fault.heal()).holds
        assert cluster.nodes["n1"].pids() != before

    @pytest.mark.parametrize("direct", [False, True])
    async def test_pause_bites_and_heals(self, cluster: DockerCluster, engine: FakeEngine, direct: bool) -> None:
        """By the engine's freezer, or by signals where the processes are ours."""
        node = cluster.nodes["n2"]
        assert isinstance(node, DockerNode)
        node.hands = DirectHands(1) if direct else node.hands
        fault = Pause(targets=("n2",), cluster=cluster)
        assert (await fault.inject()).holds
        assert engine.containers[cluster._plan.server("n2")].paused is not direct
        assert (await fault.heal()).holds

    async def test_what_is_frozen_can_be_killed(self, cluster: DockerCluster, engine: FakeEngine) -> None:
        """Engines refuse to signal a frozen container: it is thawed first."""
        node = cluster.nodes["n1"]
        await node.signal(signal.SIGSTOP)
        await node.signal(signal.SIGKILL)
        assert await node.state() is ProcessState.DEAD
        assert not engine.containers[cluster._plan.server("n1")].paused

    async def test_a_running_server_is_not_started_again(self, cluster: DockerCluster) -> None:
        """Two servers on the same data would be our fault, not the system's."""
        with pytest.raises(HarnessError, match="n1 runs already"):
            await cluster.nodes["n1"].start()

    def test_commands_run_in_the_network_namespace_only(self) -> None:
        """Root uses this machine's tools; everybody else those of the holder."""
        assert DirectHands(7).command(["iptables", "-L"]) == ["nsenter", "--net=/proc/7/ns/net", "iptables", "-L"]
        by_engine = EngineHands(FakeEngine(), "holder").command(["iptables", "-L"])
        assert by_engine == ["docker", "exec", "-i", "holder", "iptables", "-L"]

    @pytest.mark.parametrize(("code", "status"), [(0, 0), (1, 1), (128, 128), (137, -9), (139, -11)])
    def test_exit_codes_above_128_are_signals(self, code: int, status: int) -> None:
        """As shells and the engine say it."""
        assert exit_status(code) == status


class TestSubstrate:
    async def test_a_system_without_an_image_is_refused(self, tmp_path: Path) -> None:
        """With the next step."""
        with pytest.raises(HarnessError, match="--substrate process"):
            await DockerSubstrate().cluster(
                run_id="r", nodes=NAMES, launch=launch, image=None, folder=tmp_path, undo=FakeUndoList(), setup=Setup()
            )

    async def test_no_node_is_called_like_the_clients(self, tmp_path: Path) -> None:
        """The name is taken by the controller's end of links."""
        with pytest.raises(HarnessError, match=CLIENT):
            await DockerSubstrate().cluster(
                run_id="r",
                nodes=[CLIENT],
                launch=launch,
                image=None,
                folder=tmp_path,
                undo=FakeUndoList(),
                setup=Setup(),
            )


class TestReach:
    def test_an_engine_that_is_not_there_is_a_clear_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No socket file, or nobody behind it: which engine, and why; and no open socket is left (a warning fails)."""
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
        with pytest.raises(EngineError, match=r"none \(no such file or directory\)"):
            connect()

    def test_somebody_who_listens_is_an_engine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A knock is no conversation; engines over TCP are left to the SDK."""
        path = tmp_path / "sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(path))
            listening.listen()
            monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
            reach()
        monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
        reach()


class TestSubnets:
    TABLE = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "br0\t0000C10A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )

    def test_routes_are_read(self) -> None:
        """The kernel's table, numbers in host order."""
        assert subnets.host_routes(self.TABLE) == ["0.0.0.0/0.0.0.0", "10.193.0.0/255.255.0.0"]

    @given(st.text(min_size=1), st.lists(st.integers(0, (1 << 22) - 1), max_size=20))
    def test_candidates_collide_with_nothing(self, run_id: str, places: list[int]) -> None:
        """Whatever is taken, and the default route is no obstacle."""
        base = int(subnets.POOL.network_address)
        taken = [str(subnets.Network((base + place & ~0xFFF, 20))) for place in places]
        found = next(subnets.candidates(run_id, [*taken, "0.0.0.0/0", "fe80::/64"]))
        assert found.subnet_of(subnets.POOL)
        assert not any(found.overlaps(subnets.Network(other)) for other in taken)

    def test_two_runs_begin_at_different_places(self) -> None:
        """So that side by side they rarely ask for the same."""
        first, second = (next(subnets.candidates(run, [])) for run in ("a1b2c3", "a1b2c4"))
        assert first != second

    def test_a_full_pool_has_no_candidates(self) -> None:
        """An end, not an endless search."""
        assert list(subnets.candidates("r", [str(subnets.POOL)])) == []

    def test_too_many_nodes_are_refused(self) -> None:
        """A /24 has room for so many."""
        with pytest.raises(ValueError, match="at most 200"):
            subnets.addresses(subnets.Network("10.1.1.0/24"), [f"n{number}" for number in range(201)])


class TestImages:
    def test_the_tag_follows_from_what_goes_in(self, tmp_path: Path) -> None:
        """A changed source is another image; anything else is the same."""
        for name in ("compose/Dockerfile", "compose/node.lock", "node/parts.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("1")
        image = Image(target="raftkv", tag="capsize/raftkv")
        first = images.reference(image, tmp_path)
        (tmp_path / "README.md").write_text("other")
        assert images.reference(image, tmp_path) == first
        (tmp_path / "node/parts.py").write_text("2")
        assert images.reference(image, tmp_path) != first
        assert first.startswith("capsize/raftkv:")

    def test_an_unknown_target_is_refused(self) -> None:
        """With those that are known."""
        with pytest.raises(images.ImageError, match=r"known are .*raftkv, toolbox"):
            images.reference(Image(target="etdc", tag="x"))

    def test_targets_are_those_of_the_dockerfile(self) -> None:
        """The table and the file agree."""
        text = (images.ROOT / images.DOCKERFILE).read_text()
        stages = {line.rpartition(" AS ")[2] for line in text.splitlines() if line.startswith("FROM ")}
        assert set(images.INPUTS) == {stage for stage in stages if not stage.endswith("packages")}

    def test_equal_contexts_are_equal_bytes(self) -> None:
        """Else the engine's layer cache would never hit."""
        files = {"b": b"2", "a": b"1"}
        assert images.context(files).getvalue() == images.context(dict(sorted(files.items()))).getvalue()

    def test_the_mirror_is_that_of_the_release(self) -> None:
        """Not of its updates; with universe where pip lives there."""
        lines = ["http://m/ubuntu/ noble main", "http://m/ubuntu/ noble universe", "http://s/ noble-security main", ""]
        assert images.choose_source(lines, "noble") == ("noble", "http://m/ubuntu/", "main,universe")

    @pytest.mark.parametrize("codename", ["", "trixie"])
    def test_no_mirror_is_an_error_with_the_next_step(self, codename: str) -> None:
        """Such as a distribution that is neither Debian nor Ubuntu."""
        with pytest.raises(images.ImageError, match="docker pull"):
            images.choose_source(["http://m/debian/ bookworm main"], codename)

    def test_the_nodes_imports_are_in_its_image(self) -> None:
        """Every package that our node imports is locked for the image; but for what only metrics and traces on request
        want, which says itself what is missing.
        """
        optional = {"opentelemetry", "prometheus_client"}
        locked = {line.partition("==")[0] for line in (images.ROOT / "compose/node.lock").read_text().splitlines()}
        package_of = {"google": "protobuf"}
        for path in (images.ROOT / "node").glob("**/*.py"):
            for top in imported(path.read_text()) - {"node", *optional, *sys.stdlib_module_names}:
                assert package_of.get(top, top) in locked, f"{path.name} imports {top}: .ci/lock adds it to the image"


def imported(source: str) -> set[str]:
    """Top-level names of what a module imports."""
    statements = list(ast.walk(ast.parse(source)))
    names = {alias.name for each in statements if isinstance(each, ast.Import) for alias in each.names}
    names |= {each.module or "" for each in statements if isinstance(each, ast.ImportFrom) and each.level == 0}
    return {name.partition(".")[0] for name in names}
