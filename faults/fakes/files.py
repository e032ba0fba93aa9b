"""A file system in memory, for tests of faults on disks: the real rules, no files."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from faults.filesystem.probes import BYTES
from faults.filesystem.rules import DATA, PROBE, Rule, Rules
from faults.needs import Attempt, FilesStatus, Undo


@dataclass(slots=True)
class FakeFiles:
    """Decides by the rules; ``on_crash`` is what the death of the node's tree does."""

    on_crash: Callable[[], None] = lambda: None
    toothless: bool = False
    """Whether rules have no effect."""
    stubborn: bool = False
    """Whether they never end."""
    rules: Rules = field(default_factory=lambda: Rules(Random(0)))
    crash: Mapping[str, Any] | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def operate(self, operation: str, path: str, length: int = 0) -> int | None:
        """The node does something: the number of its error, if it gets one."""
        self.counts[operation] += 1
        if self.crash is not None:
            return errno.EIO
        fate = self.rules.decide(operation, f"{DATA}/{path}", grows=True, splits=length > 0)
        if fate is None or fate.crash is None:
            return None if fate is None else fate.error
        self.crash = {"operation": operation, "path": path, "number": fate.crash.number}
        self.on_crash()
        return errno.EIO

    async def lay(self, owner: str, rules: Sequence[Rule]) -> None:
        """At once."""
        if not self.toothless and (rules or not self.stubborn):
            self.rules.replace(owner, [asdict(rule) for rule in rules])

    async def status(self) -> FilesStatus:
        """As it is."""
        tallies = {owner: [tally for _, tally in rules] for owner, rules in self.rules.sets.items()}
        return FilesStatus(operations=self.counts, tallies=tallies, crash=self.crash)

    async def probe(self, operations: Sequence[str]) -> Mapping[str, Attempt]:
        """What a probe would meet; no time passes."""
        return {operation: self._attempt(operation) for operation in operations}

    async def thaw(self) -> None:
        """At once."""
        self.crash = None

    def heal_undo(self) -> Undo:
        """Says what would be undone."""
        return Undo(id=f"rules {id(self)}", kind="run", arguments={"argv": ["heal"]})

    def _attempt(self, operation: str) -> Attempt:
        fate = self.rules.decide(operation, PROBE + operation, grows=True)
        if fate is None:
            return Attempt(error=None, took_ms=0.1, bytes=BYTES)
        error = None if fate.error is None else errno.errorcode[fate.error]
        return Attempt(error=error, took_ms=fate.delay_s * 1000 + 0.1, bytes=BYTES // 2 if fate.short else BYTES)
