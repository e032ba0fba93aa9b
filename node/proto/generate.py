"""Generates ``node/*_pb2.py`` and their type stubs from ``node/proto/*.proto``: ``python -m node.proto.generate`` in
the repository's root.

The generated files are committed, so that running a node needs no compiler; a test asserts that they are current.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PROTO = Path(__file__).resolve().parent


def generate(root: Path) -> list[Path]:
    """Writes the generated modules into ``root/node`` and returns their paths. Raises CalledProcessError on a faulty
    .proto.
    """
    sources = sorted(f"node/{path.name}" for path in PROTO.glob("*.proto"))
    (root / "node").mkdir(exist_ok=True)
    plugin = shutil.which("protoc-gen-mypy", path=str(Path(sys.executable).parent)) or "protoc-gen-mypy"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-Inode={PROTO}", f"--plugin=protoc-gen-mypy={plugin}"]
    subprocess.run([*command, f"--python_out={root}", f"--mypy_out={root}", *sources], check=True)
    return sorted((root / "node").glob("*_pb2.py*"))


if __name__ == "__main__":
    for written in generate(PROTO.parent.parent):
        print(written)
