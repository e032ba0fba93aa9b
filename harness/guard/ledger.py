"""The undo list of one host: held by the guard, kept on disk, carried out when nobody else can."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.guard.tree import send, start_of

LEDGER = "undo.jsonl"
UNDO_TIMEOUT_S = 3.0


def perform(entry: Mapping[str, Any]) -> str | None:
    """Carries out an undo entry; returns None, or why it failed. Safe to repeat."""
    arguments = entry["arguments"]
    try:
        if entry["kind"] == "run":
            done = subprocess.run(
                arguments["argv"], stdin=subprocess.DEVNULL, capture_output=True, timeout=UNDO_TIMEOUT_S, check=False
            )
            return None if done.returncode == 0 else f"status {done.returncode}: {done.stderr.decode().strip()}"
        if entry["kind"] == "remove":
            shutil.rmtree(arguments["path"], ignore_errors=True)
            return None
        if arguments.get("pid_start") is None or start_of(arguments["pid"]) == arguments["pid_start"]:
            send([arguments["pid"]], signal.SIGCONT if entry["kind"] == "continue" else signal.SIGKILL)
    except Exception as error:  # noqa: BLE001 - whatever one entry does, the next must have its turn
        return f"{type(error).__name__}: {error}"
    return None


class UndoLedger:
    """What must be undone, in the order of its registration; also on disk."""

    def __init__(self, folder: Path) -> None:
        self.entries: dict[str, Mapping[str, Any]] = {}
        self._file = (folder / LEDGER).open("a", encoding="utf-8")

    def register(self, entry: Mapping[str, Any]) -> None:
        """Holds an entry; one with the same id is replaced."""
        self._append({"register": entry})
        self.entries.pop(entry["id"], None)
        self.entries[entry["id"]] = entry

    def discharge(self, entry_id: str) -> None:
        """Forgets one. No error if it is unknown."""
        if self.entries.pop(entry_id, None) is not None:
            self._append({"discharge": entry_id})

    def undo_all(self, say: Callable[[str], None]) -> list[str]:
        """Undoes everything, newest first; returns what failed."""
        failed = []
        for entry in reversed(tuple(self.entries.values())):
            error = perform(entry)
            say(f"{entry['id']}: {error or 'undone'}")
            if error is None:
                self.discharge(entry["id"])
            else:
                failed.append(f"{entry['id']}: {error}")
        return failed

    def _append(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def read_entries(folder: Path) -> list[Mapping[str, Any]]:
    """What the list on disk still holds, newest first."""
    held: dict[str, Mapping[str, Any]] = {}
    path = folder / LEDGER
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if "register" in row:
                held[row["register"]["id"]] = row["register"]
            else:
                held.pop(row["discharge"], None)
    return list(reversed(held.values()))
