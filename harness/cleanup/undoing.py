"""Carrying out an undo entry without a cluster, a loop or a controller: by the watchdog, or by ``capsize clean``.

Each kind is one small function; all are safe to repeat, because the deed may never have been done, or may have been
undone already. A process or a network namespace is told by more than its name: pids and paths are used again, and what
has the same one later is somebody else's (another run's namespace, or one that a person made). Heavy modules are
imported where they are needed: the watchdog has to start fast, and most runs never come here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from harness.cleanup.ledger import Entry
from harness.host import processes

Arguments = Mapping[str, Any]


class UndoError(Exception):
    """An entry could not be undone; the text says why."""


def perform(entry: Entry, *, timeout_s: float) -> str | None:
    """Undoes one entry within the time; returns None, or why it failed."""
    kind = KINDS.get(str(entry["kind"]))
    if kind is None:
        return f"unknown kind {entry['kind']!r}"
    try:
        kind(entry["arguments"], timeout_s)
    except Exception as error:  # noqa: BLE001 - whatever one entry does, the next must have its turn
        return f"{type(error).__name__}: {error}"
    return None


_ENTERS = "--net="


def namespaces_entered(argv: Sequence[str]) -> dict[str, int]:
    """The handles of network namespaces on this machine that a command enters, and the numbers of those behind them."""
    words = argv if argv and os.path.basename(argv[0]) == "nsenter" else ()
    handles = [word.removeprefix(_ENTERS) for word in words if word.startswith(_ENTERS)]
    numbers = {handle: processes.namespace_of_path(handle) for handle in handles}
    return {handle: number for handle, number in numbers.items() if number is not None}


def _run(arguments: Arguments, timeout_s: float) -> None:
    """A command. If it was for a namespace that is no more, all that it would undo went with that."""
    entered: Mapping[str, int] = arguments.get("entered", {})
    if any(processes.namespace_of_path(handle) != number for handle, number in entered.items()):
        return
    import subprocess

    from harness.host.namespaces import tool_environment

    argv: Sequence[str] = arguments["argv"]
    done = subprocess.run(
        argv,
        env=tool_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise UndoError(f"{' '.join(argv)} ended with status {done.returncode}: {done.stderr.strip()}")


def _continue(arguments: Arguments, _timeout_s: float) -> None:
    if processes.is_process(arguments["pid"], arguments["pid_start"]):
        processes.send([arguments["pid"]], signal.SIGCONT)


def _kill(arguments: Arguments, _timeout_s: float) -> None:
    if processes.is_process(arguments["pid"], arguments["pid_start"]):
        processes.kill(arguments["pid"])


def _remove(arguments: Arguments, _timeout_s: float) -> None:
    import shutil

    path = arguments["path"]
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _container(arguments: Arguments, timeout_s: float) -> None:
    import docker

    client = docker.from_env(timeout=max(1, int(timeout_s)))
    try:
        container = client.containers.get(arguments["id"])
        try:
            container.remove(force=True, v=True)
        except docker.errors.APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:  # being removed already
                raise
            container.wait(timeout=timeout_s, condition="removed")
    except docker.errors.NotFound:
        pass
    finally:
        client.close()


def _docker_network(arguments: Arguments, timeout_s: float) -> None:
    import docker

    client = docker.from_env(timeout=max(1, int(timeout_s)))
    try:
        client.networks.get(arguments["id"]).remove()
    except docker.errors.NotFound:
        pass
    finally:
        client.close()


KINDS: Mapping[str, Callable[[Arguments, float], None]] = {
    "run": _run,
    "continue": _continue,
    "kill": _kill,
    "remove": _remove,
    "container": _container,
    "docker_network": _docker_network,
}
"""As :class:`faults.needs.Undo` lists them."""
