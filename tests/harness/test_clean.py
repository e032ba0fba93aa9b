"""Clean: leftovers made for the purpose, with marks of dead and living controllers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.cleanup import clean, marks
from harness.cleanup.ledger import Entry, Ledger
from harness.cleanup.marks import Controller

RUN = f"test-{os.getpid()}"
SLEEPER = [sys.executable, "-S", "-c", "import signal; print(flush=True); signal.pause()"]


def dead_controller() -> Controller:
    """Us, had we begun at another time."""
    here = marks.this_controller()
    return Controller(here.pid, here.start + 1, here.pid_namespace, here.boot)


@contextmanager
def marked_process(controller: Controller, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, marks.ENV_RUN: RUN, marks.ENV_CONTROLLER: str(controller), **more}
    with subprocess.Popen(SLEEPER, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not see other people's leftovers, still less remove them."""
    everything = clean._of_dead_controllers
    monkeypatch.setattr(clean, "_docker", lambda: ())
    monkeypatch.setattr(
        clean,
        "_of_dead_controllers",
        lambda: ((pid, found) for pid, found in everything() if found[marks.ENV_RUN] == RUN),
    )


def no_sleep(seconds: float) -> None:
    del seconds


def leave(folder: Path, controller: Controller, *entries: Entry) -> Path:
    folder.mkdir(parents=True)
    ledger = Ledger(folder / "undo.jsonl", run_id=RUN, controller=str(controller))
    for entry in entries:
        ledger.register(entry)
    ledger._file.close()
    return ledger.path


def removal_of(path: Path, name: str = "data") -> Entry:
    return {"id": name, "kind": "remove", "arguments": {"path": str(path)}}


def test_nothing_is_found_where_nothing_was_left(tmp_path: Path) -> None:
    """No runs, no leftovers."""
    assert clean.clean(tmp_path / "runs", sleep=no_sleep) == ()


def test_a_process_of_a_dead_controller_is_killed(tmp_path: Path) -> None:
    """It is found by its environment, and gone afterwards."""
    with marked_process(dead_controller()) as process:
        (found,) = clean.find_leftovers(tmp_path)
        assert (found.kind, found.run_id, found.pid) == ("process", RUN, process.pid)
        (removal,) = clean.clean(tmp_path)
        assert removal.error is None
        assert "removed" in str(removal)
        assert process.wait() == -9


def test_what_belongs_to_the_living_is_left_alone(tmp_path: Path) -> None:
    """What is of a living controller, or of one that cannot be judged from here, is not touched."""
    here = marks.this_controller()
    elsewhere = Controller(here.pid, here.start + 1, 1, here.boot)
    for number, controller in enumerate((here, elsewhere)):
        data = tmp_path / f"data{number}"
        data.mkdir()
        path = leave(tmp_path / "runs" / "s" / str(number), controller, removal_of(data))
        with marked_process(controller) as process:
            assert clean.clean(tmp_path / "runs", sleep=no_sleep) == ()
            assert process.poll() is None
        assert data.exists()
        assert path.exists()


def test_an_undo_list_is_finished_and_deleted(tmp_path: Path) -> None:
    """What a dead watchdog held is undone; the list goes when all of it succeeded."""
    folder = tmp_path / "runs" / "scenario" / "1"
    path = leave(folder, dead_controller(), removal_of(folder / "data"))
    (folder / "data").mkdir()
    (removal,) = clean.clean(tmp_path / "runs")
    assert removal.error is None
    assert not (folder / "data").exists()
    assert not path.exists()


def test_a_list_stays_while_something_on_it_fails(tmp_path: Path) -> None:
    """What fails is reported with the reason, and tried again next time."""
    folder = tmp_path / "runs" / "scenario" / "1"
    fails: Entry = {"id": "f", "kind": "run", "arguments": {"argv": ["sh", "-c", "echo alas >&2; false"]}}
    path = leave(folder, dead_controller(), fails)
    (removal,) = clean.clean(tmp_path / "runs")
    assert removal.error is not None
    assert "alas" in str(removal)
    assert path.exists()


def test_a_rule_in_a_namespace_that_is_gone_is_gone(tmp_path: Path) -> None:
    """Rules die with their namespace: nothing is run for them, and nothing fails."""
    folder = tmp_path / "runs" / "scenario" / "1"
    argv = ["nsenter", "--net=/run/netns/nowhere-at-all", "--", "false"]
    path = leave(folder, dead_controller(), {"id": "f", "kind": "run", "arguments": {"argv": argv}})
    (removal,) = clean.clean(tmp_path / "runs")
    assert removal.error is None
    assert not path.exists()


def test_a_list_from_elsewhere_can_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run folder may come from another machine: its commands are not run, and paths outside its folder are not
    removed.
    """
    monkeypatch.setattr(clean, "_TEMPORARY", tmp_path / "temporary")
    here = marks.this_controller()
    foreign = Controller(here.pid, here.start, here.pid_namespace, "00000000")
    folder = tmp_path / "runs" / "scenario" / "1"
    outside, inside = tmp_path / "outside", folder / "data"
    path = leave(
        folder,
        foreign,
        removal_of(outside),
        removal_of(folder / ".." / ".." / ".." / "outside", "sly"),
        removal_of(folder, "itself"),
        removal_of(inside, "inside"),
        {"id": "f", "kind": "run", "arguments": {"argv": ["touch", str(tmp_path / "ran")]}},
    )
    for made in (outside, inside):
        made.mkdir()
    assert [removal.leftover.entry["id"] for removal in clean.clean(tmp_path / "runs") if removal.leftover.entry] == [
        "inside"
    ]
    assert outside.exists()
    assert not inside.exists()
    assert not (tmp_path / "ran").exists()
    assert folder.exists()
    assert not path.exists()


def test_a_watchdog_at_work_is_waited_for(tmp_path: Path) -> None:
    """While the watchdog of a dead controller lives it is given time, then it is a leftover like any other."""
    waits: list[float] = []
    with marked_process(dead_controller(), **{marks.ENV_WATCHDOG: "1"}) as process:

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            process.kill()
            process.wait()

        assert clean.clean(tmp_path, sleep=sleep) == ()
    assert len(waits) == 1
