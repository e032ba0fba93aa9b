"""Loopback ports that are free at the moment."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

FIRST, EACH = 20_000, 2_000
"""Below the ports that the kernel gives to connections (32768 and up), which would take one before its node listens;
each of pytest's workers has some of its own.
"""
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 6
_next = itertools.cycle(range(FIRST + EACH * _WORKER, FIRST + EACH * (_WORKER + 1)))


def free_ports(count: int) -> list[int]:
    """Distinct free TCP ports, which are not handed out again soon."""
    found: list[int] = []
    for port in itertools.islice(_next, EACH):
        if len(found) == count:
            break
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            found.append(port)
    assert len(found) == count, f"of {EACH} ports from {FIRST} on fewer than {count} are free"
    return found
