"""The undo list on disk: ``undo.jsonl`` in the run folder, written by the watchdog before it confirms an entry.

The first line says whose it is (``run``, ``controller``); then ``{"register": {...}}`` and ``{"discharge": id}`` as
they happen. The file is deleted when everything is undone, so one that is still there, of a dead controller, says
what ``capsize clean`` has to finish. No sync to the disk: it has to survive the death of processes, and after the
death of the machine nothing is left to undo.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "undo.jsonl"

Entry = Mapping[str, Any]
"""``id``, ``kind``, ``arguments``: an :class:`faults.needs.Undo` as plain JSON."""


class Ledger:
    """Entries held, in the order of their registration."""

    def __init__(self, path: Path, *, run_id: str, controller: str) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self._file = path.open("a", encoding="utf-8")
        self._append({"run": run_id, "controller": controller})

    def register(self, entry: Entry) -> None:
        """Holds an entry; one with the same id is replaced."""
        self._append({"register": entry})
        self.entries.pop(entry["id"], None)
        self.entries[entry["id"]] = entry

    def discharge(self, entry_id: str) -> None:
        """Forgets an entry. No error if it is unknown."""
        if self.entries.pop(entry_id, None) is not None:
            self._append({"discharge": entry_id})

    def close(self) -> None:
        """Ends writing; the file goes when nothing is left in it."""
        self._file.close()
        if not self.entries:
            self.path.unlink(missing_ok=True)

    def _append(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


@dataclass(frozen=True, kw_only=True, slots=True)
class Remainder:
    """What a ledger file still holds, newest first, and whose it is."""

    path: Path
    run_id: str
    controller: str
    entries: tuple[Entry, ...]


def read_ledger(path: Path) -> Remainder | None:
    """Reads a ledger file; lines that are torn or make no sense are passed over. None if it does not even say whose
    it is.
    """
    run_id = controller = ""
    entries: dict[str, Entry] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match _decoded(line):
            case {"run": str(run_id), "controller": str(controller)}:
                pass
            case {"register": {"id": str(entry_id), "kind": str(), "arguments": dict()} as entry}:
                entries[entry_id] = entry
            case {"discharge": str(entry_id)}:
                entries.pop(entry_id, None)
    if not controller:
        return None
    return Remainder(path=path, run_id=run_id, controller=controller, entries=tuple(reversed(entries.values())))


def _decoded(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
