"""The substrates, by name. Imported lazily by kind: the Docker SDK costs more to import than a cluster to start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from harness.substrates.protocol import Substrate


class SubstrateFactory(Protocol):
    """Makes a substrate; ``keep_data`` leaves the nodes' data in the run folder."""

    def __call__(self, *, keep_data: bool = False) -> Substrate:
        """Makes it; nothing is started."""


def _process(*, keep_data: bool = False) -> Substrate:
    from harness.substrates.process import ProcessSubstrate

    return ProcessSubstrate(keep_data=keep_data)


def _docker(*, keep_data: bool = False) -> Substrate:
    from harness.substrates.docker import DockerSubstrate

    return DockerSubstrate(keep_data=keep_data)


SUBSTRATES: Mapping[str, SubstrateFactory] = {"process": _process, "docker": _docker}
