"""Running a program as root, or as somebody who has no rights at all, so that both paths into namespaces are tried.

Tests that run as root become an ordinary user by setpriv, in a mount namespace where the interpreter and the checkout
can be read even if they lie in root's home. Tests that run as an ordinary user are one already.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDINARY_UID = 65534

PERSONS = ["root", "ordinary"]

_SHOW_HIDDEN = r"""
set -e
mount --make-rprivate /
grep -E '^/dev/loop[0-9]+ [^ ]+/disk |^[^ ]+ [^ ]+ fuse\.capsize ' /proc/self/mounts |
    while read -r device point rest; do umount -l "$point" || true; done
n=0
for path in "$BASE" "$CHECKOUT"; do
    top="/$(echo "$path" | cut -d/ -f2)"
    if [ "$(stat -c %a "$top" | cut -c3)" -lt 5 ]; then
        n=$((n + 1)); mkdir "$SCRATCH/$n"
        mount --bind "$path" "$SCRATCH/$n"
        mount -t tmpfs -o mode=755 capsize-test "$top"
        mkdir -p "$path"
        mount --bind "$SCRATCH/$n" "$path"
    fi
done
if [ -c /dev/fuse ] && [ "$(stat -c %a /dev/fuse)" != 666 ]; then
    mkdir "$SCRATCH/dev"
    mount -t tmpfs -o mode=755 capsize-test "$SCRATCH/dev"
    mknod -m 666 "$SCRATCH/dev/fuse" c 10 229
    mount --bind "$SCRATCH/dev/fuse" /dev/fuse
fi
exec setpriv --reuid "$PERSON" --regid "$PERSON" --clear-groups "$@"
"""
"""Makes folders below a closed one (like /root) visible in a mount namespace of the program's own, where the disks of
other tests' nodes are left out: a copy would keep them alive. Everybody may open ``/dev/fuse`` there, as udev has it
and a container's own ``/dev`` may not.
"""


def as_person(person: str, argv: Sequence[str], scratch: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run ``argv`` as this person; skips the test where that cannot be done.

    ``scratch`` is a new folder that everybody can reach; see :func:`writable` for one that the person may write to.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    if os.geteuid() != 0:
        if person == "root":
            pytest.skip("needs root")
        return list(argv), environment
    if person == "root":
        return list(argv), environment
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv (util-linux)")
    own = scratch / "own"
    own.mkdir()
    os.chown(own, ORDINARY_UID, ORDINARY_UID)
    environment |= {
        "BASE": sys.base_prefix,
        "CHECKOUT": str(ROOT),
        "PERSON": str(ORDINARY_UID),
        "SCRATCH": str(scratch),
        "HOME": str(own),
    }
    return ["unshare", "--mount", "sh", "-c", _SHOW_HIDDEN, "sh", *argv], environment


def writable(person: str, scratch: Path) -> Path:
    """A folder that the person may write to."""
    return scratch / "own" if person == "ordinary" and os.geteuid() == 0 else scratch
