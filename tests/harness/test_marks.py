"""Marks of controllers."""

from __future__ import annotations

import os
import subprocess

import pytest

from harness.cleanup import marks
from harness.cleanup.marks import Controller, parse_controller
from harness.host import processes


def test_this_process_is_alive_by_its_mark() -> None:
    """A mark survives being written and read, and says that we live."""
    controller = parse_controller(str(marks.this_controller()))
    assert controller == marks.this_controller()
    assert controller.alive() is True
    assert controller.of_this_boot()


def test_a_short_mark_is_enough() -> None:
    """Pid and start time alone are understood."""
    assert parse_controller(f"{os.getpid()}:{processes.start_ticks(os.getpid())}") is not None
    short = Controller(os.getpid(), processes.start_ticks(os.getpid()) or 0)
    assert short.alive() is True


def test_a_recycled_pid_is_dead() -> None:
    """Our pid with another start time is somebody who died."""
    here = marks.this_controller()
    assert Controller(here.pid, here.start + 1, here.pid_namespace, here.boot).alive() is False


def test_a_zombie_is_dead() -> None:
    """A controller that ended but was not waited for cannot come back."""
    with subprocess.Popen(["true"]) as child:
        start = processes.start_ticks(child.pid) or 0
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert Controller(child.pid, start).alive() is False


def test_another_pid_namespace_cannot_be_judged() -> None:
    """A container's pids mean nothing here; another boot of this namespace is dead for certain."""
    here = marks.this_controller()
    assert Controller(here.pid, here.start, 1, here.boot).alive() is None
    assert Controller(here.pid, here.start, 1, "00000000").alive() is None
    assert Controller(here.pid, here.start, here.pid_namespace, "00000000").alive() is False


@pytest.mark.parametrize("junk", ["", "x", "1", "1:", ":2", "a:b", "-1:2"])
def test_junk_is_no_mark(junk: str) -> None:
    """What is not a mark says nothing, rather than something wrong."""
    assert parse_controller(junk) is None
