"""How the controller gets a socket inside a container's network namespace: it is made inside and handed out.

Only root may enter the namespace and make one. So the holder container does: at its start it opens a datagram socket
on the node's address and passes the descriptor through a Unix socket in a folder that is mounted into it (SCM_RIGHTS,
unix(7)). A socket belongs to the namespace of its creation for ever, so the controller's probes work with it as with
their own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Sequence

from harness.errors import HarnessError

MOUNT = "/capsize/door"
"""Where the folder is inside the holder."""
TIMEOUT_S = 20.0

_HOLDER = """
import os, signal, socket, sys
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.bind((sys.argv[1], 0))
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
    line.connect(sys.argv[2])
    socket.send_fds(line, [sys.argv[1].encode()], [probe.fileno()])
os.execvp("sleep", ["sleep", "infinity"])
"""


class Door:
    """A folder with one listening socket per node, each used once. Close it when every socket was handed out."""

    def __init__(self, run_id: str) -> None:
        # Not in the run folder: a Unix socket's path has 107 bytes at most.
        self.folder = os.path.join(tempfile.gettempdir(), f"capsize-door-{run_id}")
        self._listening: dict[str, socket.socket] = {}

    def open(self) -> None:
        """Makes the folder, for nobody but us."""
        os.mkdir(self.folder, 0o700)

    def listen(self, name: str) -> None:
        """Before the holder is started."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.setblocking(False)
        listening.bind(os.path.join(self.folder, name))
        listening.listen(1)
        self._listening[name] = listening

    def holder_argv(self, name: str, address: str) -> Sequence[str]:
        """What the holder runs: hands out a socket on the address, then only keeps the namespace."""
        return ["python3", "-c", _HOLDER, address, f"{MOUNT}/{name}"]

    async def receive(self, name: str) -> socket.socket:
        """The node's socket.

        Raises:
            HarnessError: nothing came in time.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                line, _ = await loop.sock_accept(self._listening[name])
                with line:
                    line.setblocking(False)
                    return await _receive(loop, line)
        except (OSError, TimeoutError) as error:
            raise HarnessError(
                f"the holder of {name} handed out no socket for probes ({error or 'time-out'})"
            ) from error

    def close(self) -> None:
        """Removes the folder."""
        for listening in self._listening.values():
            listening.close()
        shutil.rmtree(self.folder, ignore_errors=True)


async def _receive(loop: asyncio.AbstractEventLoop, line: socket.socket) -> socket.socket:
    readable = asyncio.Event()
    loop.add_reader(line, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(line)
    _, fds, _, _ = socket.recv_fds(line, 64, 1)
    if not fds:
        raise OSError("an empty message")
    return socket.socket(fileno=fds[0])
