"""Generates ``harness/systems/*_pb2.py`` and their type stubs from ``harness/systems/proto/*.proto``:
``python harness/systems/proto/generate.py`` (as a file: the package cannot be imported while what it needs is old).

The generated files are committed, so that nobody needs a compiler; a test asserts that they are current.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PROTO = Path(__file__).resolve().parent
TARGET = "harness/systems"


def generate(root: Path) -> list[Path]:
    """Writes the generated modules into ``root/harness/systems`` and returns their paths. Raises CalledProcessError on
    a faulty .proto.
    """
    sources = sorted(f"{TARGET}/{path.name}" for path in PROTO.glob("*.proto"))
    (root / TARGET).mkdir(parents=True, exist_ok=True)
    plugin = shutil.which("protoc-gen-mypy", path=str(Path(sys.executable).parent)) or "protoc-gen-mypy"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{TARGET}={PROTO}", f"--plugin=protoc-gen-mypy={plugin}"]
    subprocess.run([*command, f"--python_out={root}", f"--mypy_out={root}", *sources], check=True)
    return sorted((root / TARGET).glob("*_pb2.py*"))


if __name__ == "__main__":
    for written in generate(PROTO.parents[2]):
        print(written)
