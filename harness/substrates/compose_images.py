"""Names of the images that the compose files use, for whoever starts them by hand: ``env $(python -m
harness.substrates.compose_images) docker compose ...``. What the engine does not have is built first.
"""

from __future__ import annotations

import sys

from harness.errors import CapsizeError
from harness.substrates import images
from harness.substrates.engine import reach
from harness.substrates.protocol import Image

VARIABLES = {
    "CAPSIZE_TOOLBOX": images.TOOLBOX,
    "CAPSIZE_RAFTKV": Image(target="raftkv", tag="capsize/raftkv"),
    "CAPSIZE_HOST": Image(target="host", tag="capsize/host"),
    "CAPSIZE_CONTROLLER": Image(target="controller", tag="capsize/controller"),
}
"""By the variable that ``compose/*.yaml`` read."""


def main() -> int:
    """Prints one ``NAME=REFERENCE`` a line, of those that are named, or of all."""
    import docker

    wanted = sys.argv[1:] or list(VARIABLES)
    unknown = [name for name in wanted if name not in VARIABLES]
    if unknown:
        print(f"capsize: unknown {', '.join(unknown)}: known are {', '.join(VARIABLES)}", file=sys.stderr)
        return 64
    try:
        reach()
        client = docker.from_env(timeout=images.BUILD_TIMEOUT_S)
        try:
            for name in wanted:
                print(f"{name}={images.ensure(client, VARIABLES[name])}")
        finally:
            client.close()
    except CapsizeError as error:
        print(f"capsize: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
