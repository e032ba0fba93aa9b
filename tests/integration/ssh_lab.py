"""Hosts for tests: real SSH servers on this machine, each in a network namespace of its own with an address and a host
key of its own, on a bridge that nobody else is on.

``python -m tests.integration.ssh_lab COUNT FOLDER`` makes them, writes ``hosts.yaml`` (for scenarios), ``known_hosts``
and the key pair to the folder, says when it is ready, and takes everything away when its input ends. Whoever wants to
reach the hosts enters its namespaces (:func:`inside`).

Each host has two users: root, and :data:`TESTER`, who may do everything by ``sudo`` without a password. He and the
files that tell of him are in the lab's own mount namespace only; so are :data:`OPEN`, a folder that he can write to,
and an empty home of root's if the interpreter is in the real one, which he could not read.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from harness.host import namespaces
from harness.substrates import lab

PORT = 22
TESTER, TESTER_ID = "capsize-tester", 54242
OPEN = Path(f"/run/capsize-lab-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}")
"""Each worker of pytest has a lab of its own, whose processes are told apart from the others' by this."""
READY_TIMEOUT_S = 10.0


def inside(pid: int, argv: Sequence[str]) -> list[str]:
    """A command in the namespaces of the lab whose process this is."""
    return ["nsenter", f"--target={pid}", "--net", "--mount", f"--wdns={Path.cwd()}", "--", *argv]


def make(count: int, folder: Path) -> list[subprocess.Popen[bytes]]:
    """Makes the network and starts the servers."""
    names = [f"n{number}" for number in range(1, count + 1)]
    asyncio.run(lab.build(names))
    Path("/run/sshd").mkdir()
    OPEN.mkdir()
    OPEN.chmod(0o1777)
    _show_interpreter()
    _add_tester(folder)
    _key(folder / "id")
    (OPEN / "authorized_keys").write_bytes((folder / "id.pub").read_bytes())
    hosts, known, servers = [], [], []
    for number, name in enumerate(names, 1):
        _key(folder / f"host-{name}")
        address = lab.address_of(number)
        known.append(f"{address} {(folder / f'host-{name}.pub').read_text()}")
        hosts.append(
            {
                "address": address,
                "user": "root",
                "key": str(folder / "id"),
                "known_hosts": str(folder / "known_hosts"),
                "python": sys.executable,
                "folder": str(folder),
            }
        )
        servers.append(_serve(name, address, folder))
    (folder / "known_hosts").write_text("".join(known))
    (folder / "hosts.yaml").write_text(yaml.safe_dump(hosts))
    return servers


def _show_interpreter() -> None:
    """If it lies below a folder that is closed to others, that folder is empty here but for the interpreter."""
    for number, path in enumerate(dict.fromkeys((Path(sys.base_prefix), Path(__file__).parents[2]))):
        top = Path("/", path.parts[1])
        if top.stat().st_mode & 0o005 != 0o005:
            (OPEN / str(number)).mkdir()
            _mount("--bind", path, OPEN / str(number))
            _mount("-t", "tmpfs", "-o", "mode=755", "capsize-lab", top)
            path.mkdir(parents=True)
            _mount("--bind", OPEN / str(number), path)


def _add_tester(folder: Path) -> None:
    user = f"{TESTER}:x:{TESTER_ID}:{TESTER_ID}"
    lines = {
        "passwd": f"{user}::{OPEN}:/bin/sh",
        "group": f"{TESTER}:x:{TESTER_ID}:",
        "shadow": f"{TESTER}:*:19000:0:99999:7:::",
        "sudoers": f"{TESTER} ALL=(ALL) NOPASSWD: ALL",
    }
    for name, line in lines.items():
        real, ours = Path("/etc", name), folder / name
        if real.exists():
            ours.write_text(f"{real.read_text().rstrip()}\n{line}\n")
            ours.chmod(real.stat().st_mode & 0o777)
            os.chown(ours, 0, real.stat().st_gid)
            _mount("--bind", ours, real)


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def _key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def _serve(name: str, address: str, folder: Path) -> subprocess.Popen[bytes]:
    config = folder / f"sshd-{name}"
    config.write_text(
        f"ListenAddress {address}:{PORT}\nHostKey {folder}/host-{name}\nAuthorizedKeysFile {OPEN}/authorized_keys\n"
        f"PidFile {folder}/sshd-{name}.pid\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n"
        "Subsystem sftp internal-sftp\n"
    )
    argv = ["nsenter", f"--net={lab.netns_of(name)}", "--", "/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
    with (folder / f"sshd-{name}.log").open("wb") as log:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def main() -> int:
    """See the module."""
    namespaces.enter()
    folder = Path(sys.argv[2]).resolve()
    servers = make(int(sys.argv[1]), folder)
    deadline = time.monotonic() + READY_TIMEOUT_S
    while any("listening" not in path.read_text() for path in folder.glob("sshd-*.log")):
        if time.monotonic() > deadline:
            sys.exit("the servers do not listen: see sshd-*.log")
        time.sleep(0.02)
    print("ready", flush=True)
    sys.stdin.read()
    for server in servers:
        server.kill()
        server.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
