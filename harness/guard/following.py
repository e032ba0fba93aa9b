"""Log files of this host, sent to whoever follows them as they grow."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

FOLLOW_S = 0.005
"""How often the files are looked at: a few ``stat`` calls each 5 ms cost 0.3 % of a core."""
CHUNK = 48 << 10


class Following:
    """Everything in a folder, from given positions on. One line of JSON a chunk: ``file``, ``at``, ``data``."""

    def __init__(self, folder: Path, positions: Mapping[str, int], writer: asyncio.StreamWriter) -> None:
        self._folder = folder
        self._positions = dict(positions)
        self._writer = writer

    async def run(self) -> None:
        """Until it is cancelled, or nobody reads any more."""
        with contextlib.suppress(ConnectionError):
            while True:
                if not await self.send_once():
                    await asyncio.sleep(FOLLOW_S)

    async def send_once(self) -> bool:
        """One chunk of each file that grew; whether there was any."""
        grown = False
        for name in self._names():
            at = self._positions.get(name, 0)
            data = _read(self._folder / name, at)
            if data:
                grown = True
                self._positions[name] = at + len(data)
                line = {"file": name, "at": at, "data": base64.b64encode(data).decode()}
                self._writer.write(json.dumps(line).encode() + b"\n")
                await self._writer.drain()
        return grown

    def _names(self) -> list[str]:
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
        return []


def _read(path: Path, at: int) -> bytes:
    try:
        if path.stat().st_size <= at:
            return b""
        with path.open("rb") as file:
            file.seek(at)
            return file.read(CHUNK)
    except OSError:
        return b""
