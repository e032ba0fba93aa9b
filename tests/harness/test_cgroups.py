"""Control groups of both versions, on folders that look like the kernel's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from faults.needs import Usage
from harness.substrates.cgroups import Group, Mounts, paths_of, removal_command, write, writing_command
from harness.substrates.limits import GroupLimits

FIRST = {
    "cpu/a/cgroup.procs": "11\n12\n",
    "cpu/a/cpu.cfs_quota_us": "-1\n",
    "cpu/a/cpu.cfs_period_us": "100000\n",
    "cpu/a/cpu.stat": "nr_periods 9\nnr_throttled 7\nthrottled_time 5\n",
    "cpuacct/a/cpuacct.usage": "2500000000\n",
    "cpuacct/a/cgroup.procs": "",
    "memory/a/cgroup.procs": "11\n12\n",
    "memory/a/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/a/memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "memory/a/memory.usage_in_bytes": "4096\n",
    "memory/a/memory.failcnt": "3\n",
    "memory/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "freezer/a/cgroup.procs": "11\n12\n",
    "freezer/a/freezer.state": "THAWED\n",
}
SECOND = {
    "cgroup.controllers": "cpuset cpu io memory pids\n",
    "a/cgroup.procs": "11\n12\n",
    "a/cpu.max": "max 100000\n",
    "a/cpu.stat": "usage_usec 2500000\nnr_throttled 7\n",
    "a/memory.max": "max\n",
    "a/memory.swap.max": "max\n",
    "a/memory.current": "4096\n",
    "a/memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n",
    "a/cgroup.freeze": "0\n",
    "a/cgroup.events": "populated 1\nfrozen 0\n",
}


def made(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def first(tmp_path: Path) -> Group:
    """Version 1, a hierarchy for each controller."""
    made(tmp_path, FIRST)
    lines = [
        f"cgroup {tmp_path}/{name} cgroup rw,relatime,{name} 0 0" for name in ("cpu", "cpuacct", "memory", "freezer")
    ]
    return Group.at(Mounts.read("\n".join(lines)), dict.fromkeys(("cpu", "cpuacct", "memory", "freezer"), "/a"))


@pytest.fixture
def second(tmp_path: Path) -> Group:
    """Version 2, everything in one place."""
    made(tmp_path, SECOND)
    return Group.at(Mounts.read(f"cgroup2 {tmp_path} cgroup2 rw,nsdelegate 0 0"), {"": "/a"})


@pytest.fixture(params=["first", "second"])
def group(request: pytest.FixtureRequest) -> Group:
    """Either."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Group)
    return found


def test_usage_is_the_same_in_both(group: Group) -> None:
    """The kernel's counters, from whatever files they are in."""
    assert group.usage() == Usage(cpu_s=2.5, throttled=7, memory_bytes=4096, memory_hits=3, oom_kills=2)
    assert group.members("memory") == {11, 12}


@pytest.mark.parametrize(("kind", "amount"), [("cpu", 0.1), ("memory", 64 << 20)])
def test_what_was_set_is_set_back_exactly(group: Group, kind: str, amount: float) -> None:
    """A limit changes the files, and writing back what was read restores every one of them."""
    before = group.values(kind)
    write(group.limits(kind, amount))
    assert group.values(kind) != before
    write(before)
    assert group.values(kind) == before
    write(group.limits(kind, amount))
    subprocess.run(writing_command(before), check=True, timeout=10)
    assert group.values(kind) == before


def test_a_share_of_a_processor(first: Group, tmp_path: Path) -> None:
    """10 % of one processor is a quota of 10 ms in each 100 ms; the smallest is what the kernel takes."""
    assert list(first.limits("cpu", 0.1).values()) == ["100000", "10000"]
    assert list(first.limits("cpu", 0.001).values()) == ["100000", "1000"]
    made(tmp_path / "two", SECOND)
    second = Group.at(Mounts.read(f"none {tmp_path}/two cgroup2 rw 0 0"), {"": "/a"})
    assert list(second.limits("cpu", 0.1).values()) == ["10000 100000"]


def test_memory_is_limited_in_whole_pages_and_swap_hardly(first: Group) -> None:
    """Version 1: the limit that counts swap is written last when lowered, and first when it is raised again."""
    lowered = first.limits("memory", (64 << 20) + 1)
    assert [Path(path).name for path in lowered] == ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
    assert next(iter(lowered.values())) == f"{64 << 20}"
    raised = first.values("memory")
    assert [Path(path).name for path in raised] == ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"]


def test_memory_of_version_2_swaps_nothing(second: Group) -> None:
    """Else what is limited would only move to the swap."""
    assert {Path(path).name: value for path, value in second.limits("memory", 64 << 20).items()} == {
        "memory.max": f"{64 << 20}",
        "memory.swap.max": "0",
    }


async def test_frozen_is_what_the_kernel_says(second: Group, tmp_path: Path) -> None:
    """Version 2 says so in ``cgroup.events``, a moment after it was asked for."""
    write(second.frozen_values(frozen=True))
    assert (tmp_path / "a/cgroup.freeze").read_text() == "1"
    assert not second.is_frozen()
    (tmp_path / "a/cgroup.events").write_text("populated 1\nfrozen 1\n")
    assert second.is_frozen()
    limits = GroupLimits(lambda: second)
    await limits.freeze()
    await limits.thaw()
    assert (tmp_path / "a/cgroup.freeze").read_text() == "0"


def test_frozen_in_version_1(first: Group) -> None:
    """One file says both; what is still being frozen is not frozen."""
    write(first.frozen_values(frozen=True))
    assert first.is_frozen()
    path = next(iter(first.frozen_values(frozen=True)))
    Path(path).write_text("FREEZING\n")
    assert not first.is_frozen()


def test_machines_in_between(tmp_path: Path) -> None:
    """Controllers in version 1 beside a version 2 that has none: the freezer is found in either."""
    made(tmp_path, {"unified/cgroup.controllers": "\n"})
    text = f"cgroup {tmp_path}/memory cgroup rw,memory 0 0\ncgroup2 {tmp_path}/unified cgroup2 rw 0 0\n"
    mounts = Mounts.read(text)
    assert [mounts.version_of(kind) for kind in ("memory", "cpu", "freezer", "cpuacct")] == [1, None, 2, 2]
    paths = paths_of("4:memory:/m\n1:cpu,cpuacct:/c\n0::/u\n")
    assert paths == {"memory": "/m", "cpu": "/c", "cpuacct": "/c", "": "/u"}
    folders = Group.at(mounts, paths).folders
    assert folders["memory"] == (1, tmp_path / "memory/m")
    assert folders["freezer"] == (2, tmp_path / "unified/u")
    assert "cpu" not in folders


def test_a_process_is_found_in_its_group(tmp_path: Path) -> None:
    """Through /proc/PID/cgroup."""
    made(tmp_path, {"proc/7/cgroup": "4:memory:/docker/x\n", "memory/docker/x/cgroup.procs": "7\n"})
    mounts = Mounts.read(f"cgroup {tmp_path}/memory cgroup rw,memory 0 0")
    group = Group.of_process(7, mounts, proc=tmp_path / "proc")
    assert group.door("memory") == tmp_path / "memory/docker/x/cgroup.procs"
    assert GroupLimits(lambda: group).able == {"memory"}


def test_setting_back_and_removing_succeed_when_the_group_is_gone(tmp_path: Path) -> None:
    """What the watchdog runs may be repeated, and may come too late."""
    for argv in (writing_command({f"{tmp_path}/gone/cpu.max": "max"}), removal_command([tmp_path / "gone"])):
        subprocess.run(argv, check=True, timeout=10)
    assert not (tmp_path / "gone").exists()
    (tmp_path / "here").mkdir()
    subprocess.run(removal_command([tmp_path / "here"]), check=True, timeout=10)
    assert not (tmp_path / "here").exists()


async def test_a_value_that_the_kernel_refuses_is_an_error(second: Group, tmp_path: Path) -> None:
    """The error is the kernel's; what is gone is none."""
    limits = GroupLimits(lambda: second)
    (tmp_path / "a/cpu.max").unlink()
    (tmp_path / "a/cpu.max").mkdir()
    with pytest.raises(OSError, match=r"cpu\.max"):
        await limits.limit("cpu", 0.1)
    await limits.restore({f"{tmp_path}/gone/cpu.max": "max"})
