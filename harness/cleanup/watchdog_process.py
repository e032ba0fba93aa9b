"""The watchdog: a process beside each run that heals and removes everything when the controller is no more.

It is started first, in a session of its own, in the controller's namespaces, and ignores the terminal's signals. It
holds the undo list and confirms every entry. The rules:

* The controller is dead when its pidfd says so, or when the socket to it is at its end (a forked child may keep the
  socket open, so both).
* While entries are held, a controller that has not been heard for ``silence_s`` (30 s: hung, or stopped by a person)
  is ended with SIGKILL first and treated as dead. Letting it wake up beside a removed cluster would make it report
  deaths that it did not see caused.
* An entry with a limit of its own (``after_s``, the dead man's) is undone when it has been held so long, even while the
  controller lives; it stays on the list, so that healing can still be verified (and the deed undone once more).
* Entries are undone newest first, each within 3 s, all within 8 s, containers side by side. What failed (a Docker
  engine can be slow) has a second turn, each within 10 s, all within 20 s. Then every process in the run's private
  mount namespace is killed. What was done goes to the run's ``harness.log``; what could not be done stays in
  ``undo.jsonl`` for ``capsize clean``.

Nothing heavy is imported here: it starts in some tens of milliseconds (benchmarked, not asserted).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from harness.cleanup import undoing
from harness.cleanup.ledger import FILE_NAME, Entry, Ledger
from harness.cleanup.marks import parse_controller
from harness.host import processes

ENTRY_TIMEOUT_S = 3.0
TURNS_S = ((ENTRY_TIMEOUT_S, 8.0), (10.0, 20.0))
"""Of the first turn and the second: the longest that one entry, and that all of them may take."""
LINE_BYTES_MAX = 1 << 20


class Keeper:
    """One run's undo list, and the deeds on it."""

    def __init__(self, ledger: Ledger, log: Path) -> None:
        self.ledger = ledger
        self._log = log
        self._due: dict[str, float] = {}

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Does what the controller asks for."""
        match message["op"]:
            case "register":
                self.ledger.register(message["undo"])
                self._remember(message["undo"]["id"], message.get("after_s"))
            case "discharge":
                self.ledger.discharge(message["id"])
                self._due.pop(message["id"], None)
            case "close":
                return {"n": message["n"], "undone": self.undo_all()}
        return {"n": message["n"]}

    def _remember(self, entry_id: str, after_s: float | None) -> None:
        if after_s is not None:
            self._due[entry_id] = time.monotonic() + after_s

    def next_s(self) -> float | None:
        """Seconds until some entry's limit; None if none has one."""
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def undo_due(self) -> None:
        """Undoes what has been held longer than its limit."""
        now = time.monotonic()
        for entry_id in [each for each, due in self._due.items() if due <= now]:
            del self._due[entry_id]
            entry = self.ledger.entries[entry_id]
            error = undoing.perform(entry, timeout_s=ENTRY_TIMEOUT_S)
            self.say(f"{entry_id} ({entry['kind']}) was held longer than its limit: {error or 'undone'}")

    def undo_all(self) -> list[dict[str, Any]]:
        """Undoes every entry, newest first, with a second turn for those that fail; those that fail again are kept."""
        errors: dict[str, str | None] = {}
        for entry_s, total_s in TURNS_S:
            deadline = time.monotonic() + total_s
            for batch in _batches(tuple(reversed(self.ledger.entries.values()))):
                errors |= self._undo_batch(batch, deadline, entry_s)
        return [{"id": entry_id, "error": error} for entry_id, error in errors.items()]

    def _undo_batch(self, batch: Sequence[Entry], deadline: float, entry_s: float) -> Mapping[str, str | None]:
        """Undoes entries side by side; those that succeed leave the list."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            errors: Sequence[str | None] = ["no time left"] * len(batch)
        else:
            errors = _side_by_side(lambda entry: undoing.perform(entry, timeout_s=min(entry_s, left_s)), batch)
        for entry, error in zip(batch, errors, strict=True):
            self.say(f"{entry['id']} ({entry['kind']}): {error or 'undone'}")
            if error is None:
                self.ledger.discharge(entry["id"])
        return {entry["id"]: error for entry, error in zip(batch, errors, strict=True)}

    def say(self, text: str) -> None:
        """A line in the run's log."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8") as file:
            file.write(f"{stamp} WARNING watchdog: {text}\n")


def _batches(entries: Iterable[Entry]) -> Iterator[Sequence[Entry]]:
    """Neighbours that are containers together (an engine takes a while over each), everything else alone."""
    for kind, neighbours in groupby(entries, key=itemgetter("kind")):
        if kind == "container":
            yield tuple(neighbours)
        else:
            yield from ((entry,) for entry in neighbours)


def _side_by_side(deed: Callable[[Entry], str | None], batch: Sequence[Entry]) -> Sequence[str | None]:
    if len(batch) == 1:
        return [deed(batch[0])]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(batch)) as pool:
        return tuple(pool.map(deed, batch))


def watch(config: Mapping[str, Any]) -> None:
    """Serves the controller until it says goodbye or is dead; then undoes what is held."""
    folder = Path(config["folder"])
    ledger = Ledger(folder / FILE_NAME, run_id=config["run_id"], controller=config["controller"])
    keeper = Keeper(ledger, folder / "harness.log")
    with socket.socket(fileno=config["socket"]) as line:
        reason = _serve(keeper, line, config)
    if reason is not None:
        keeper.say(f"the controller ({config['controller']}) {reason}: undoing {len(ledger.entries)} entries")
        keeper.undo_all()
        _sweep(keeper, config["private"])
        keeper.say("done" if not ledger.entries else f"left for capsize clean: {', '.join(ledger.entries)}")
    ledger.close()


def _serve(keeper: Keeper, line: socket.socket, config: Mapping[str, Any]) -> str | None:
    """Answers until the controller closes (None) or is dead (the reason)."""
    controller = parse_controller(config["controller"])
    assert controller is not None
    pidfd = _open_pidfd(controller.pid, controller.start)
    if pidfd is None:
        return "was dead before the watchdog began"
    poll = select.poll()
    poll.register(line, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    buffer = b""
    silence_s = float(config["silence_s"])
    heard = time.monotonic()
    while True:
        waits = [silence_s - (time.monotonic() - heard) if keeper.ledger.entries else None, keeper.next_s()]
        wait = min((max(0.0, each) for each in waits if each is not None), default=None)
        ready = dict(poll.poll(None if wait is None else wait * 1000))
        keeper.undo_due()
        if not ready:
            if keeper.ledger.entries and time.monotonic() - heard >= silence_s:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                return f"was silent for {silence_s:g} s and was killed"
            continue
        heard = time.monotonic()
        if line.fileno() in ready:
            chunk = _receive(line)
            if not chunk:
                return _end_of(pidfd) if keeper.ledger.entries else None
            *messages, buffer = (buffer + chunk).split(b"\n")
            for message in map(json.loads, messages):
                line.sendall(json.dumps(keeper.answer(message)).encode() + b"\n")
                if message["op"] == "close":
                    return None
        elif pidfd in ready:
            return "died"


def _open_pidfd(pid: int, start: int) -> int | None:
    """A handle of the process; None if it is gone (or its pid is somebody else's by now)."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    return pidfd if processes.is_process(pid, start) else None


def _end_of(pidfd: int) -> str:
    """The socket is at its end. A controller that lives on without it has let go of its cluster, and must not judge
    what it sees now.
    """
    if select.select([pidfd], [], [], 0.5)[0]:
        return "died"
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    return "closed its line without a goodbye and was killed"


def _receive(line: socket.socket) -> bytes:
    try:
        return line.recv(LINE_BYTES_MAX)
    except ConnectionError:
        return b""


def _sweep(keeper: Keeper, private: str | None) -> None:
    """Kills all others in the run's private mount namespace: what was started but not registered yet is among them."""
    if private is None or os.readlink("/proc/self/ns/mnt") != private:
        return
    number = processes.namespace("self", "mnt")
    for _ in range(50):
        others = [pid for pid in processes.in_namespace("mnt", number or 0) if pid != os.getpid()]
        if not others:
            return
        processes.send(others, signal.SIGKILL)
        time.sleep(0.02)
    keeper.say(f"still there after SIGKILL: {others}")


def main() -> None:
    """``python -m harness.cleanup.watchdog_process CONFIG`` (JSON: socket, run_id, folder, controller, silence_s,
    private).
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    watch(json.loads(sys.argv[1]))


if __name__ == "__main__":
    main()
