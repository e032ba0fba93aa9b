"""``python3 -m faults.filesystem``: serves one node's file system until it is unmounted.

The first line of its input says what (JSON: ``mount``, ``store``, ``trash``, ``seed``, ``really``); it answers ``ready``,
or ``{"error": ...}`` and ends. After that every line is a command, answered by a line: see
:meth:`faults.filesystem.server.Server.command`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from random import Random

from faults.filesystem.device import Device, MountError
from faults.filesystem.server import Server, run
from faults.filesystem.store import Store


def main() -> int:
    """See the module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's to hear
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.umask(0)
    config = json.loads(_line(sys.stdin.fileno()))
    try:
        store = Store(config["store"], config["trash"], really=config["really"])
        device = Device.mount(config["mount"])
    except (MountError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    print("ready", flush=True)
    run(Server(device, store, Random(config["seed"])), device, sys.stdin.fileno(), sys.stdout.fileno())
    store.sync_all()
    return 0


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
