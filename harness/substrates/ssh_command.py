"""Deeds on a host for whoever has no connection to it: the watchdog after the controller's death, ``capsize clean``.

``python -m harness.substrates.ssh_command HOST -- WORDS...`` runs a command there, with root's rights if the host
gives them; ``... HOST end FOLDER MARKS`` ends the guard that has this folder, or finishes its work. HOST is a
:class:`harness.substrates.ssh_hosts.Host` as JSON. Exits with the command's status.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from harness.substrates.ssh_connection import Connection, SshError, words_for
from harness.substrates.ssh_hosts import Host
from harness.substrates.ssh_line import guard_words


def ending(host: Host, folder: str, marks: str) -> list[str]:
    """The command that ends what is in a host's folder; succeeds if nothing is there."""
    end = shlex.join(guard_words(host, folder, "end", folder, marks))
    remove = shlex.join(words_for(host, ["rm", "-rf", folder]))
    return ["sh", "-c", f"test -d {shlex.quote(folder)} || exit 0; {end}; status=$?; {remove}; exit $status"]


def main(words: Sequence[str]) -> int:
    """See the module."""
    host = Host.model_validate_json(words[0])
    argv = ending(host, words[2], words[3]) if words[1] == "end" else words_for(host, words[2:])
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
