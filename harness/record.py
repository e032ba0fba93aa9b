"""``run.json``: what a run is and how far it came. Rewritten whole (by rename) at each step, so that a killed run
leaves a true one.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RunRecord:
    """The content of ``run.json`` while the run goes on."""

    path: Path
    clock: Callable[[], int]
    facts: dict[str, Any] = field(default_factory=dict)

    def update(self, facts: Mapping[str, Any]) -> None:
        """Adds facts and writes the file."""
        self.facts.update(facts)
        self.write()

    def shift(self, moved_ns: int) -> None:
        """The clock's zero moved: phases recorded before keep their place in real time."""
        for row in self.facts.get("phases", []):
            row["begin_ns"] -= moved_ns
            row["end_ns"] = row["end_ns"] - moved_ns if row["end_ns"] is not None else None
        self.write()

    def note(self, sentence: str) -> None:
        """Something a reader of the page should know."""
        self.facts.setdefault("notes", []).append(sentence)
        self.write()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Records when a phase began and ended; one that failed has an end too."""
        row: dict[str, Any] = {"name": name, "begin_ns": self.clock(), "end_ns": None}
        self.facts.setdefault("phases", []).append(row)
        self.write()
        logger.info("phase %s", name)
        try:
            yield
        finally:
            row["end_ns"] = self.clock()
            self.write()

    def write(self) -> None:
        """Writes the file so that a reader sees the old or the new one, never half of it."""
        temporary = self.path.with_suffix(".json.tmp")
        temporary.write_bytes(orjson.dumps(self.facts, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
        os.replace(temporary, self.path)
