"""``python -m node``: starts one node. ``--help`` explains everything."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a node until it is stopped; returns the exit status."""
    from node.options import parse
    from node.zoo import BUGS

    options = parse(sys.argv[1:] if argv is None else argv, tuple(BUGS))
    _log_to_stderr(options.name)
    from node.running import run

    return run(options)


def _log_to_stderr(name: str) -> None:
    formatter = logging.Formatter(f"%(asctime)s.%(msecs)03dZ %(levelname)-8s {name} %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


if __name__ == "__main__":
    sys.exit(main())
