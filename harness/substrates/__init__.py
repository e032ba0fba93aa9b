"""The substrates, by name. Imported lazily by kind: the Docker SDK costs more to import than a cluster to start."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.substrates.protocol import Substrate


def _process() -> Substrate:
    from harness.substrates.process import ProcessSubstrate

    return ProcessSubstrate()


def _docker() -> Substrate:
    from harness.substrates.docker import DockerSubstrate

    return DockerSubstrate()


SUBSTRATES: Mapping[str, Callable[[], Substrate]] = {"process": _process, "docker": _docker}
