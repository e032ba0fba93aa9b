"""Deeds on a host for whoever has no connection to it: the watchdog after the controller's death, ``capsize clean``.

``python -m harness.substrates.ssh_command HOST -- WORDS...`` runs a command there, with root's rights if the host
gives them. HOST is a :class:`harness.substrates.ssh_hosts.Host` as JSON. Exits with the command's status.

``... end [[HOST, FOLDER, MARKS], ...]`` (JSON) ends the guards that have these folders, or finishes their work: all
hosts side by side, because the watchdog has seconds. Exits with 0 if nothing is left anywhere.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.substrates.ssh_connection import Connection, SshError, words_for
from harness.substrates.ssh_hosts import Host
from harness.substrates.ssh_line import guard_words


def ending(host: Host, folder: str, marks: str) -> list[str]:
    """The command that ends what is in a host's folder; succeeds if nothing is there."""
    end = shlex.join(guard_words(host, folder, "end", folder, marks))
    remove = shlex.join(words_for(host, ["rm", "-rf", folder]))
    return ["sh", "-c", f"test -d {shlex.quote(folder)} || exit 0; {end}; status=$?; {remove}; exit $status"]


def end(host: Host, folder: str, marks: str) -> str | None:
    """Ends what is in a host's folder. Returns what could not be, or None."""
    try:
        connection = Connection.open(host)
        try:
            done = connection.run(ending(host, folder, marks))
        finally:
            connection.close()
    except SshError as error:
        return str(error)
    return None if done.status == 0 else f"{host.words}: {(done.stdout or done.stderr).strip() or done.status}"


def _end_all(text: str) -> int:
    rows = [(Host.model_validate(host), folder, marks) for host, folder, marks in json.loads(text)]
    with ThreadPoolExecutor(max(1, len(rows))) as threads:
        errors = [error for error in threads.map(lambda row: end(*row), rows) if error is not None]
    print("\n".join(errors), file=sys.stderr)
    return 1 if errors else 0


def main(words: Sequence[str]) -> int:
    """See the module."""
    if words[0] == "end":
        return _end_all(words[1])
    host = Host.model_validate_json(words[0])
    argv = words_for(host, words[2:])
    try:
        connection = Connection.open(host)
        try:
            done = connection.run(argv)
        finally:
            connection.close()
    except SshError as error:
        print(error, file=sys.stderr)
        return 1
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    return done.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
