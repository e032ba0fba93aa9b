"""Control groups, version 1 and 2: where they are, and which of their files says what (``cgroups(7)``; the kernel's
``admin-guide/cgroup-v1`` and ``cgroup-v2.rst``).

In version 1 every controller may have a hierarchy of its own, in version 2 there is one; machines in between have
both, with the controllers in either. So each *kind* of restraint has a folder of its own here, and they may be the
same. What is read and written are files, so that tests need no more than a folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.needs import Restraint, Usage

MOUNTS = Path("/proc/mounts")
KINDS: tuple[Restraint, ...] = ("cpu", "memory", "freezer")
CPU_PERIOD_US = 100_000
CPU_QUOTA_US_MIN = 1000
"""The kernel takes nothing smaller."""
PROCS = "cgroup.procs"
SWAP_BYTES = 1 << 20
"""What may be swapped out under a limit of version 1. Not nothing: the limit that counts swap would be met first, and
recent kernels do not count (``failcnt``) how often.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mounts:
    """Where the hierarchies are: of version 1 by controller, and that of version 2."""

    first: Mapping[str, Path]
    second: Path | None

    @classmethod
    def read(cls, text: str | None = None) -> Mounts:
        """From the text of ``/proc/mounts``."""
        first, second = dict[str, Path](), None
        for line in (MOUNTS.read_text(encoding="utf-8") if text is None else text).splitlines():
            _, folder, kind, options, *_ = line.split()
            if kind == "cgroup":
                first.update(dict.fromkeys(options.split(","), Path(folder)))
            elif kind == "cgroup2" and second is None:
                second = Path(folder)
        return cls(first=first, second=second)

    def version_of(self, kind: str) -> int | None:
        """Which version restrains this; None if neither does."""
        if kind in self.first:
            return 1
        if self.second is None:
            return None
        if kind in ("freezer", "cpuacct"):  # every group of version 2 can be frozen, and counts
            return 2
        names = _words(self.second / "cgroup.controllers")
        return 2 if kind in names else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The group of a node: for each kind the version, and the folder."""

    folders: Mapping[str, tuple[int, Path]]

    @classmethod
    def at(cls, mounts: Mounts, paths: Mapping[str, str]) -> Group:
        """At these paths within the hierarchies (by controller; that of version 2 is called "")."""
        folders = {}
        for kind in (*KINDS, "cpuacct"):
            version = mounts.version_of(kind)
            root, name = (mounts.first.get(kind), kind) if version == 1 else (mounts.second, "")
            if version is not None and root is not None and name in paths:
                folders[kind] = (version, root / paths[name].lstrip("/"))
        return cls(folders=folders)

    @classmethod
    def of_process(cls, pid: int | str, mounts: Mounts, *, proc: Path = Path("/proc")) -> Group:
        """The group that a process is in."""
        return cls.at(mounts, paths_of((proc / str(pid) / "cgroup").read_text(encoding="utf-8")))

    @property
    def all_folders(self) -> Sequence[Path]:
        """Each once."""
        return tuple(dict.fromkeys(folder for _, folder in self.folders.values()))

    def door(self, kind: str) -> Path:
        """The file into which a process is written that is to come under a restraint."""
        return self.folders[kind][1] / PROCS

    def members(self, kind: str) -> frozenset[int]:
        """The processes in it."""
        return frozenset(map(int, _words(self.door(kind))))

    def values(self, kind: str) -> dict[str, str]:
        """What is set, by file, in the order in which it can be written back."""
        return {str(path): path.read_text(encoding="ascii").strip() for path in self._files(kind) if path.exists()}

    def limits(self, kind: str, amount: float) -> dict[str, str]:
        """What to write, by file in this order, for a limit: a share of one processor, or bytes."""
        version, folder = self.folders[kind]
        if kind == "cpu":
            quota = max(CPU_QUOTA_US_MIN, round(amount * CPU_PERIOD_US))
            if version == 1:
                return {
                    str(folder / "cpu.cfs_period_us"): f"{CPU_PERIOD_US}",
                    str(folder / "cpu.cfs_quota_us"): f"{quota}",
                }
            return {str(folder / "cpu.max"): f"{quota} {CPU_PERIOD_US}"}
        size = round(amount) // os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PAGESIZE")
        if version == 1:
            swapped = {"memory.memsw.limit_in_bytes": f"{size + SWAP_BYTES}"}
            wanted = {"memory.limit_in_bytes": f"{size}", **swapped}
        else:
            wanted = {"memory.max": f"{size}", "memory.swap.max": "0"}
        return {f"{folder / name}": value for name, value in wanted.items() if (folder / name).exists()}

    def _files(self, kind: str) -> list[Path]:
        version, folder = self.folders[kind]
        names = {
            ("cpu", 1): ["cpu.cfs_quota_us", "cpu.cfs_period_us"],
            ("cpu", 2): ["cpu.max"],
            # The limit that counts swap, too, is never below the other: so it is raised first, and lowered last.
            ("memory", 1): ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"],
            ("memory", 2): ["memory.max", "memory.swap.max"],
        }
        return [folder / name for name in names[kind, version]]

    def frozen_values(self, *, frozen: bool) -> dict[str, str]:
        """What to write to freeze or to thaw."""
        version, folder = self.folders["freezer"]
        if version == 1:
            return {str(folder / "freezer.state"): "FROZEN" if frozen else "THAWED"}
        return {str(folder / "cgroup.freeze"): "1" if frozen else "0"}

    def is_frozen(self) -> bool:
        """Whether every process in it stands still: the kernel says so when the last one does."""
        if "freezer" not in self.folders:
            return False
        version, folder = self.folders["freezer"]
        if version == 1:
            return (folder / "freezer.state").read_text(encoding="ascii").strip() == "FROZEN"
        return _pairs(folder / "cgroup.events").get("frozen") == 1

    def usage(self) -> Usage:
        """What the kernel counted; zero where it does not."""
        return Usage(
            cpu_s=self._cpu_s(),
            throttled=self._throttled(),
            memory_bytes=self._memory_bytes(),
            memory_hits=self._memory_hits(),
            oom_kills=self._ooms(),
        )

    def _cpu_s(self) -> float:
        if "cpuacct" not in self.folders:
            return 0.0
        version, folder = self.folders["cpuacct"]
        if version == 1:
            return _number(folder / "cpuacct.usage") / 1e9
        return _pairs(folder / "cpu.stat").get("usage_usec", 0) / 1e6

    def _throttled(self) -> int:
        return _pairs(self.folders["cpu"][1] / "cpu.stat").get("nr_throttled", 0) if "cpu" in self.folders else 0

    def _memory_bytes(self) -> int:
        if "memory" not in self.folders:
            return 0
        version, folder = self.folders["memory"]
        return _number(folder / ("memory.usage_in_bytes" if version == 1 else "memory.current"))

    def _memory_hits(self) -> int:
        if "memory" not in self.folders:
            return 0
        version, folder = self.folders["memory"]
        if version == 1:
            return _number(folder / "memory.failcnt")
        return _pairs(folder / "memory.events").get("max", 0)

    def _ooms(self) -> int:
        if "memory" not in self.folders:
            return 0
        version, folder = self.folders["memory"]
        return _pairs(folder / ("memory.oom_control" if version == 1 else "memory.events")).get("oom_kill", 0)


def paths_of(text: str) -> dict[str, str]:
    """``/proc/PID/cgroup``: the path in each hierarchy, by controller; that of version 2 is called ""."""
    fields = (line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2)
    return {name: path for _, names, path in fields for name in names.split(",")}


def write(values: Mapping[str, str]) -> None:
    """Into each file, in this order.

    Raises:
        OSError: the kernel refuses (EBUSY: more memory is in use than the limit would allow).
    """
    for path, value in values.items():
        Path(path).write_text(value, encoding="ascii")


def writing_command(values: Mapping[str, str]) -> list[str]:
    """A command that does the same, and succeeds if the group is gone."""
    loop = 'while [ $# -gt 0 ]; do [ ! -e "$1" ] || echo "$2" >"$1" || exit 1; shift 2; done'
    return ["sh", "-c", loop, "sh", *(word for pair in values.items() for word in pair)]


def removal_command(folders: Sequence[Path]) -> list[str]:
    """A command that ends whoever is still in these groups (children that left their node's session) and removes them,
    within 2 s; succeeds if they are gone.
    """
    attempt = 'kill -9 $(cat "$folder/cgroup.procs" 2>/dev/null) 2>/dev/null; ! rmdir "$folder" 2>/dev/null'
    wait = "tries=$((tries+1)); [ $tries -lt 100 ] || exit 1; sleep 0.02"
    loop = f'for folder; do tries=0; while [ -d "$folder" ] && {{ {attempt}; }}; do {wait}; done; done'
    return ["sh", "-c", loop, "sh", *map(str, folders)]


def _number(path: Path) -> int:
    words = _words(path)
    return int(words[0]) if words else 0


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []


def _pairs(path: Path) -> dict[str, int]:
    words = _words(path)
    return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=False) if value.isdigit()}
