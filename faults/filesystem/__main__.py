"""The program: serves one node's file system until it is unmounted. Only the standard library is imported here.

The first line of its input says what (JSON: ``mount``, ``store``, ``trash``, ``seed``, ``really``); it answers
``ready``, or ``{"error": ...}`` and ends. After that every line is a command, answered by a line: see
:meth:`faults.filesystem.server.Server.command`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from random import Random
from typing import Any

from faults.filesystem import probes
from faults.filesystem.device import Device, MountError
from faults.filesystem.rules import DATA, HEAL
from faults.filesystem.server import Prober, Server, Serving
from faults.filesystem.store import Store


def main() -> int:
    """See the module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's to hear
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.umask(0)
    config = json.loads(_line(sys.stdin.fileno()))
    try:
        store = _store(config)
        prober = _fork_prober(config["mount"])
        device = Device.mount(config["mount"])
    except (MountError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    print("ready", flush=True)
    server = Server(device, store, Random(config["seed"]), prober)
    Serving(server, device, sys.stdin.fileno(), sys.stdout.fileno()).run()
    store.sync_all()
    return 0


def _store(config: Mapping[str, Any]) -> Store:
    """The files, with what the harness needs at their root."""
    store = Store(config["store"], config["trash"], really=config["really"])
    for name in (DATA, HEAL):
        os.makedirs(os.path.join(config["store"], name), exist_ok=True)
    probes.prepare(config["store"])
    return store


def _fork_prober(mount: str) -> Prober:
    """A process that tries operations on the mount, and ends with this one."""
    commands, to_prober = os.pipe()
    from_prober, replies = os.pipe()
    if os.fork() == 0:
        os.close(to_prober)
        os.close(from_prober)
        os.close(sys.stdin.fileno())
        probes.serve(mount, commands, replies)
        os._exit(0)
    os.close(commands)
    os.close(replies)
    return Prober(to_prober, from_prober)


def _line(fd: int) -> bytes:
    """One line, and nothing of what comes after it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(fd, 1)
        if not byte:
            break
        line += byte
    return line


if __name__ == "__main__":
    sys.exit(main())
