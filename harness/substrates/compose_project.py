"""A compose project of a run: ``compose/cluster.yaml`` with what the run decides laid over it.

The file says what a node is made of; the run says names (so that they can be registered with the watchdog before they
exist), labels, addresses, folders and commands. Spoken to by the compose program, whichever is there.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.host.namespaces import SEARCH_PATH, tool_environment
from harness.host.tools import run_tool
from harness.substrates.engine import ContainerSpec, SubnetTakenError
from harness.substrates.subnets import Network

FILE = Path(__file__).parents[2] / "compose" / "cluster.yaml"
SERVICES = ("n1", "n2", "n3", "n4", "n5")
"""The nodes that the file has."""
UP_TIMEOUT_S = 90.0
TRIAL_TIMEOUT_S = 20.0
INSTALL = "sudo apt-get install -y docker-compose   (or docker-compose-plugin from Docker's own packages)"


@functools.cache
def program() -> tuple[str, ...]:
    """The compose program: the engine's plug-in, or the older one of its own.

    Raises:
        HarnessError: there is none, with the line that installs it.
    """
    docker = shutil.which("docker", path=SEARCH_PATH)
    if docker is not None:
        trial = [docker, "compose", "version"]
        done = subprocess.run(trial, env=tool_environment(), capture_output=True, timeout=TRIAL_TIMEOUT_S, check=False)
        if done.returncode == 0:
            return docker, "compose"
    alone = shutil.which("docker-compose", path=SEARCH_PATH)
    if alone is None:
        raise HarnessError(f"no compose program found: {INSTALL}")
    return (alone,)


def service(spec: ContainerSpec) -> dict[str, Any]:
    """What the run says about one service. A dollar is compose's own sign, so it is doubled."""
    facts: dict[str, Any] = {
        "image": spec.image,
        "container_name": spec.name,
        "entrypoint": _plain(spec.argv[:1]),
        "command": _plain(spec.argv[1:]),
        "labels": _values(spec.labels),
        "environment": _values(spec.env),
        "volumes": [f"{outside}:{inside}" for outside, inside in spec.mounts.items()],
        "init": False,
    }
    if spec.user:
        facts["user"] = spec.user
    if spec.workdir is not None:
        facts["working_dir"] = spec.workdir
    if spec.address is not None:
        facts["networks"] = {"nodes": {"ipv4_address": spec.address}}
    return facts


def _plain(words: Sequence[str]) -> list[str]:
    return [word.replace("$", "$$") for word in words]


def _values(pairs: Mapping[str, str]) -> dict[str, str]:
    return {name: value.replace("$", "$$") for name, value in pairs.items()}


class Project:
    """One run's project. ``file`` is what is laid over the shipped one."""

    def __init__(self, *, name: str, file: Path) -> None:
        self.name = name
        self.file = file

    async def up(self, specs: Mapping[str, ContainerSpec], *, network: str, subnet: Network) -> None:
        """Makes and starts the services.

        Raises:
            SubnetTakenError: choose another subnet.
            HarnessError: the compose program fails; with its last words.
        """
        first = next(iter(specs.values()))
        # The older program replaces a network that is laid over, so it is said whole.
        addresses = {"config": [{"subnet": str(subnet)}]}
        networks = {"nodes": {"name": network, "labels": _values(first.labels), "ipam": addresses}}
        laid_over = {"services": {name: service(spec) for name, spec in specs.items()}, "networks": networks}
        self.file.write_text(json.dumps(laid_over, indent=1), encoding="utf-8")
        argv = [*program(), "-p", self.name, "-f", str(FILE), "-f", str(self.file), "up", "-d", "--no-build", *specs]
        prefix = str(subnet.network_address).rpartition(".")[0]
        done = await run_tool(["env", f"CAPSIZE_NET={prefix}", *argv], timeout_s=UP_TIMEOUT_S)
        if done.status != 0:
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
            kind = SubnetTakenError if "overlap" in said.lower() else HarnessError
            raise kind(f"{os.path.basename(argv[0])} up ended with status {done.status}: {said}")
