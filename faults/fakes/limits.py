"""Fakes of :class:`faults.needs.Limits`, of the harness's burden under them, and of a process's limit of open files."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from faults.needs import Completed, Restraint, Usage

FILES_OPEN = 30


@dataclass(slots=True)
class FakeLimits:
    """A control group that is a few numbers, and the harness's burden in it (:mod:`faults.resources.burden`)."""

    able: frozenset[Restraint] = frozenset({"cpu", "memory", "freezer"})
    stubborn: bool = False
    """Whether nothing that is set has any effect, although it can be read back."""
    forgetful: bool = False
    """Whether what is written back does not stay."""
    strangers: tuple[int, ...] = ()
    """Processes of the node that are not in the group."""
    set: dict[str, str] = field(default_factory=lambda: {"cpu": "max", "memory": "max", "freezer": "0"})
    counted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("throttled", "hits", "kills"), 0))
    cpu_steps: float = 0.0
    """Processor time used between two looks."""
    _cpu_s: Iterator[int] = field(default_factory=itertools.count)
    gone: bool = False
    """Whether it went with its last process."""
    on_limit: Callable[[], Awaitable[None]] | None = None
    """What becomes of the node when a limit is set."""

    async def outside(self, pids: Sequence[int]) -> Sequence[int]:
        """As ``strangers`` says."""
        return [pid for pid in pids if pid in self.strangers]

    async def usage(self) -> Usage:
        """What the burden came to; 20 MiB in use."""
        if self.gone:
            raise FileNotFoundError("the group is gone")
        return Usage(
            cpu_s=next(self._cpu_s) * self.cpu_steps,
            throttled=self.counted["throttled"],
            memory_bytes=20 << 20,
            memory_hits=self.counted["hits"],
            oom_kills=self.counted["kills"],
        )

    async def values(self, restraint: Restraint) -> Mapping[str, str]:
        """As set."""
        if self.gone:
            raise FileNotFoundError("the group is gone")
        return {f"/group/{restraint}": self.set[restraint]}

    async def limit(self, restraint: Restraint, amount: float) -> None:
        """Sets it."""
        self.set[restraint] = f"{amount}"
        if self.on_limit is not None:
            await self.on_limit()

    async def restore(self, values: Mapping[str, str]) -> None:
        """Writes it back."""
        if not self.forgetful:
            self.set.update({path.rpartition("/")[2]: value for path, value in values.items()})

    def restoring(self, values: Mapping[str, str]) -> Sequence[str]:
        """Says what would be written."""
        return ["restore", *values.values()]

    def door(self, restraint: Restraint) -> str:
        """A file that nobody has."""
        return f"/group/{restraint}/procs"

    async def frozen(self) -> bool:
        """As set."""
        return self.set["freezer"] == "1"

    async def freeze(self) -> None:
        """Freezes."""
        if not self.stubborn:
            self.set["freezer"] = "1"

    async def thaw(self) -> None:
        """Thaws."""
        if not self.forgetful:
            self.set["freezer"] = "0"

    def thawing(self) -> Sequence[str]:
        """Says that it would be thawed."""
        return ["thaw"]

    def burden(self, line: str) -> str:
        """What becomes of the harness's processes in the group: held back, killed, or neither if it is stubborn."""
        limited = {kind: self.set[kind] != "max" and not self.stubborn for kind in ("cpu", "memory")}
        match line.split()[0]:
            case "burn":
                self.counted["throttled"] += limited["cpu"]
                return json.dumps({"wall_s": 1.0, "cpu_s": float(self.set["cpu"]) if limited["cpu"] else 1.0})
            case "grab":
                self.counted["hits"] += limited["memory"]
                self.counted["kills"] += limited["memory"]
                return json.dumps({"killed": limited["memory"], "kills": int(limited["memory"])})
            case "press":
                self.counted["hits"] += limited["memory"]
        return json.dumps({"kills": 0, "error": None})


@dataclass(slots=True)
class FakeFileLimit:
    """What one process may have open; it has 30."""

    soft: str = "1024"
    stubborn: bool = False
    """Whether it stays what it is."""

    def answer(self, arguments: Sequence[str]) -> Completed:
        """What the commands of :mod:`faults.resources.restraints` print that list the limit (of pids) or set it (of a
        pid, told by its start).
        """
        if len(arguments) == 3 and ":" in arguments[2]:
            self.soft = self.soft if self.stubborn else arguments[2].partition(":")[0]
            return Completed(status=0)
        listed = (f"{pid} 1 {FILES_OPEN} {self.soft} 4096\n" for pid in arguments)
        return Completed(status=0, stdout="".join(listed))
