"""What hosts have, asked once before anything is made there: the interpreter, root's rights, tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from harness.substrates.shaping import NETEM, QUEUE
from harness.substrates.ssh_connection import Connection, SshError, words_for
from harness.substrates.ssh_hosts import Host

PYTHON_LEAST = (3, 11)
TOOLS = ("iptables", "iptables-restore", "tc")

_SCRIPT = f"""
import json, os, shutil, subprocess, sys
path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
ids = [int(os.environ.get(name, own)) for name, own in (("SUDO_UID", os.getuid()), ("SUDO_GID", os.getgid()))]
def refused(words):
    env = {{**os.environ, "PATH": path}}
    done = subprocess.run(["unshare", "--net", *words], env=env, capture_output=True, text=True)
    return (done.stderr.strip().splitlines() or [f"status {{done.returncode}}"])[-1] if done.returncode else None
def unshaped():
    try:
        netem, queue = refused({list(NETEM)!r}), refused({list(QUEUE)!r})
    except OSError as error:
        return str(error)
    return f"no netem ({{netem}}) and no NFQUEUE ({{queue}})" if queue and netem else None
def ungrouped():
    rows = [line.split() for line in open("/proc/mounts")]
    kinds = {{name for row in rows if row[2] == "cgroup" for name in row[3].split(",")}}
    for row in rows:
        if row[2] == "cgroup2" and os.path.exists(row[1] + "/cgroup.controllers"):
            kinds |= set(open(row[1] + "/cgroup.controllers").read().split())
    writable = all(os.access(row[1], os.W_OK) for row in rows if row[2] in ("cgroup", "cgroup2"))
    if {{"cpu", "memory"}} <= kinds and writable and shutil.which("prlimit", path=path):
        return None
    missing = sorted({{"cpu", "memory"}} - kinds) or ["any that can be written to"]
    return "no control groups for " + ", ".join(missing) + ", or no prlimit: mount -t cgroup2 none /sys/fs/cgroup"
print("CAPSIZE " + json.dumps(dict(
    python=sys.version_info[:2], root=os.geteuid() == 0, login=ids,
    tools=[tool for tool in {TOOLS!r} if shutil.which(tool, path=path)],
    writable=os.access(sys.argv[1], os.W_OK), unshaped=unshaped() if os.geteuid() == 0 else None,
    ungrouped=ungrouped())))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """One host."""

    host: Host
    root: bool
    """Whether root's deeds can be done there."""
    login: tuple[int, int]
    """User and group id of whoever logged in: servers run as they."""
    tools: frozenset[str]
    unshaped: str | None
    """Why its kernel can shape packets in neither way (:mod:`harness.substrates.shaping`); asked of root only."""
    ungrouped: str | None
    """Why processes there cannot be limited."""


def survey(hosts: Sequence[Host]) -> tuple[Mapping[Host, Survey], Sequence[str]]:
    """What each host has, asked side by side; and what is missing, each with the line that mends it."""
    found: dict[Host, Survey] = {}
    missing: list[str] = []
    with ThreadPoolExecutor(max(1, len(hosts))) as threads:
        for host, result in zip(hosts, threads.map(_guarded, hosts), strict=True):
            if isinstance(result, Survey):
                found[host] = result
            else:
                missing.append(result)
    return found, missing


def _guarded(host: Host) -> Survey | str:
    try:
        return ask(host)
    except SshError as error:
        return str(error)


def ask(host: Host) -> Survey:
    """Connects, asks, and ends the connection.

    Raises:
        SshError: it cannot be reached, or lacks something; with the next step.
    """
    connection = Connection.open(host)
    try:
        done = connection.run(words_for(host, [host.python, "-c", _SCRIPT, host.folder]))
    finally:
        connection.close()
    line = next((line for line in done.stdout.splitlines() if line.startswith("CAPSIZE ")), None)
    if line is None:
        raise SshError(f"{host.words}: {_why_silent(host, done.stderr.strip(), done.status)}")
    facts = json.loads(line.removeprefix("CAPSIZE "))
    if tuple(facts["python"]) < PYTHON_LEAST:
        version = ".".join(map(str, facts["python"]))
        raise SshError(
            f"{host.words}: {host.python} is Python {version}, but 3.11 is the least: name another by `python`"
        )
    if not facts["writable"]:
        raise SshError(f"{host.words}: {host.folder} cannot be written to: name another by `folder`")
    login = facts["login"]
    return Survey(
        host=host,
        root=facts["root"],
        login=(login[0], login[1]),
        tools=frozenset(facts["tools"]),
        unshaped=facts["unshaped"],
        ungrouped=facts["ungrouped"],
    )


def _why_silent(host: Host, said: str, status: int) -> str:
    if host.become == "sudo" and ("password" in said or "sudo" in said):
        user = host.user or "USER"
        rule = f"echo '{user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/capsize"
        return f"sudo -n is refused ({said.splitlines()[-1]}): type there: {rule}"
    if status == 127 or "not found" in said:
        return f"there is no {host.python}: name its path by `python`, or type there: sudo apt-get install -y python3"
    return f"{host.python} cannot be run (status {status}): {said or 'it says nothing'}"
