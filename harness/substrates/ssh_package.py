"""What is brought to a host: the guard, the helpers of faults, and the packages of ours that a node is made of."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.substrates.protocol import Launch

ROOT = Path(__file__).parents[2]
ALWAYS = ("harness/__init__.py", "harness/guard", "faults")


def package(launches: Iterable[Launch]) -> bytes:
    """A tar archive of Python files, by their paths below a folder that goes on the search path."""
    buffer = io.BytesIO()
    wanted = [*ALWAYS, *dict.fromkeys(name for launch in launches for name in launch.packages)]
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in wanted:
            for path in _files(ROOT / name):
                entry = tarfile.TarInfo(str(path.relative_to(ROOT)))
                content = path.read_bytes()
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def modules(launches: Iterable[Launch]) -> Sequence[str]:
    """Modules of others that the interpreter there must have."""
    return tuple(dict.fromkeys(name for launch in launches for name in launch.modules))


def _files(path: Path) -> Sequence[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]
