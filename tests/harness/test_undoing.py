"""Undo entries, carried out."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cleanup import undoing
from harness.host import processes

SLEEPER = [sys.executable, "-S", "-c", "import signal; print(flush=True); signal.pause()"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for a signal, in a session of its own."""
    with subprocess.Popen(SLEEPER, start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def perform(kind: str, **arguments: Any) -> str | None:
    return undoing.perform({"id": "x", "kind": kind, "arguments": arguments}, timeout_s=10)


def test_kill_hits_the_process_that_was_meant(sleeper: subprocess.Popen[bytes]) -> None:
    """With the right start time it is killed."""
    assert perform("kill", pid=sleeper.pid, pid_start=processes.start_ticks(sleeper.pid)) is None
    assert sleeper.wait() == -signal.SIGKILL


@pytest.mark.parametrize("start", [None, 0, 12345])
def test_a_recycled_pid_is_never_hit(sleeper: subprocess.Popen[bytes], start: int | None) -> None:
    """With another start time, or none, the process is somebody else, and lives."""
    assert perform("kill", pid=sleeper.pid, pid_start=start) is None
    assert sleeper.poll() is None


def test_continue_wakes_a_stopped_process(sleeper: subprocess.Popen[bytes]) -> None:
    """SIGCONT reaches it."""
    sleeper.send_signal(signal.SIGSTOP)
    while not processes.is_stopped(sleeper.pid):
        pass
    assert perform("continue", pid=sleeper.pid, pid_start=processes.start_ticks(sleeper.pid)) is None
    while processes.is_stopped(sleeper.pid):
        pass
    assert sleeper.poll() is None


def test_run_says_what_a_failing_command_said(tmp_path: Path) -> None:
    """A command's status and error output are in the reason; success has none."""
    assert perform("run", argv=["sh", "-c", f"echo done > {tmp_path}/proof"]) is None
    assert (tmp_path / "proof").read_text() == "done\n"
    reason = perform("run", argv=["sh", "-c", "echo alas >&2; exit 3"])
    assert reason is not None
    assert "status 3" in reason
    assert "alas" in reason


def test_a_command_for_another_namespace_is_not_run(tmp_path: Path) -> None:
    """A namespace is told by its number: what has its path later is another run's, or a person's, and is left alone."""
    argv = ["sh", "-c", f"touch {tmp_path}/proof"]
    mine = processes.namespace("self", "net")
    assert undoing.namespaces_entered(["nsenter", "--net=/proc/self/ns/net", "--", *argv]) == {
        "/proc/self/ns/net": mine
    }
    assert undoing.namespaces_entered(["sh", "-c", "--net=/proc/self/ns/net"]) == {}
    assert perform("run", argv=argv, entered={"/proc/self/ns/net": -1}) is None
    assert perform("run", argv=argv, entered={"/run/netns/nowhere-at-all": mine}) is None
    assert not (tmp_path / "proof").exists()
    assert perform("run", argv=argv, entered={"/proc/self/ns/net": mine}) is None
    assert (tmp_path / "proof").exists()


def test_remove_takes_files_folders_and_nothing_at_all(tmp_path: Path) -> None:
    """A file, a folder with contents, a link (not what it points at), and something that is gone already."""
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("folder", "link", "never"):
        assert perform("remove", path=str(tmp_path / name)) is None
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_an_unknown_kind_is_an_error_not_a_crash() -> None:
    """A list from a newer version must not stop the older watchdog's other deeds."""
    assert perform("sing") == "unknown kind 'sing'"
