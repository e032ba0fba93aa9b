"""Making a host ready for a run: the run's folder, what is brought into it, and the guard.

Two commands in all: each costs a login shell there, whose start-up files may take longer than what it is for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from faults.needs import Completed
from harness.guard import BANNER
from harness.substrates.ssh_connection import Connection, SshError
from harness.substrates.ssh_hosts import Host
from harness.substrates.ssh_line import guard_words

_MAKE = """
mkdir -m 700 "$1" || exit 101
mkdir "$1/lib" "$1/log" "$1/data" || exit 102
tar -xf - -C "$1/lib" || exit 103
[ -z "$4" ] || "$2" -c "import $4" || exit 104
command -v "$3" >/dev/null || exit 105
"""


def furnish(
    host: Host, home: str, content: bytes, wanted: Sequence[str], program: str, config: Mapping[str, Any]
) -> str:
    """Makes the folder, brings what is needed, starts the guard; returns the address by which the host sees us. In a
    thread.

    Raises:
        SshError: the host refuses, or lacks something.
    """
    connection = Connection.open(host)
    try:
        words = [home, host.python, program, ", ".join(wanted)]
        done = connection.run(["sh", "-c", _MAKE, "sh", *words], stdin=content)
        _check(host, done, _trouble(done.status, home, host.python, program))
        done = connection.run(guard_words(host, home, "serve", json.dumps(config)))
        _check(host, done, "the guard does not start")
        if f"{BANNER} ready" not in done.stdout:
            raise SshError(f"{host.words}: the guard does not start: {done.stdout.strip()}")
        return connection.own_address
    finally:
        connection.close()


def _trouble(status: int, home: str, python: str, program: str) -> str:
    """What the script's status means, with the next step."""
    lacking = f"what the node imports is not there: type there: {python} -m pip install -r compose/node.lock"
    meanings = {
        101: f"{home} cannot be made: name another by `folder`",
        102: f"{home}: nothing can be made in it",
        103: "what is brought cannot be unpacked there: is there a `tar`, and room?",
        104: lacking,
        105: f"there is no program {program}",
    }
    return meanings.get(status, "the run's folder cannot be made ready")


def _check(host: Host, done: Completed, trouble: str) -> None:
    if done.status != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"status {done.status}"]
        raise SshError(f"{host.words}: {trouble} ({last[0]})")
