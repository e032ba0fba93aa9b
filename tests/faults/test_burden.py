"""The burden's children, at a door that is a plain file: whom the kernel would kill is told by what they are."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.resources.burden import FIRST_CHOICE, GUARDS, Guards, Presser, answer, taken

MIB = 1 << 20
DEATH_S_MAX = 20.0


@pytest.fixture
def door(tmp_path: Path) -> str:
    """Of a group that takes everybody."""
    return str(tmp_path / "procs")


@pytest.fixture
def guards() -> Iterator[Guards]:
    """They are ended, whatever becomes of the test."""
    made = Guards()
    yield made
    made.end()


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def killed_by_the_kernel(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def shared_mappings() -> int:
    return sum(line.split()[1].endswith("s") for line in Path("/proc/self/maps").read_text().splitlines())


def test_what_is_taken_is_no_file() -> None:
    """Memory that is shared is still counted in the group when its owner has left it."""
    before = shared_mappings()
    with taken(MIB) as memory:
        memory[0] = 1
        assert shared_mappings() == before


def test_guards_are_in_the_group_and_killed_before_the_node(guards: Guards, door: str) -> None:
    """When they stand, each has gone through the door and is the kernel's first choice."""
    before = children()
    guards.stand(door)
    standing = children() - before
    assert len(standing) == GUARDS
    assert Path(door).read_text() == "0"
    assert {Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in standing} == {FIRST_CHOICE}


def test_a_guard_that_was_killed_is_counted_and_replaced(guards: Guards, door: str) -> None:
    """The others stay; those that are only told to go are not counted."""
    before = children()
    guards.stand(door)
    first, *others = sorted(children() - before)
    killed_by_the_kernel(first)
    guards.stand(door)
    standing = children() - before
    assert len(standing) == GUARDS
    assert standing > set(others)
    guards.end()
    assert children() == before
    assert guards.kills == 1


def test_a_guard_that_is_killed_last_is_counted(guards: Guards, door: str) -> None:
    """Between the last look and the end."""
    before = children()
    guards.stand(door)
    killed_by_the_kernel(min(children() - before))
    guards.end()
    assert guards.kills == 1


def test_nobody_is_left_of_one_that_got_all_it_wanted(door: str) -> None:
    """Without a limit nobody is killed, and nobody guards any more."""
    before = children()
    assert answer(f"grab {door} {MIB}", Presser()) == {"bytes": MIB, "killed": False, "kills": 0}
    assert children() == before


def test_a_group_that_nobody_may_enter_is_told(tmp_path: Path) -> None:
    """Guards that cannot get in keep nobody waiting."""
    said = answer(f"grab {tmp_path}/nowhere/procs {MIB}", Presser())
    assert said["error"].startswith("FileNotFoundError")
    assert (said["killed"], said["kills"]) == (False, 0)


def test_one_that_presses_is_guarded_as_long_as_it_does(door: str) -> None:
    """Its own deaths and its guards' are told as one figure."""
    before, presser = children(), Presser()
    try:
        first = answer(f"press {door} {MIB}", presser)["pid"]
        assert len(children() - before) == GUARDS + 1
        killed_by_the_kernel(first)
        killed_by_the_kernel(min(children() - before - {first}))
        presser.watch()
        assert answer("told", presser) == {"kills": 2, "error": None}
        assert len(children() - before) == GUARDS + 1
    finally:
        presser.end()
    assert children() == before


def test_children_die_with_the_burden(door: str) -> None:
    """Also when it is killed, and cannot end them: they are in the node's group, and would stay there."""
    argv = [sys.executable, "-m", "faults.resources.burden"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as burden:
        assert burden.stdin is not None
        assert burden.stdout is not None
        burden.stdin.write(f"press {door} {MIB}\n".encode())
        burden.stdin.flush()
        assert json.loads(burden.stdout.readline())["pid"]
        family = Path(f"/proc/{burden.pid}/task/{burden.pid}/children").read_text().split()
        assert len(family) == 1 + GUARDS
        waits = [os.pidfd_open(int(pid)) for pid in family]
        burden.kill()
        gone = [wait for wait in waits if select.select([wait], [], [], DEATH_S_MAX)[0]]
    for wait in waits:
        os.close(wait)
    assert gone == waits
