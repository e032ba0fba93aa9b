"""What this machine can do, found by trying, and the exact line that mends what it can't.

Every examination is one small function in the table :data:`EXAMINATIONS`; what needs namespaces is tried in a child
process that is thrown away. An examination that itself goes wrong is a finding about the machine, never a traceback.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.host import namespaces
from harness.host.namespaces import SEARCH_PATH

if TYPE_CHECKING:
    from rich.table import Table

PYTHON_OLDEST = (3, 11)
KERNEL_OLDEST = (5, 4)
"""pidfd_open(2) came with 5.3; 5.4 is the oldest long-term kernel after it."""
MEMORY_GIB_LEAST = 2
DISK_GIB_LEAST = 5
CORES_LEAST = 2
SOFT_CLOCKS = frozenset({"jiffies", "refined-jiffies"})
"""Clock sources too coarse to order operations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ability:
    """One thing that the machine can or cannot do. ``mend`` is the line to type, empty where none helps or is needed.
    ``required``: without it the default scenario cannot run.
    """

    name: str
    ok: bool
    detail: str
    mend: str = ""
    required: bool = False


def examine() -> list[Ability]:
    """All abilities, in the order of the table. Takes about a second; leaves nothing behind."""
    return [_guarded(name, examination) for name, examination in EXAMINATIONS]


def _guarded(name: str, examination: Callable[[], Ability]) -> Ability:
    try:
        return examination()
    except Exception as error:  # noqa: BLE001 - the doctor must survive whatever machine it is brought to
        return Ability(name=name, ok=False, detail=f"could not be examined: {type(error).__name__}: {error}")


def render(abilities: Sequence[Ability]) -> Table:
    """A table for a terminal."""
    from rich.table import Table

    table = Table(title="What this machine can do", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("ability", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("type this to mend it", overflow="fold")
    for ability in abilities:
        table.add_row(_mark(ability), ability.name, _plain(ability.detail), _plain(ability.mend))
    return table


def _mark(ability: Ability) -> str:
    if ability.ok:
        return "[green]yes[/]"
    return "[red]NO[/]" if ability.required else "[yellow]no[/]"


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


# ---- examinations: what the default scenario needs


def _python() -> Ability:
    version = platform.python_version()
    ok = sys.version_info >= PYTHON_OLDEST
    wanted = ".".join(map(str, PYTHON_OLDEST))
    mend = "" if ok else "sudo apt-get install -y python3 python3-venv"
    return Ability(name="python", ok=ok, detail=f"{version}, needs {wanted}", mend=mend, required=True)


def _kernel() -> Ability:
    release = platform.release()
    numbers = release.split("-")[0].split(".")[:2]
    ok = sys.platform == "linux" and tuple(map(int, numbers)) >= KERNEL_OLDEST
    detail = f"{platform.system()} {release}" + ("" if ok else f", needs Linux {'.'.join(map(str, KERNEL_OLDEST))}")
    return Ability(name="kernel", ok=ok, detail=detail, required=True)


def _tools() -> Ability:
    absent = [tool for tool in namespaces.TOOLS if _find(tool) is None]
    packages = sorted({namespaces.TOOLS[tool] for tool in absent})
    detail = f"not found: {', '.join(absent)}" if absent else ", ".join(namespaces.TOOLS)
    mend = f"sudo apt-get install -y {' '.join(packages)}" if absent else ""
    return Ability(name="tools", ok=not absent, detail=detail, mend=mend, required=True)


def _namespaces() -> Ability:
    who = "as root" if os.geteuid() == 0 else f"as an ordinary user (uid {os.geteuid()}), in a user namespace"
    missing = namespaces.missing()
    if not missing:
        detail = f"private network and mounts, {who}: substrate process can run"
        return Ability(name="namespaces", ok=True, detail=detail, required=True)
    reason, _, mend = missing[0].rpartition(": ")
    return Ability(name="namespaces", ok=False, detail=f"{who}: {reason or missing[0]}", mend=mend, required=True)


def _proc() -> Ability:
    readable = Path("/proc/1/stat").is_file() and bool(Path("/proc/1/stat").read_text(encoding="utf-8"))
    mend = "" if readable else "sudo mount -o remount,hidepid=0 /proc"
    detail = "every process can be seen" if readable else "other users' processes are hidden (hidepid)"
    return Ability(name="/proc", ok=readable, detail=detail, mend=mend)


# ---- how big it is


def _cores() -> Ability:
    cores = len(os.sched_getaffinity(0))
    detail = f"{cores}, load {os.getloadavg()[0]:.1f}"
    if cores < CORES_LEAST:
        detail += f": fewer than {CORES_LEAST}, so elections may flap; use --nodes 3 and longer time-outs"
    return Ability(name="cores", ok=cores >= CORES_LEAST, detail=detail)


def _memory() -> Ability:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Ability(name="memory", ok=gib >= MEMORY_GIB_LEAST, detail=f"{gib:.1f} GiB, wants {MEMORY_GIB_LEAST}")


def _disk() -> Ability:
    gib = shutil.disk_usage(Path.cwd()).free / 2**30
    ok = gib >= DISK_GIB_LEAST
    mend = "" if ok else "capsize clean; rm -r runs/<old runs>; or another place: --runs DIR"
    return Ability(name="disk", ok=ok, detail=f"{gib:.0f} GiB free here, wants {DISK_GIB_LEAST}", mend=mend)


def _clock() -> Ability:
    source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    name = source.read_text(encoding="ascii").strip() if source.exists() else "unknown"
    resolution_ns = time.clock_getres(time.CLOCK_MONOTONIC) * 1e9
    detail = f"source {name}, CLOCK_MONOTONIC ticks every {resolution_ns:.0f} ns"
    return Ability(name="clock", ok=resolution_ns <= 1000 and name not in SOFT_CLOCKS, detail=detail)


# ---- what other substrates and other faults need


def _docker() -> Ability:
    from harness.substrates.docker import DockerSubstrate

    missing = DockerSubstrate().missing()
    if missing:
        reason, _, mend = missing[0].rpartition(": ")
        return Ability(name="docker", ok=False, detail=reason, mend=mend)
    return Ability(name="docker", ok=True, detail=f"engine {_engine_version()} answers: substrate docker can run")


def _engine_version() -> str:
    import docker

    client = docker.from_env(timeout=5)
    try:
        return str(client.version()["Version"])
    finally:
        client.close()


def _compose() -> Ability:
    from harness.errors import HarnessError
    from harness.substrates.compose_project import INSTALL, program

    try:
        found = " ".join(program())
    except HarnessError as error:
        return Ability(name="compose", ok=False, detail=f"{error}".partition(":")[0], mend=INSTALL)
    return Ability(name="compose", ok=True, detail=f"{found}: substrate compose can run, if docker can")


def _sshd() -> Ability:
    return _optional("openssh-server", "sshd", "only tests of the substrate ssh; hosts have their own")


def _debootstrap() -> Ability:
    return _optional("debootstrap", "debootstrap", "container images where no registry answers")


def _chromium() -> Ability:
    found = next((name for name in ("chromium", "chromium-browser", "google-chrome") if _find(name)), None)
    return _optional("chromium", found or "chromium", "only tests look at pages in a browser")


def _etcd() -> Ability:
    from harness.systems.etcd import ETCD, EtcdOptions
    from harness.systems.etcd_programs import find_etcd, version_of

    missing = ETCD.missing(EtcdOptions())
    if missing:
        reason, _, mend = missing[0].rpartition(": ")
        return Ability(name="etcd", ok=False, detail=f"{reason} (the system etcd)", mend=mend)
    path = find_etcd(version=None, binary=None)
    return Ability(name="etcd", ok=True, detail=f"{path}, {version_of(path)} (the system etcd)")


def _optional(package: str, tool: str, purpose: str) -> Ability:
    path = _find(tool)
    detail = f"{path} ({purpose})" if path else f"not installed ({purpose})"
    mend = "" if path else f"sudo apt-get install -y {package}"
    return Ability(name=package, ok=path is not None, detail=detail, mend=mend)


def _cgroups() -> Ability:
    from harness.substrates import limits

    version = 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1
    return _probed("cgroups", limits.why_refused(), f"version {version} (limits of processor and memory)")


def _netem() -> Ability:
    from harness.substrates import shaping

    error = shaping.why_no_netem()
    if error is None:
        return Ability(name="netem", ok=True, detail="tc netem shapes packets: delay, loss, copies, rate")
    detail = f"not in this kernel ({error})"
    if shaping.why_no_queues() is None:
        detail += ": the stand-in over NFQUEUE does the same, at more processor time"
    return Ability(name="netem", ok=False, detail=detail, mend="sudo modprobe sch_netem   (or another kernel)")


def _nfqueue() -> Ability:
    from harness.substrates import shaping

    error = shaping.why_no_queues()
    purpose = "the stand-in for netem, links of clients"
    detail = f"packets can be queued to user space ({purpose})" if error is None else f"refused ({error}): {purpose}"
    mend = "" if error is None else "sudo modprobe nfnetlink_queue xt_NFQUEUE"
    return Ability(name="nfqueue", ok=error is None, detail=detail, mend=mend)


def _vdso() -> Ability:
    from harness.substrates import clocks

    return _probed("vdso", clocks.why_refused(), "clocks of running processes can be shifted")


def _fuse() -> Ability:
    from harness.substrates import files

    return _probed("fuse", files.why_refused(), "/dev/fuse (faults of the file system)")


def _loop() -> Ability:
    from harness.substrates import disks

    return _probed("loop", disks.why_refused(), "/dev/loop-control, mkfs.ext4 (power failures with lost writes)")


def _probed(name: str, refused: str | None, detail: str) -> Ability:
    """What a run would find: the same probe, whose reason ends in the line that mends it."""
    reason, _, mend = (refused or "").partition(": ")
    return Ability(name=name, ok=refused is None, detail=reason or detail, mend=mend)


def _find(tool: str) -> str | None:
    return shutil.which(tool, path=SEARCH_PATH)


EXAMINATIONS: Sequence[tuple[str, Callable[[], Ability]]] = (
    ("python", _python),
    ("kernel", _kernel),
    ("tools", _tools),
    ("namespaces", _namespaces),
    ("/proc", _proc),
    ("cores", _cores),
    ("memory", _memory),
    ("disk", _disk),
    ("clock", _clock),
    ("docker", _docker),
    ("compose", _compose),
    ("debootstrap", _debootstrap),
    ("chromium", _chromium),
    ("openssh-server", _sshd),
    ("etcd", _etcd),
    ("cgroups", _cgroups),
    ("netem", _netem),
    ("nfqueue", _nfqueue),
    ("vdso", _vdso),
    ("fuse", _fuse),
    ("loop", _loop),
)
"""Name and examination, in the order of the table that people see."""
