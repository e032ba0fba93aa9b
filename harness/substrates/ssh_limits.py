"""Limits on the processes of a node on another host (:class:`faults.needs.Limits`).

The run makes control groups of the node's own there, as on ``process``. What they say is read by one command, into
copies of the few files that matter below a folder of this machine, which :mod:`harness.substrates.cgroups` then reads
as if they were the host's; what is written goes there by another. The host's guard puts the server in, tells who was
killed for memory, and removes the groups when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from faults.needs import Node, Restraint, Usage
from harness.errors import HarnessError
from harness.substrates.cgroups import KINDS, Group, Mounts, paths_of, removal_command, writing_command

FREEZE_POLLS_MAX = 50
FREEZE_POLL_S = 0.02
NAMES = (
    *("cgroup.procs", "cgroup.events", "cgroup.freeze", "freezer.state"),
    *("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max", "cpu.stat", "cpuacct.usage"),
    *("memory.memsw.limit_in_bytes", "memory.limit_in_bytes", "memory.max", "memory.swap.max"),
    *("memory.usage_in_bytes", "memory.current", "memory.failcnt", "memory.events", "memory.oom_control"),
)
"""Files of a group that matter."""
_SHOW = 'for file; do if text=$(cat "$file" 2>/dev/null); then printf "%s\\036%s\\035" "$file" "$text"; fi; done'
"""Prints each file that can be read: its path, its text, each followed by a character that texts do not have."""
_ENABLE = (
    'if [ -w "$1/cgroup.subtree_control" ]; then for kind in cpu memory; do'
    ' echo "+$kind" >"$1/cgroup.subtree_control" 2>/dev/null; done; fi; shift; mkdir "$@"'
)
"""In version 2 the root hands its controllers down, or groups do not have them; then the groups are made."""


class HostLimits:
    """Of one node's group. Usable once it is made."""

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self._name = name
        self._copy = TemporaryDirectory(prefix="capsize-groups-")
        self._group = Group(folders={})

    @property
    def doors(self) -> Sequence[str]:
        """The files into which the server's process id is written."""
        return [f"{self._there(folder)}/cgroup.procs" for folder in self._group.all_folders]

    @property
    def removal(self) -> Sequence[str]:
        """The command that removes the groups."""
        return removal_command([Path(self._there(folder)) for folder in self._group.all_folders])

    async def find(self) -> None:
        """Asks where on the host the groups belong."""
        texts = await self._read(["/proc/mounts", "/proc/self/cgroup"])
        mounts = Mounts.read(texts.get("/proc/mounts", ""))
        if mounts.second is not None:
            self._note(await self._read([f"{mounts.second}/cgroup.controllers"]))
        first = {name: self._here(path) for name, path in mounts.first.items()}
        second = None if mounts.second is None else self._here(mounts.second)
        ours = paths_of(texts.get("/proc/self/cgroup", ""))
        paths = {name: f"{path.rstrip('/') if name else ''}/{self._name}" for name, path in ours.items()}
        self._second = "" if mounts.second is None else str(mounts.second)
        self._group = Group.at(Mounts(first=first, second=second), paths)

    async def make(self) -> None:
        """Makes them; how they are removed is registered by whoever asks for it.

        Raises:
            HarnessError: the host does not allow it.
        """
        folders = [self._there(folder) for folder in self._group.all_folders]
        done = await self._node.host(["sh", "-c", _ENABLE, "sh", self._second, *folders])
        if done.status != 0:
            raise HarnessError(f"{self._node.name}: control groups cannot be made: {done.stderr.strip()}")
        await self._fresh()

    def forget(self) -> None:
        """Lets the copies go."""
        self._copy.cleanup()

    @property
    def able(self) -> frozenset[Restraint]:
        """See the protocol."""
        return frozenset(kind for kind in KINDS if kind in self._group.folders)

    async def outside(self, pids: Sequence[int]) -> Sequence[int]:
        """See the protocol."""
        group = await self._fresh()
        members = [group.members(kind) for kind in self.able]
        strangers = [pid for pid in pids if not all(pid in each for each in members)]
        alive = await self._read([f"/proc/{pid}/stat" for pid in strangers])
        return [pid for pid in strangers if f"/proc/{pid}/stat" in alive]

    async def usage(self) -> Usage:
        """See the protocol."""
        return (await self._fresh()).usage()

    async def values(self, restraint: Restraint) -> Mapping[str, str]:
        """See the protocol; paths are the host's."""
        return self._theirs((await self._fresh()).values(restraint))

    async def limit(self, restraint: Restraint, amount: float) -> None:
        """See the protocol."""
        await self._write(self._theirs(self._group.limits(restraint, amount)))

    async def restore(self, values: Mapping[str, str]) -> None:
        """See the protocol."""
        await self._write(values)

    def restoring(self, values: Mapping[str, str]) -> Sequence[str]:
        """See the protocol."""
        return writing_command(values)

    def door(self, restraint: Restraint) -> str:
        """See the protocol."""
        return self._there(self._group.door(restraint))

    async def frozen(self) -> bool:
        """See the protocol."""
        return "freezer" in self.able and (await self._fresh()).is_frozen()

    async def freeze(self) -> None:
        """See the protocol. Returns when the kernel says that they stand still, or after a while."""
        await self._write(self._theirs(self._group.frozen_values(frozen=True)))
        for _ in range(FREEZE_POLLS_MAX):
            if await self.frozen():
                return
            await asyncio.sleep(FREEZE_POLL_S)

    async def thaw(self) -> None:
        """See the protocol."""
        await self._write(self._theirs(self._group.frozen_values(frozen=False)))

    def thawing(self) -> Sequence[str]:
        """See the protocol."""
        return writing_command(self._theirs(self._group.frozen_values(frozen=False)))

    async def _fresh(self) -> Group:
        """The group, with copies of its files as they are now."""
        folders = [self._there(folder) for folder in self._group.all_folders]
        texts = await self._read([f"{folder}/{name}" for folder in folders for name in NAMES])
        for folder in self._group.all_folders:
            for name in NAMES:
                (folder / name).unlink(missing_ok=True)
        self._note(texts)
        return self._group

    async def _read(self, paths: Sequence[str]) -> dict[str, str]:
        done = await self._node.host(["sh", "-c", _SHOW, "sh", *paths])
        rows: Any = (row.split("\036", 1) for row in done.stdout.split("\035") if row)
        return dict(rows)

    async def _write(self, values: Mapping[str, str]) -> None:
        done = await self._node.host(writing_command(values))
        if done.status != 0:
            raise OSError(f"{self._node.name}: {done.stderr.strip()}")

    def _note(self, texts: Mapping[str, str]) -> None:
        for path, text in texts.items():
            copy = self._here(Path(path))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text, encoding="ascii")

    def _here(self, path: Path) -> Path:
        return Path(self._copy.name) / str(path).lstrip("/")

    def _there(self, copy: Path) -> str:
        return f"/{copy.relative_to(self._copy.name)}"

    def _theirs(self, values: Mapping[str, str]) -> dict[str, str]:
        return {self._there(Path(path)): value for path, value in values.items()}
