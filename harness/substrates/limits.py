"""Limits on a node's processes, by their control group (:class:`faults.needs.Limits`).

On ``process`` a node gets groups of its own before it is started, if a fault of the run will need them (memory that a
process has before it is moved stays where it was charged): beside the controller's own in version 1, below the root in
version 2, where a group with processes of its own may have no children. In containers the engine made the group, and
makes it anew at each start; it is found through ``/proc/PID/cgroup``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from faults.needs import Restraint, Undo, UndoList, Usage
from harness.errors import HarnessError
from harness.host import processes
from harness.host.tools import run_tool
from harness.substrates.cgroups import KINDS, Group, Mounts, paths_of, removal_command, write, writing_command

FREEZE_POLL_S = 0.002
FREEZE_POLLS_MAX = 500


class GroupLimits:
    """Implements :class:`faults.needs.Limits` for the group that ``find`` finds; a container's changes."""

    def __init__(self, find: Callable[[], Group]) -> None:
        self._find = find

    @property
    def able(self) -> frozenset[Restraint]:
        """See the protocol."""
        folders = self._find().folders
        return frozenset(
            kind for kind in KINDS if kind in folders and os.access(folders[kind][1] / "cgroup.procs", os.W_OK)
        )

    async def outside(self, pids: Sequence[int]) -> Sequence[int]:
        """See the protocol."""
        group = self._find()
        members = [group.members(kind) for kind in self.able]
        strangers = [pid for pid in pids if not all(pid in each for each in members)]
        return [pid for pid in strangers if processes.start_ticks(pid) is not None]

    async def usage(self) -> Usage:
        """See the protocol."""
        return self._find().usage()

    async def values(self, restraint: Restraint) -> Mapping[str, str]:
        """See the protocol."""
        return self._find().values(restraint)

    async def limit(self, restraint: Restraint, amount: float) -> None:
        """See the protocol. In a thread: the kernel may have to reclaim memory first."""
        await asyncio.to_thread(write, self._find().limits(restraint, amount))

    async def restore(self, values: Mapping[str, str]) -> None:
        """See the protocol."""
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(write, values)

    def restoring(self, values: Mapping[str, str]) -> Sequence[str]:
        """See the protocol."""
        return writing_command(values)

    def door(self, restraint: Restraint) -> str:
        """See the protocol."""
        return str(self._find().door(restraint))

    async def frozen(self) -> bool:
        """See the protocol."""
        return self._find().is_frozen()

    async def freeze(self) -> None:
        """See the protocol. Returns when the kernel says that they stand still, or after a second."""
        group = self._find()
        write(group.frozen_values(frozen=True))
        for _ in range(FREEZE_POLLS_MAX):
            if group.is_frozen():
                return
            await asyncio.sleep(FREEZE_POLL_S)

    async def thaw(self) -> None:
        """See the protocol."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, KeyError):
            write(self._find().frozen_values(frozen=False))

    def thawing(self) -> Sequence[str]:
        """See the protocol."""
        return writing_command(self._find().frozen_values(frozen=False))


class OwnGroup(GroupLimits):
    """A group of the node's own, which the run makes and removes."""

    def __init__(self, *, run_id: str, node: str, undo: UndoList) -> None:
        mounts = _mounts()
        self._group = Group.at(mounts, _own_paths(f"capsize-{run_id}-{node}"))
        self._undo = undo
        self._undo_id = f"groups of {node}"
        self._kills_seen = 0
        super().__init__(lambda: self._group)

    async def make(self) -> None:
        """Makes it, in every hierarchy.

        Raises:
            HarnessError: the machine does not allow it.
        """
        folders = self._group.all_folders
        argv = {"argv": removal_command(folders)}
        await self._undo.register(Undo(id=self._undo_id, kind="run", arguments=argv))
        try:
            for folder in folders:
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise HarnessError(f"control group {folder} cannot be made: {error.strerror}; use root") from error

    def adopt(self, pid: int) -> None:
        """Puts a process in, and with it everything that it will start.

        Raises:
            HarnessError: the kernel refuses.
        """
        try:
            write({str(folder / "cgroup.procs"): f"{pid}" for folder in self._group.all_folders})
        except ProcessLookupError:
            return  # dead already: whoever watches it will say so
        except OSError as error:
            raise HarnessError(f"process {pid} cannot be put into its control group: {error.strerror}") from error

    def killed_for_memory(self) -> bool:
        """Whether the kernel killed one of the group for memory since this was asked last."""
        kills = self._group.usage().oom_kills
        before, self._kills_seen = self._kills_seen, kills
        return kills > before

    async def remove(self) -> None:
        """Removes it; its processes must be dead. Safe to call twice, and if it was never made.

        Raises:
            HarnessError: somebody is still in it.
        """
        done = await run_tool(removal_command(self._group.all_folders))
        if done.status != 0:
            raise HarnessError(f"control groups are still in use: {', '.join(map(str, self._group.all_folders))}")
        await self._undo.discharge(self._undo_id)


def of_container(pid: Callable[[], int]) -> GroupLimits:
    """The limits of the container whose first process this is. A dead one's group is gone: nothing can be asked of it
    (FileNotFoundError).
    """
    return GroupLimits(lambda: Group.of_process(pid(), _mounts()))


@functools.cache
def _mounts() -> Mounts:
    return Mounts.read()


def _own_paths(name: str) -> Mapping[str, str]:
    """Where a group of this name belongs, by controller."""
    ours = paths_of(Path("/proc/self/cgroup").read_text(encoding="utf-8"))
    return {controller: f"{path.rstrip('/') if controller else ''}/{name}" for controller, path in ours.items()}


def why_refused() -> str | None:
    """Why nothing can be limited on this machine, with the next step; None if it can. A group is made and removed."""
    if os.geteuid() != 0:
        return "control groups belong to root: run the same command with sudo"
    mounts = _mounts()
    lacking = [kind for kind in ("cpu", "memory") if mounts.version_of(kind) is None]
    if lacking:
        return f"no control groups for {' and '.join(lacking)} are mounted: sudo mount -t cgroup2 none /sys/fs/cgroup"
    group = Group.at(mounts, _own_paths(f"capsize-trial-{os.getpid()}"))
    made: list[Path] = []
    try:
        _enable(mounts)
        for folder in group.all_folders:
            folder.mkdir()
            made.append(folder)
        if not (group.values("cpu") and group.values("memory")):
            return "control groups here limit neither processor nor memory: see /sys/fs/cgroup/cgroup.subtree_control"
    except OSError as error:
        hint = "use sudo; in a container, start it with: docker run --privileged --cgroupns=host"
        return f"control groups refused ({error.strerror}, {error.filename}): {hint}"
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return None


def _enable(mounts: Mounts) -> None:
    """In version 2 the root hands its controllers down, or groups do not have them. Init systems do that at boot."""
    wanted = [kind for kind in ("cpu", "memory") if mounts.version_of(kind) == 2]
    if mounts.second is None or not wanted:
        return
    control = mounts.second / "cgroup.subtree_control"
    absent = set(wanted) - set(control.read_text(encoding="ascii").split())
    if absent:
        control.write_text(" ".join(f"+{kind}" for kind in sorted(absent)), encoding="ascii")
