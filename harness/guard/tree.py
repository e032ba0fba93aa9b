"""The server's processes: started, found, signalled, buried."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.guard.errors import GuardError

SERVER = "server.json"
POLL_S = 0.002
DEATH_POLLS_MAX = 1500
"""3 s: a process that waits for a disk (state D) outlives its SIGKILL."""
SIGNAL_ROUNDS_MAX = 20
"""A tree that forks while it is signalled is signalled again, at most so often."""
_STATE, _PARENT, _SESSION, _START = 0, 1, 3, 19
"""Places in /proc/PID/stat after the command's closing bracket (proc(5): fields 3, 4, 6 and 22)."""


def stat_fields(pid: int | str) -> list[str]:
    """What /proc says behind the command's name; empty if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def start_of(pid: int) -> int | None:
    """When it began, in clock ticks; None if it is gone or a zombie."""
    fields = stat_fields(pid)
    return int(fields[_START]) if fields and fields[_STATE] not in "ZX" else None


def is_stopped(pid: int) -> bool:
    """Whether every thread of it stands still."""
    tasks = os.listdir(f"/proc/{pid}/task") if os.path.exists(f"/proc/{pid}/task") else []
    states = [fields[_STATE] for task in tasks if (fields := stat_fields(f"{pid}/task/{task}"))]
    return bool(states) and all(state in "Tt" for state in states)


def children_of(pid: int) -> list[int]:
    """Its children; from the kernel's own list where it keeps one (CONFIG_PROC_CHILDREN), else from everybody's."""
    try:
        lists = [
            Path(f"/proc/{pid}/task/{task}/children").read_text("ascii") for task in os.listdir(f"/proc/{pid}/task")
        ]
        return [int(child) for each in lists for child in each.split()]
    except OSError:
        if KERNEL_LISTS_CHILDREN:
            return []  # gone
    everybody = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [other for other in everybody if (fields := stat_fields(other)) and fields[_PARENT] == str(pid)]


KERNEL_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def send(pids: Iterable[int], number: int) -> None:
    """Signals each; who is gone is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def marked(marks: Mapping[str, str]) -> list[int]:
    """Every process that was started with these marks in its environment, as far as it is ours to see."""
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and wanted <= set(Path(f"/proc/{name}/environ").read_bytes().split(b"\0")):
                found.append(int(name))
    return [pid for pid in found if pid != os.getpid() and start_of(pid) is not None]


def _oom_kills(group: Path) -> int:
    """How many of a control group were killed for memory (version 1 or 2)."""
    lines: list[str] = []
    for name in ("memory.oom_control", "memory.events"):
        with contextlib.suppress(OSError):
            lines += (group / name).read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


class Server:
    """The server that this guard started, and its tree: its descendants, and orphans that came to the guard."""

    def __init__(self, folder: Path) -> None:
        self.deaths: list[int] = []
        """Statuses of ends that no signal of ours caused (negative: by a signal)."""
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._sent: set[int] = set()
        self._noted = True
        self._dismissed = False
        self._groups: list[Path] = []
        self._kills_seen = 0

    def start(self, asked: Mapping[str, Any]) -> None:
        """Starts it, with a session of its own.

        Raises:
            GuardError: it runs already, or there is no such program.
        """
        if self.alive():
            raise GuardError("the server runs already: it is started again only after it died")
        self._sent.clear()
        self._dismissed = False
        user = asked.get("user")
        identity = {"user": user[0], "group": user[1], "extra_groups": []} if user else {}
        try:
            with open(asked["log"], "ab") as log:
                self._process = subprocess.Popen(
                    asked["argv"],
                    env={**os.environ, **asked["env"]},
                    cwd=asked["cwd"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    **identity,
                )
        except OSError as error:
            raise GuardError(f"the server cannot be started: {error}") from None
        self._noted = False
        self._groups = [Path(door).parent for door in asked.get("groups", ())]
        for folder in self._groups:
            with contextlib.suppress(ProcessLookupError):  # dead already: that is told like any death
                (folder / "cgroup.procs").write_text(str(self._process.pid), encoding="ascii")
        facts = {"pid": self._process.pid, "start": start_of(self._process.pid)}
        (self._folder / SERVER).write_text(json.dumps(facts), encoding="ascii")

    def alive(self) -> bool:
        """Whether the process that was started exists; notes how it ended."""
        if self._process is None:
            return False
        status = self._process.poll()
        if status is not None and not self._noted:
            self._noted = True
            asked = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} & self._sent
            ours = -status in self._sent or asked or self._dismissed or self._killed_for_memory(status)
            if not ours:
                self.deaths.append(status)
        return status is None

    def _killed_for_memory(self, status: int) -> bool:
        """Whether the kernel killed one of its groups for memory since this was asked last: a limit of ours."""
        kills = sum(_oom_kills(folder) for folder in self._groups)
        before, self._kills_seen = self._kills_seen, kills
        return status == -signal.SIGKILL and kills > before

    def pids(self) -> list[int]:
        """The tree, the first process first."""
        found = [self._process.pid] if self._process is not None and start_of(self._process.pid) is not None else []
        found += [pid for pid in self._adopted() if pid not in found and start_of(pid) is not None]
        for pid in found:  # grows as it is walked
            found += [child for child in children_of(pid) if child not in found and start_of(child) is not None]
        return found

    def _adopted(self) -> list[int]:
        """Children of the guard that are not its own tools: those stay in its session."""
        session = str(os.getsid(0))
        each = ((pid, stat_fields(pid)) for pid in children_of(os.getpid()))
        return [pid for pid, fields in each if fields and fields[_SESSION] != session]

    def look(self) -> Mapping[str, Any]:
        """Its state, its process ids, and how it died so far."""
        pids = self.pids() if self._process is not None else []
        stopped = bool(pids) and all(map(is_stopped, pids))
        state = "dead" if not self.alive() else "stopped" if stopped else "running"
        return {"state": state, "pids": pids, "deaths": self.deaths}

    async def signal(self, number: int) -> Mapping[str, Any]:
        """Signals the tree until no new process appears in it; after SIGKILL waits until it is gone."""
        self._sent.add(number)
        seen: set[int] = set()
        for _ in range(SIGNAL_ROUNDS_MAX):
            if not (new := set(self.pids()) - seen):
                break
            send(sorted(new), number)
            seen |= new
        for _ in range(DEATH_POLLS_MAX if number == signal.SIGKILL else 0):
            if not self.alive() and not self.pids():
                break
            await asyncio.sleep(POLL_S)
        return self.look()

    def dismiss(self) -> None:
        """Until its next start it may end by itself, and that is no crash."""
        self._dismissed = True

    def reap(self) -> None:
        """Buries orphans that came to the guard and ended."""
        own = self._process.pid if self._process is not None else 0
        for pid in self._adopted():
            if pid != own and start_of(pid) is None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
