"""``serve CONFIG``: becomes the guard, in the background; ``talk FOLDER``: passes lines on to it; ``end FOLDER``:
ends it, or finishes its work if it is dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from harness.guard import BANNER
from harness.guard.ledger import perform, read_entries
from harness.guard.serving import SOCKET, Guard, adopt_orphans
from harness.guard.tree import marked, send

END_TIMEOUT_S = 12.0


def serve(config: dict[str, Any]) -> int:
    """Answers on standard output when the guard listens; the guard goes on without us."""
    read_end, write_end = os.pipe()
    if os.fork():
        os.close(write_end)
        with os.fdopen(read_end) as line:
            said = line.read()
        print(f"{BANNER} {said}", flush=True)
        return 0 if said == "ready" else 1
    os.setsid()
    os.close(read_end)
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(Path(config["folder"]) / "guard.err", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for number, fd in enumerate((nothing, nothing, errors)):
        os.dup2(fd, number)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    asyncio.run(_work(config, write_end))
    return 0


async def _work(config: dict[str, Any], ready: int) -> None:
    guard = Guard(config)

    def say_ready() -> None:
        os.write(ready, b"ready")
        os.close(ready)

    await guard.serve(say_ready)


def _connected(folder: Path) -> socket.socket | None:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(str(folder / SOCKET))
    except OSError:
        line.close()
        return None
    return line


def talk(folder: Path) -> int:
    """Standard input to the guard, and the guard to standard output, until either ends."""
    line = _connected(folder)
    if line is None:
        print(f"{BANNER} gone", flush=True)
        return 1
    print(f"{BANNER} ready", flush=True)
    ways = {0: line.fileno(), line.fileno(): 1}
    while True:
        for source in select.select(list(ways), [], [])[0]:
            data = os.read(source, 1 << 16)
            if not data:
                return 0
            while data:
                data = data[os.write(ways[source], data) :]


def end(folder: Path, marks: dict[str, str]) -> int:
    """Says what could not be undone; status 0 if nothing is left."""
    line = _connected(folder)
    if line is not None:
        failed = _ask_end(line)
    else:
        failed = [error for entry in read_entries(folder) if (error := perform(entry)) is not None]
        for _ in range(50):
            if not (left := marked(marks)):
                break
            send(left, signal.SIGKILL)
            time.sleep(0.02)
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(failed), flush=True)
    return 1 if failed else 0


def _ask_end(line: socket.socket) -> list[str]:
    line.settimeout(END_TIMEOUT_S)
    line.sendall(json.dumps({"id": f"end {os.getpid()}", "op": "end"}).encode() + b"\n")
    said = b""
    with contextlib.suppress(OSError):
        while chunk := line.recv(1 << 16):
            said += chunk
            if b"\n" in said:
                return list(json.loads(said.splitlines()[0])["ok"])
    return ["the guard did not answer"]


def main() -> int:
    """See the module."""
    match sys.argv[1:]:
        case ["serve", config]:
            return serve(json.loads(config))
        case ["talk", folder]:
            return talk(Path(folder))
        case ["end", folder, marks]:
            return end(Path(folder), json.loads(marks))
    print(__doc__, file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main())
