"""The watchdog, as a real process, guarding real controllers (small programs that die in various ways)."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from faults.needs import Undo
from harness.cleanup import marks, undoing
from harness.cleanup.ledger import Ledger, read_ledger
from harness.cleanup.watchdog import Watchdog, WatchdogError
from harness.cleanup.watchdog_process import Keeper
from harness.host import processes

CONTROLLER = """
import asyncio, os, signal, sys, time
from pathlib import Path
from faults.needs import Undo
from harness.cleanup.watchdog import Watchdog

folder = Path(sys.argv[1])

async def main():
    watchdog = Watchdog.start(run_id="guarded", folder=folder, silence_s=float(sys.argv[3]))
    (folder / "data").mkdir()
    await watchdog.register(Undo(id="data", kind="remove", arguments={"path": str(folder / "data")}))
    for name in ("first", "second"):
        argv = ["sh", "-c", f"echo {name} >> {folder}/order"]
        await watchdog.register(Undo(id=name, kind="run", arguments={"argv": argv}))
    if (folder / "break").exists():
        await watchdog.register(Undo(id="broken", kind="run", arguments={"argv": ["false"]}))
    print(watchdog.pid, flush=True)
    exec(sys.argv[2])

asyncio.run(main())
"""


@pytest.fixture
def watchdog(tmp_path: Path) -> Iterator[Watchdog]:
    """A watchdog of this very process."""
    made = Watchdog.start(run_id="test", folder=tmp_path)
    yield made
    made.close()


def remove(path: Path, name: str = "x") -> Undo:
    return Undo(id=name, kind="remove", arguments={"path": str(path)})


async def test_an_entry_is_on_disk_when_it_is_confirmed(watchdog: Watchdog, tmp_path: Path) -> None:
    """After register returns, the list in the run folder holds the entry and says whose it is."""
    await watchdog.register(remove(tmp_path / "a"))
    remainder = read_ledger(tmp_path / "undo.jsonl")
    assert remainder is not None
    assert [entry["id"] for entry in remainder.entries] == ["x"]
    controller = marks.parse_controller(remainder.controller)
    assert controller == marks.this_controller()


async def test_a_process_is_registered_with_its_start_time(watchdog: Watchdog, tmp_path: Path) -> None:
    """Faults name only a pid; the list adds what tells it from its successors."""
    await watchdog.register(Undo(id="self", kind="continue", arguments={"pid": os.getpid()}))
    remainder = read_ledger(tmp_path / "undo.jsonl")
    assert remainder is not None
    assert remainder.entries[0]["arguments"]["pid_start"] == processes.start_ticks(os.getpid())


async def test_a_command_is_registered_with_the_namespace_it_enters(watchdog: Watchdog, tmp_path: Path) -> None:
    """A namespace's path may be somebody else's by the time of the undoing: its number is noted, too."""
    argv = ["nsenter", "--net=/proc/self/ns/net", "--", "true"]
    await watchdog.register(Undo(id="rules", kind="run", arguments={"argv": argv}))
    remainder = read_ledger(tmp_path / "undo.jsonl")
    assert remainder is not None
    entered = {"/proc/self/ns/net": processes.namespace("self", "net")}
    assert remainder.entries[0]["arguments"] == {"argv": argv, "entered": entered}


async def test_goodbye_undoes_what_is_left_and_leaves_no_file(watchdog: Watchdog, tmp_path: Path) -> None:
    """What was discharged stays, what was not is undone; the process ends, and a second goodbye is nothing."""
    for name in ("kept", "dropped"):
        (tmp_path / name).mkdir()
        await watchdog.register(remove(tmp_path / name, name))
    await watchdog.discharge("kept")
    await watchdog.discharge("never registered")
    assert watchdog.close() == ["dropped: undone"]
    assert (tmp_path / "kept").exists()
    assert not (tmp_path / "dropped").exists()
    assert not (tmp_path / "undo.jsonl").exists()
    assert not watchdog.alive
    assert watchdog.close() == []
    with pytest.raises(WatchdogError):
        await watchdog.register(remove(tmp_path))


async def test_a_dead_watchdog_refuses_new_entries(watchdog: Watchdog, tmp_path: Path) -> None:
    """Nothing may be broken when nobody would mend it."""
    await watchdog.register(remove(tmp_path / "a"))
    os.kill(watchdog.pid, signal.SIGKILL)
    with pytest.raises(WatchdogError, match=str(watchdog.pid)):
        await watchdog.register(remove(tmp_path / "b"))
    assert watchdog.close() == []


async def test_the_terminals_signals_do_not_reach_it(watchdog: Watchdog, tmp_path: Path) -> None:
    """Ctrl-C, a hang-up and a polite request to end are ignored, and it is in a session of its own."""
    await watchdog.register(remove(tmp_path / "a"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(watchdog.pid, number)
    await watchdog.register(remove(tmp_path / "b"))
    assert processes.session_of(watchdog.pid) == watchdog.pid


def guard(folder: Path, deed: str, silence_s: float = 30.0) -> tuple[int, int]:
    """Runs a controller that does this deed; returns its status and the watchdog's pid once both have ended."""
    argv = [sys.executable, "-c", CONTROLLER, str(folder), deed, str(silence_s)]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
    ) as controller:
        assert controller.stdout is not None
        watchdog_pid = int(controller.stdout.readline())
        pidfd = os.pidfd_open(watchdog_pid)
        try:
            status = controller.wait(30)
            assert select.select([pidfd], [], [], 30)[0], "the watchdog did not end"
        finally:
            os.close(pidfd)
    return status, watchdog_pid


HOLDS_THE_LINE = "[time.sleep(0.01) for _ in range(1000) if (folder / 'undo.jsonl').exists()]"
"""What a forked child does: stays until the watchdog has ended, with the controller's socket open."""


@pytest.mark.parametrize(
    ("deed", "silence_s", "status", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 30.0, -9, "died"),
        ("os._exit(130)", 30.0, 130, "died"),
        ("os.kill(os.getpid(), signal.SIGSTOP)", 0.3, -9, "silent"),
        ("watchdog._line.close(); signal.pause()", 30.0, -9, "without a goodbye"),
        (f"os.fork() or {HOLDS_THE_LINE}; os._exit(3)", 30.0, 3, "died"),
    ],
    ids=["killed", "exited", "stopped", "let go", "left a child that holds the line"],
)
def test_everything_is_undone_when_the_controller_is_no_more(
    tmp_path: Path, deed: str, silence_s: float, status: int, reason: str
) -> None:
    """However the controller ends, entries are undone newest first, the log says why, and no list is left."""
    assert guard(tmp_path, deed, silence_s)[0] == status
    assert not (tmp_path / "data").exists()
    assert (tmp_path / "order").read_text().split() == ["second", "first"]
    assert not (tmp_path / "undo.jsonl").exists()
    assert reason in (tmp_path / "harness.log").read_text()


def test_what_cannot_be_undone_stays_on_the_list(tmp_path: Path) -> None:
    """A failing entry does not stop the others; it is left for capsize clean."""
    (tmp_path / "break").touch()
    guard(tmp_path, "os._exit(1)")
    remainder = read_ledger(tmp_path / "undo.jsonl")
    assert remainder is not None
    assert [entry["id"] for entry in remainder.entries] == ["broken"]
    assert (tmp_path / "order").read_text().split() == ["second", "first"]
    assert "left for capsize clean: broken" in (tmp_path / "harness.log").read_text()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty list of this very process."""
    made = Ledger(tmp_path / "undo.jsonl", run_id="test", controller=str(marks.this_controller()))
    yield made
    made.close()


def test_what_fails_at_first_has_a_second_turn(ledger: Ledger, tmp_path: Path) -> None:
    """An entry that succeeds the second time is done and off the list; the log has both turns."""
    once = f"test -e {tmp_path}/asked || {{ touch {tmp_path}/asked; exit 1; }}"
    ledger.register({"id": "slow", "kind": "run", "arguments": {"argv": ["sh", "-c", once]}})
    keeper = Keeper(ledger, tmp_path / "harness.log")
    assert keeper.undo_all() == [{"id": "slow", "error": None}]
    assert not ledger.entries
    first, second = (tmp_path / "harness.log").read_text().splitlines()
    assert "status 1" in first
    assert second.endswith("undone")


def test_containers_are_removed_side_by_side(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None has to wait for another, and what was registered before them waits for all."""
    together = Barrier(3, timeout=30)
    done: list[str] = []

    def container(_arguments: undoing.Arguments, _timeout_s: float) -> None:
        together.wait()
        done.append("container")

    monkeypatch.setitem(undoing.KINDS, "container", container)
    monkeypatch.setitem(undoing.KINDS, "network", lambda _arguments, _timeout_s: done.append("network"))
    for entry_id, kind in [("net", "network"), ("n1", "container"), ("n2", "container"), ("n3", "container")]:
        ledger.register({"id": entry_id, "kind": kind, "arguments": {}})
    outcomes = Keeper(ledger, tmp_path / "harness.log").undo_all()
    assert [each["error"] for each in outcomes] == [None] * 4
    assert done == ["container"] * 3 + ["network"]


async def wait_file(path: Path) -> None:
    """Until it is there."""
    async with asyncio.timeout(20):
        while not path.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)


async def test_what_is_held_longer_than_its_limit_is_undone_while_the_controller_lives(
    watchdog: Watchdog, tmp_path: Path
) -> None:
    """The dead man's limit of one entry; others stay. It is still on the list: healing is not verified by that, and at
    the end it may be undone once more.
    """
    deeds = {name: Undo(id=name, kind="run", arguments={"argv": ["touch", str(tmp_path / name)]}) for name in "abc"}
    await watchdog.register(deeds["a"])
    await watchdog.register(replace(deeds["b"], after_s=600))
    await watchdog.register(replace(deeds["c"], after_s=0.05))
    await wait_file(tmp_path / "c")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
    remainder = read_ledger(tmp_path / "undo.jsonl")
    assert remainder is not None
    assert [entry["id"] for entry in remainder.entries] == ["c", "b", "a"]
    await watchdog.discharge("c")
    assert watchdog.close() == ["b: undone", "a: undone"]
    assert "c (run) was held longer than its limit: undone" in (tmp_path / "harness.log").read_text()


async def test_a_discharged_entry_has_no_limit(watchdog: Watchdog, tmp_path: Path) -> None:
    """A fault that was healed in time is not undone later."""
    early = Undo(id="early", kind="run", arguments={"argv": ["touch", str(tmp_path / "early")]}, after_s=0.2)
    late = Undo(id="late", kind="run", arguments={"argv": ["touch", str(tmp_path / "late")]}, after_s=0.4)
    await watchdog.register(early)
    await watchdog.register(late)
    await watchdog.discharge("early")
    await wait_file(tmp_path / "late")
    assert not (tmp_path / "early").exists()
