"""The substrates, by name. Imported lazily by kind: the Docker SDK costs more to import than a cluster to start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from harness.substrates.protocol import Substrate
from harness.substrates.ssh_hosts import Host


class SubstrateFactory(Protocol):
    """Makes a substrate; ``keep_data`` leaves the nodes' data in the run folder; ``hosts`` are for those that need
    some.
    """

    def __call__(self, *, keep_data: bool = False, hosts: Sequence[Host] = ()) -> Substrate:
        """Makes it; nothing is started."""


def _process(*, keep_data: bool = False, hosts: Sequence[Host] = ()) -> Substrate:
    from harness.substrates.process import ProcessSubstrate

    del hosts
    return ProcessSubstrate(keep_data=keep_data)


def _docker(*, keep_data: bool = False, hosts: Sequence[Host] = ()) -> Substrate:
    from harness.substrates.docker import DockerSubstrate

    del hosts
    return DockerSubstrate(keep_data=keep_data)


def _compose(*, keep_data: bool = False, hosts: Sequence[Host] = ()) -> Substrate:
    from harness.substrates.compose import ComposeSubstrate

    del hosts
    return ComposeSubstrate(keep_data=keep_data)


def _ssh(*, keep_data: bool = False, hosts: Sequence[Host] = ()) -> Substrate:
    from harness.substrates.ssh import SshSubstrate

    return SshSubstrate(keep_data=keep_data, hosts=hosts)


SUBSTRATES: Mapping[str, SubstrateFactory] = {
    "process": _process,
    "docker": _docker,
    "compose": _compose,
    "ssh": _ssh,
}
