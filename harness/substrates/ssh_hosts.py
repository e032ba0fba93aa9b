"""Hosts that nodes run on over SSH: what a scenario says about each, in its own text or in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from harness.errors import nearest


class Host(BaseModel):
    """One host. Paths with ``~`` are those of this machine's user, but for ``python`` and ``folder``."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str = ""
    """For people; the n-th host carries the n-th node."""
    address: str = Field(min_length=1)
    """Where its SSH server is."""
    port: int = Field(default=22, ge=1, le=65535)
    user: str | None = None
    """Who logs in; whoever runs Capsize, if nobody is named."""
    key: str | None = None
    """File of the private key; without one, those of the agent and of ``~/.ssh``."""
    known_hosts: str = "~/.ssh/known_hosts"
    """The file in which the host's own key must be found."""
    node_address: str | None = None
    """By which its peers and clients reach the node, if that is not ``address``."""
    python: str = "python3"
    """An interpreter there (>= 3.11) that can import what the system's node needs."""
    folder: str = "/tmp"
    """Where the run's own folder is made, and removed at its end."""
    become: Literal["none", "sudo"] = "none"
    """How root's deeds are done: we log in as root (or do without faults that need it), or by ``sudo -n``."""
    probe_port: int = Field(default=0, ge=0, le=65535)
    """The UDP port on which datagrams tell whether links are open; 0: any free one."""

    silence_s: float = Field(default=20.0, ge=2.0, le=3600.0, strict=False)
    """How long the guard there hears nothing of us before it heals and ends everything."""

    @property
    def words(self) -> str:
        """The host in words: ``root@10.0.0.5:22``."""
        user = f"{self.user}@" if self.user else ""
        return f"{user}{self.address}:{self.port}" + (f" ({self.name})" if self.name else "")

    @property
    def known_hosts_file(self) -> str:
        """Its path."""
        return os.path.expanduser(self.known_hosts)

    @property
    def key_file(self) -> str | None:
        """Its path."""
        return None if self.key is None else os.path.expanduser(self.key)


def read_hosts(value: object) -> Any:
    """A list as it stands; a text is the path of a YAML file that holds one.

    Raises:
        ValueError: no such file, or it holds no list.
    """
    if not isinstance(value, str):
        return _known(value)
    path = Path(value).expanduser()
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"hosts are read from {value!r}, which cannot be: {error}") from None
    found = found.get("hosts") if isinstance(found, dict) else found
    if not isinstance(found, list):
        raise ValueError(f"{value!r} holds no list of hosts; write one `- {{address: 10.0.0.5}}` for each")
    return _known(found)


def _known(found: Any) -> Any:
    """Refuses a misspelt name here, where the names that are known can be said."""
    for number, host in enumerate(found if isinstance(found, list | tuple) else (), 1):
        for name in host if isinstance(host, dict) else ():
            if name not in Host.model_fields:
                raise ValueError(f"host {number}: unknown name {name!r}: {nearest(str(name), Host.model_fields)}")
    return found


def check_distinct(hosts: tuple[Host, ...]) -> tuple[Host, ...]:
    """Two nodes at one address would be one.

    Raises:
        ValueError: with the address.
    """
    seen = [host.node_address or host.address for host in hosts]
    for address in seen:
        if seen.count(address) > 1:
            raise ValueError(f"two hosts have the address {address!r}: give each its own `node_address`")
    return hosts


Hosts = Annotated[tuple[Host, ...], Field(strict=False), BeforeValidator(read_hosts), AfterValidator(check_distinct)]
"""In a scenario: ``hosts``."""
