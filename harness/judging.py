"""A process beside the controller that judges while the run goes on, and what it says: JSON lines on its standard
output. Its standard input is how it is asked, and how it learns that the controller is gone.

Trouble with it ends the looking, not the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cleanup import marks
from harness.host.tools import wait_exit

CLOSE_TIMEOUT_S = 2.0


@dataclass(slots=True, kw_only=True)
class JudgingProcess:
    """One such process. Used from one event loop."""

    module: str
    """What is run: ``python -m MODULE CONFIG``."""
    config: Mapping[str, Any]
    log: Path
    """Where it may complain."""
    run_id: str
    take: Callable[[Mapping[str, Any]], None]
    """Gets each thing that it says."""
    lose: Callable[[], None]
    """Called once, when it says nothing more: it is done, or it failed (its words are in the log)."""
    _process: subprocess.Popen[bytes] | None = None
    _buffer: bytes = b""
    _ended: bool = False

    def start(self) -> None:
        """Starts it; does not wait for it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, json.dumps(self.config)],
                env=_environment(self.run_id),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is the controller's
                cwd="/",
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)
        asyncio.get_running_loop().add_reader(self._process.stdout.fileno(), self._read)

    def ask(self, word: bytes) -> bool:
        """Whether it was said. A full pipe is as good for a dot: there is enough in it to wake anybody."""
        if self._process is None or self._process.stdin is None or self._ended:
            return False
        try:
            os.write(self._process.stdin.fileno(), word)
        except BlockingIOError:
            return word == b"."
        except OSError:
            return False
        return True

    async def close(self) -> None:
        """Ends it. Safe to call twice, and if it was never started."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        asyncio.get_running_loop().remove_reader(process.stdout.fileno())
        process.stdin.close()
        try:
            await asyncio.wait_for(wait_exit(process), CLOSE_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            process.wait()
        process.stdout.close()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return
        if not chunk:
            self._ended = True
            asyncio.get_running_loop().remove_reader(self._process.stdout.fileno())
            self.lose()
            return
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            self.take(json.loads(line))


def _environment(run_id: str) -> dict[str, str]:
    here = str(Path(__file__).parent.parent)
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**os.environ, **marks.environment_marks(run_id), "PYTHONPATH": paths}
