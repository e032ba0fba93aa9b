"""Making a host ready for a run: the run's folder, what is brought into it, and the guard."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from harness.guard import BANNER
from harness.substrates.ssh_connection import Connection, SshError
from harness.substrates.ssh_hosts import Host
from harness.substrates.ssh_line import guard_words


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
        _do(connection, ["mkdir", "-m", "700", home], "cannot be made: name another by `folder`")
        _do(connection, ["mkdir", f"{home}/lib", f"{home}/log", f"{home}/data"], "cannot be made")
        connection.upload(content, f"{home}/lib.tar")
        _do(connection, ["tar", "-xf", f"{home}/lib.tar", "-C", f"{home}/lib"], "cannot be unpacked there")
        if wanted:
            check = [host.python, "-c", f"import {', '.join(wanted)}"]
            mend = f"what the node imports is not there: type there: {host.python} -m pip install -r compose/node.lock"
            _do(connection, check, mend)
        _do(connection, ["sh", "-c", f"command -v {shlex.quote(program)}"], f"there is no program {program}")
        said = _do(connection, guard_words(host, home, "serve", json.dumps(config)), "the guard does not start")
        if f"{BANNER} ready" not in said:
            raise SshError(f"{host.words}: the guard does not start: {said.strip()}")
        return connection.own_address
    finally:
        connection.close()


def _do(connection: Connection, argv: Sequence[str], trouble: str) -> str:
    done = connection.run(argv)
    if done.status != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"status {done.status}"]
        raise SshError(f"{connection.host.words}: {argv[-1] if argv[0] == 'mkdir' else argv[0]}: {trouble} ({last[0]})")
    return done.stdout
