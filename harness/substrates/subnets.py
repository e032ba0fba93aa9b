"""Which addresses a run's container network may have: a /24 that collides with nothing that this machine reaches."""

from __future__ import annotations

import ipaddress
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

Network = ipaddress.IPv4Network
POOL = ipaddress.IPv4Network("10.192.0.0/10")
"""Where runs take their subnets from: inside a private range, away from what Docker (172.16/12, 192.168/16) and most
home and office networks use.
"""
FIRST_NODE = 11
"""The last number of the first node's address; the gateway, and so the controller, is 1."""
NODES_MAX = 200
ROUTES = Path("/proc/net/route")


def candidates(run_id: str, taken: Iterable[str], pool: Network = POOL) -> Iterator[Network]:
    """Free subnets, beginning at a place that depends on the run, so that two runs side by side rarely ask for the
    same.

    ``taken`` are networks in CIDR notation; IPv6 ones and the default route are no obstacle.
    """
    busy = [network for text in taken if isinstance(network := ipaddress.ip_network(text, strict=False), Network)]
    busy = [network for network in busy if network.prefixlen > 0]
    count = 1 << (24 - pool.prefixlen)
    begin = zlib.crc32(run_id.encode()) % count
    base = int(pool.network_address)
    for offset in range(count):
        subnet = Network((base + ((begin + offset) % count << 8), 24))
        if not any(subnet.overlaps(other) for other in busy):
            yield subnet


def addresses(subnet: Network, nodes: Sequence[str]) -> Mapping[str, str]:
    """The fixed address of every node.

    Raises:
        ValueError: more nodes than a subnet has room for.
    """
    if len(nodes) > NODES_MAX:
        raise ValueError(f"{len(nodes)} nodes do not fit into one container network: at most {NODES_MAX}")
    return {name: str(subnet[FIRST_NODE + place]) for place, name in enumerate(nodes)}


def gateway(subnet: Network) -> str:
    """The controller's address on the network's bridge."""
    return str(subnet[1])


def host_routes(table: str) -> Sequence[str]:
    """Networks that this machine has routes to, from the text of /proc/net/route (hexadecimal, in host order)."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return [f"{_address(row[1])}/{_address(row[7])}" for row in rows if len(row) > 7]


def _address(text: str) -> str:
    return str(ipaddress.IPv4Address(int(text, 16).to_bytes(4, sys.byteorder)))
