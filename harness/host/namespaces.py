"""A world of the run's own: private network and mount namespaces for the controller and everything it starts.

:func:`enter` is called at the very start of a run, while the process has one thread: it leaves the machine's network
for an empty one, makes mounts private and lays an empty file system over /run, so that named network namespaces and
the firewall's lock file are the run's own. Two runs side by side cannot disturb each other (their addresses may even
be equal), the host's firewall (Docker's FORWARD policy) cannot touch the run's bridge, and the kernel removes
everything when the last process is gone. Without root it is done inside a user namespace. Sources: namespaces(7),
user_namespaces(7), network_namespaces(7); issue 2.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from harness.errors import HarnessError
from harness.host import mounts

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 0x4000, 1 << 18
MNT_DETACH = 2
NETNS_FOLDER = "/run/netns"
TOOLS = {"ip": "iproute2", "iptables": "iptables", "iptables-restore": "iptables", "nsenter": "util-linux"}
"""Commands that the harness runs, and the Debian and Ubuntu packages that ship them."""
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
"""An ordinary user's PATH often lacks the folders where the tools are."""

_T = TypeVar("_T")
_entered = False


class NamespaceError(HarnessError):
    """This machine does not give a process namespaces of its own; the text says why and what mends it."""


def entered() -> bool:
    """Whether this very process has entered namespaces of its own by :func:`enter`."""
    return _entered


def enter() -> None:
    """Moves this process into network and mount namespaces of its own, once; a second call does nothing.

    Raises:
        NamespaceError: the machine does not allow it, or the process has more than one thread already.
    """
    global _entered
    if _entered:
        return
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        raise NamespaceError(
            f"this process has {threads} threads: namespaces are entered before the first thread is started"
        )
    was_root = os.geteuid() == 0  # in a new user namespace without a map nobody is
    try:
        _unshare()
        _furnish()
    except OSError as error:
        raise NamespaceError(_why_refused(error, was_root=was_root)) from error
    _entered = True


def _unshare() -> None:
    """Root leaves directly; everybody else, and a root without the right to do so, becomes root of a user namespace
    first.
    """
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):
            _call("unshare", CLONE_NEWNS | CLONE_NEWNET)
            return
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET)
    # user_namespaces(7): an unprivileged process may write gid_map only after it has given up setgroups(2).
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")


def _furnish() -> None:
    _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    for disk in mounts.disks():  # a copy here would keep them alive when their own runs unmount them
        with contextlib.suppress(OSError):  # inside a user namespace they cannot be left behind
            _call("umount2", os.fsencode(disk.point), MNT_DETACH)
    _call("mount", b"capsize", b"/run", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755")
    done = subprocess.run(
        ["ip", "link", "set", "lo", "up"],
        env=tool_environment(),
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    if done.returncode != 0:
        raise OSError(0, f"the loopback device does not come up: {done.stderr.strip()}")


@functools.cache
def tool(name: str) -> str:
    """The full path of one of :data:`TOOLS`.

    Raises:
        NamespaceError: it is not installed, with the line that installs it.
    """
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise NamespaceError(f"{name} not found: sudo apt-get install -y {TOOLS.get(name, name)}")
    return path


def tool_environment() -> dict[str, str]:
    """The environment in which tools are run: a search path with the system folders, messages in English."""
    return {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C"}


def missing() -> Sequence[str]:
    """What this machine lacks, each with the exact line that mends it; found by trying, in a process that is thrown
    away.
    """
    absent = sorted({package for tool, package in TOOLS.items() if shutil.which(tool, path=SEARCH_PATH) is None})
    if absent:
        names = ", ".join(tool for tool in TOOLS if shutil.which(tool, path=SEARCH_PATH) is None)
        return [f"{names} not found: sudo apt-get install -y {' '.join(absent)}"]
    if entered():
        return []
    # The module by its file, without site packages: 20 ms instead of 60.
    trial = [sys.executable, "-S", "-c", "from harness.host import namespaces; namespaces.try_out()"]
    environment = {**tool_environment(), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(trial, env=environment, capture_output=True, text=True, timeout=30, check=False)
    return (
        []
        if done.returncode == 0
        else [
            done.stderr.strip().splitlines()[-1]
            if done.stderr.strip()
            else f"the trial ended with status {done.returncode}"
        ]
    )


def try_out() -> None:
    """Enters namespaces and does once what a run will do there; ends this process, with the reason on standard error
    if it failed.
    """
    try:
        enter()
        _try_tools()
    except NamespaceError as error:
        sys.exit(str(error))


def _try_tools() -> None:
    firewall = [
        "nsenter",
        f"--net={NETNS_FOLDER}/trial",
        "iptables",
        "-w",
        "5",
        "-A",
        "INPUT",
        "-s",
        "10.1.1.1",
        "-j",
        "DROP",
    ]
    steps = {
        "network namespaces": (["ip", "netns", "add", "trial"], "the kernel needs CONFIG_NET_NS"),
        "veth": (
            ["ip", "link", "add", "trial0", "type", "veth", "peer", "name", "eth0", "netns", "trial"],
            "sudo modprobe veth",
        ),
        "bridge": (["ip", "link", "add", "trial1", "type", "bridge"], "sudo modprobe bridge"),
        "iptables": (firewall, "sudo modprobe nf_tables nft_compat xt_tcpudp || sudo modprobe iptable_filter"),
    }
    for what, (argv, mend) in steps.items():
        done = subprocess.run(argv, env=tool_environment(), capture_output=True, text=True, timeout=10, check=False)
        if done.returncode != 0:
            detail = (done.stderr.strip() or f"status {done.returncode}").splitlines()[0]
            raise NamespaceError(f"{what} cannot be used ({detail}): {mend}")


_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=10000"),
)
"""Settings by which distributions forbid user namespaces to ordinary users: Debian before 11, Ubuntu from 23.10 on,
hardened kernels.
"""


def _why_refused(error: OSError, *, was_root: bool) -> str:
    reason = error.strerror or str(error)
    for path, forbidding, mend in _SWITCHES:
        with contextlib.suppress(OSError):
            if Path(path).read_text(encoding="ascii").strip() == forbidding:
                return f"namespaces refused ({reason}; {path} is {forbidding}): {mend}   (or use sudo)"
    if was_root:
        needs = "root here lacks CAP_SYS_ADMIN or CAP_NET_ADMIN; in a container, start it with: docker run --privileged"
        return f"namespaces refused ({reason}): {needs}"
    return f"namespaces refused ({reason}): run the same command with sudo"


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    """A system call of the C library (Python 3.11 has neither unshare nor setns)."""
    if getattr(_libc(), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def call_in(netns: str | None, make: Callable[[], _T]) -> _T:
    """What ``make`` returns when called inside a network namespace (a path; None: where we are). Sockets stay in the
    namespace of their creation.

    Done in a thread of its own that ends afterwards: setns(2) moves one thread.

    Raises:
        OSError: the namespace is gone, or whatever ``make`` raises.
    """
    if netns is None:
        return make()
    results: list[_T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with _opened(netns) as fd:
                _call("setns", fd, CLONE_NEWNET)
            results.append(make())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, whatever it is
            errors.append(error)

    thread = threading.Thread(target=work, name="namespace visitor")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
