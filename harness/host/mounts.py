"""What is mounted: read from the kernel's own tables (``/proc/PID/mountinfo``, proc(5)).

A new mount namespace begins as a copy of the old one, with everything that happens to be mounted there. A copy keeps a
file system alive when its owner unmounts it: the disk of another run's node could then never be mounted anew. So
whoever enters a namespace of its own leaves other runs' disks behind (:func:`disks`).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

IMAGE_NAME = "capsize-disk.img"
"""The name of every file that holds a node's disk: by it a loop device is known as one of ours."""
FILES_KIND = "fuse.capsize"
"""What kind of file system :mod:`faults.filesystem` is."""
_LOOP_MAJOR = 7
_ESCAPED = re.compile(rb"\\([0-7]{3})")
"""Blanks, tabs, newlines and backslashes in paths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """One mount: where, what kind, and the file system's device (``major:minor``)."""

    point: str
    kind: str
    device: str


def mounts(pid: int | str = "self") -> Sequence[Mount]:
    """All mounts in a process's namespace; none if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_bytes().splitlines()
    except OSError:
        return ()
    return [_parsed(line) for line in lines]


def disks() -> Sequence[Mount]:
    """Nodes' disks that are mounted here, of whatever run, and file systems of ours in user space."""
    return [mount for mount in mounts() if mount.kind == FILES_KIND or _is_image(mount)]


def _is_image(mount: Mount) -> bool:
    return (backing_file(mount.device) or "").endswith(f"/{IMAGE_NAME}")


def backing_file(device: str) -> str | None:
    """The file behind a loop device; None if it is no loop device, or has none."""
    if not device.startswith(f"{_LOOP_MAJOR}:"):
        return None
    with contextlib.suppress(OSError):
        return Path(f"/sys/dev/block/{device}/loop/backing_file").read_text(encoding="utf-8").strip()
    return None


def device_of(path: Path) -> str:
    """The device of the file system that a path is on. Raises OSError."""
    number = path.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def holders(device: str) -> Sequence[int]:
    """Processes in whose mount namespaces the device's file system is mounted, one for each namespace."""
    found: dict[str, int] = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace not in found and any(mount.device == device for mount in mounts(pid)):
                found[namespace] = pid
    return list(found.values())


def _parsed(line: bytes) -> Mount:
    fields, _, rest = line.partition(b" - ")
    words = fields.split(b" ")
    point = _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), words[4])
    return Mount(point=os.fsdecode(point), kind=os.fsdecode(rest.split(b" ")[0]), device=os.fsdecode(words[2]))
