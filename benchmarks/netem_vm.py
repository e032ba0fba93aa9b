"""The kernel's own netem, in a virtual machine: for machines whose kernel has none.

    python -m benchmarks.netem_vm

Debian's cloud kernel is fetched as a package (nothing is installed) and booted by QEMU without any hardware support.
Its only disk is an archive in memory: this machine's Python, the tools, the kernel's modules for networks, and our code
(:mod:`benchmarks.netem_guest` is the first process). The result comes out through a serial port. All but our own code
is kept in a cache folder.

The machine's clock counts its instructions (``-icount``; "TCG Instruction Counting" in QEMU's documentation): what it
measures is the same on a busy host, only later.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "capsize" / "netem-vm"
META_PACKAGE = "linux-image-cloud-amd64"
TOOLS = ("ip", "tc", "iptables", "iptables-restore", "nsenter", "unshare", "sh", "sleep", "grep")
PLUGINS = ("/usr/lib/*/tc/*", "/usr/lib/*/xtables/*.so", "/usr/lib/iptables/*.so", "/usr/lib/tc/*", "/usr/share/tc/*")
PACKAGES = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection", "yaml")
MODULES = (
    "veth",
    "bridge",
    "sch_prio",
    "sch_netem",
    "cls_u32",
    "nf_tables",
    "nft_compat",
    "nfnetlink_queue",
    "xt_NFQUEUE",
)
MODULES_MORE = ("xt_mark", "xt_tcpudp", "nft_counter")
OURS = ("faults", "harness", "benchmarks")
UNUSED = frozenset({"test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "site-packages", "turtledemo"})
"""Folders of the standard library that nothing here imports."""
UNUSED_MODULES = ("_test", "_tkinter", "_sqlite3", "_codecs_", "xxlimited")
MEMORY_MIB = 1024
CLOCK = "shift=1,sleep=off"
"""Two nanoseconds for each instruction; while the machine idles its clock leaps to the next timer."""
BOOT_TIMEOUT_S = 600
FETCH_TIMEOUT_S = 180
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONPATH=/capsize:/site
exec {python} -m benchmarks.netem_guest
"""


class MachineError(Exception):
    """The virtual machine cannot be had here; the text says why."""


def run() -> Mapping[str, Any]:
    """Boots the machine, waits for its end, and returns what it saw.

    Raises:
        MachineError: something that it is made of cannot be had, or it said nothing.
    """
    if shutil.which("qemu-system-x86_64") is None:
        raise MachineError("no qemu-system-x86_64: sudo apt-get install -y --no-install-recommends qemu-system-x86")
    kernel = fetch_kernel()
    base = base_archive(kernel)
    with tempfile.TemporaryDirectory(prefix="capsize-vm-") as scratch:
        return _boot(kernel, base, Path(scratch))


def fetch_kernel() -> Path:
    """The folder of the unpacked package of the newest cloud kernel that apt knows."""
    package = _kernel_package()
    folder = CACHE / package
    if (folder / "complete").exists():
        return folder
    with tempfile.TemporaryDirectory(prefix="capsize-kernel-") as scratch:
        _command(["apt-get", "-q", "download", package], cwd=scratch, timeout_s=FETCH_TIMEOUT_S)
        [file] = Path(scratch).glob("*.deb")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _command(["dpkg-deb", "-x", str(file), str(folder)], timeout_s=FETCH_TIMEOUT_S)
    (folder / "complete").touch()
    return folder


def _kernel_package() -> str:
    """What the meta package stands for; an older one from the cache where apt knows nothing."""
    said = _command(["apt-cache", "depends", META_PACKAGE], check=False)
    names = [line.split()[-1] for line in said.splitlines() if "Depends: linux-image-" in line]
    cached = sorted(path.parent.name for path in CACHE.glob("linux-image-*/complete"))
    if not names and not cached:
        raise MachineError(f"apt knows no {META_PACKAGE}: sudo apt-get update")
    return names[0] if names else cached[-1]


def base_archive(kernel: Path) -> Path:
    """Everything but our own code, as a cpio archive in the cache."""
    files = dict(_python_files()) | dict(_package_files()) | dict(_tool_files()) | dict(_module_files(kernel))
    files |= _libraries(files.values())
    facts = [f"{guest} {path.stat().st_size} {path.stat().st_mtime_ns}" for guest, path in sorted(files.items())]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    path = CACHE / f"base-{digest}.cpio"
    if not path.exists():
        for old in CACHE.glob("base-*.cpio"):
            old.unlink()
        unfinished = path.with_suffix(f".{os.getpid()}")
        write_archive(unfinished, files)
        unfinished.rename(path)
    return path


def _python_files() -> Iterator[tuple[str, Path]]:
    executable = Path(os.path.realpath(sys.executable))
    yield str(executable), executable
    library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix}))
    for path in library.rglob("*"):
        unused = any(part in UNUSED or part.startswith("config-") for part in path.relative_to(library).parts)
        unused = unused or ".opt-" in path.name or path.name.startswith(UNUSED_MODULES)
        if path.is_file() and not unused:
            yield str(path), path


def _package_files() -> Iterator[tuple[str, Path]]:
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise MachineError(f"no Python package {name} here")
        origin = Path(spec.origin)
        if origin.name != "__init__.py":
            yield f"/site/{origin.name}", origin
            continue
        for path in origin.parent.rglob("*"):
            if path.is_file():
                yield f"/site/{path.relative_to(origin.parent.parent)}", path


def _tool_files() -> Iterator[tuple[str, Path]]:
    for name in TOOLS:
        found = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
        if found is None:
            raise MachineError(f"no {name} here")
        yield (f"/usr/sbin/{name}" if name != "sh" else "/bin/sh"), Path(os.path.realpath(found))
    for pattern in PLUGINS:
        for path in Path("/").glob(pattern.lstrip("/")):
            if path.is_file():
                yield str(path), Path(os.path.realpath(path))


def _module_files(kernel: Path) -> Iterator[tuple[str, Path]]:
    """The kernel's modules that are loaded, numbered: none before what it depends on, which each names itself."""
    paths = {path.stem.replace("-", "_"): path for path in kernel.glob("lib/modules/*/kernel/**/*.ko")}
    order: dict[str, Path] = {}

    def add(name: str) -> None:
        if name in order or name not in paths:  # what is not there is built in
            return
        found = re.search(rb"\0depends=([^\0]*)\0", paths[name].read_bytes())
        for needed in found[1].decode().split(",") if found else ():
            add(needed.replace("-", "_"))
        order[name] = paths[name]

    for name in (*MODULES, *MODULES_MORE):
        add(name)
    for number, path in enumerate(order.values()):
        yield f"/modules/{number:03}-{path.name}", path


def _libraries(paths: Iterable[Path]) -> dict[str, Path]:
    """Shared libraries of all programs and extension modules, where the loader will look for them."""
    programs = [str(path) for path in set(paths) if _is_program(path)]
    said = _command(["ldd", *programs], check=False)
    found = {word for line in said.splitlines() for word in line.split() if word.startswith("/") and ".so" in word}
    return {name: Path(os.path.realpath(name)) for name in sorted(found) if not name.endswith(":")}


def _is_program(path: Path) -> bool:
    if path.suffix in (".py", ".pyc", ".ko", ".dist"):
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def write_archive(path: Path, files: Mapping[str, Path | bytes]) -> None:
    """A cpio archive in the kernel's format (newc; early-userspace/buffer-format.rst in its documentation). Times are
    kept: Python's compiled files are valid only with them.
    """
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"/"})
    with path.open("wb") as out:
        for name in folders:
            _entry(out, name, b"", stat.S_IFDIR | 0o755, 0)
        for name, source in sorted(files.items()):
            if isinstance(source, bytes):
                _entry(out, name, source, stat.S_IFREG | 0o755, 0)
            else:
                _entry(out, name, source.read_bytes(), stat.S_IFREG | 0o755, int(source.stat().st_mtime))
        _entry(out, "/TRAILER!!!", b"", 0, 0)
        out.write(b"\0" * (-out.tell() % 512))


def _entry(out: Any, name: str, content: bytes, mode: int, time_s: int) -> None:
    encoded = name.lstrip("/").encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, time_s, len(content), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded
    out.write(head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4))


def _our_files() -> dict[str, Path | bytes]:
    files: dict[str, Path | bytes] = {}
    for package in OURS:
        for path in (ROOT / package).rglob("*.py*"):
            files[f"/capsize/{path.relative_to(ROOT)}"] = path
    files["/init"] = INIT.format(python=os.path.realpath(sys.executable)).encode()
    return files


def _boot(kernel: Path, base: Path, scratch: Path) -> Mapping[str, Any]:
    ours, disk, console, said = (scratch / name for name in ("ours.cpio", "disk", "console.log", "result.json"))
    write_archive(ours, _our_files())
    with disk.open("wb") as out:
        for part in (base, ours):
            with part.open("rb") as source:
                shutil.copyfileobj(source, out)
    [image] = kernel.glob("boot/vmlinuz-*")
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", str(MEMORY_MIB), "-smp", "1", "-no-reboot"]
    argv += ["-icount", CLOCK]
    argv += ["-kernel", str(image), "-initrd", str(disk), "-append", "console=ttyS0 quiet panic=-1 rdinit=/init"]
    argv += ["-display", "none", "-net", "none", "-monitor", "none"]
    argv += ["-serial", f"file:{console}", "-serial", f"file:{said}"]
    began = time.monotonic()
    try:
        _command(argv, timeout_s=BOOT_TIMEOUT_S)
        result: dict[str, Any] = json.loads(said.read_text(encoding="utf-8").strip().splitlines()[-1])
    except (OSError, ValueError, IndexError) as error:
        tail = console.read_text(encoding="utf-8", errors="replace")[-3000:] if console.exists() else ""
        raise MachineError(f"the virtual machine said nothing ({error}); its console: {tail}") from None
    return {**result, "machine_s": round(time.monotonic() - began, 1)}


def _command(argv: list[str], *, cwd: str | None = None, timeout_s: float = 60, check: bool = True) -> str:
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"{argv[0]}: {error}"[:500]) from None
    if check and done.returncode != 0:
        raise MachineError(f"{' '.join(argv[:4])} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def main() -> None:
    """Prints the result."""
    try:
        print(json.dumps(run(), indent=1))
    except MachineError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
