"""What a sender learns whose packets do not get through: that it is refused, or nothing.

Asked with a program of the harness's own in the sender's network namespace: a TCP connection and a connected UDP
socket to each address. An open link refuses as well (nobody listens on the port), so this says something only about
links of which another probe has shown that nothing gets through.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

from faults.cuts import CLIENT, Pair
from faults.needs import Cluster

PORT = 9
"""Discard (RFC 863): nobody listens there."""
TIMEOUT_S = 1.5
AGAIN_S = 0.25
"""A datagram is sent again so often: kernels limit how often they tell of a refusal."""
REFUSED = "refused"

PROGRAM = f"""
import json, select, socket, sys, time
REFUSALS = (ConnectionRefusedError, ConnectionResetError)
addresses = json.load(sys.stdin)
said = {{address: [] for address in addresses}}
waiting = {{}}
for address in addresses:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        knocking = socket.socket(socket.AF_INET, kind)
        knocking.setblocking(False)
        try:
            knocking.connect((address, {PORT}))
            if kind == socket.SOCK_DGRAM:
                knocking.send(b"knock")
        except (BlockingIOError, PermissionError):
            pass
        except REFUSALS:
            said[address].append(kind)
            continue
        waiting[knocking] = (address, kind)
end = time.monotonic() + {TIMEOUT_S}
while waiting and time.monotonic() < end:
    streams = [each for each, (_, kind) in waiting.items() if kind == socket.SOCK_STREAM]
    ready = select.select(list(waiting), streams, [], max(0, min({AGAIN_S}, end - time.monotonic())))
    for knocking in [] if ready[0] or ready[1] else [each for each in waiting if each not in streams]:
        try:
            knocking.send(b"knock")
        except REFUSALS:
            address, kind = waiting.pop(knocking)
            said[address].append(kind)
        except OSError:
            pass
    for knocking in set(ready[0] + ready[1]):
        address, kind = waiting.pop(knocking)
        if isinstance(OSError(knocking.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), ""), REFUSALS):
            said[address].append(kind)
names = {{socket.SOCK_STREAM: "TCP", socket.SOCK_DGRAM: "UDP"}}
print(json.dumps({{address: sorted(names[kind] for kind in kinds) for address, kinds in said.items()}}))
"""


async def knock(cluster: Cluster, pairs: Sequence[Pair]) -> Mapping[Pair, str]:
    """For each (source, target): :data:`REFUSED`, or which of TCP and UDP was left without an answer, or why it could
    not be asked.
    """
    by_source: dict[str, list[str]] = {}
    for source, target in pairs:
        by_source.setdefault(source, []).append(target)
    answers = await asyncio.gather(*(_from(cluster, source, targets) for source, targets in by_source.items()))
    return {pair: answer for each in answers for pair, answer in each.items()}


async def _from(cluster: Cluster, source: str, targets: Sequence[str]) -> Mapping[Pair, str]:
    addresses = cluster.links.addresses
    argv = ["python3", "-S", "-c", PROGRAM]
    stdin = json.dumps([addresses[target] for target in targets])
    if source == CLIENT:  # where the controller is, which on this machine is where every node's host is
        done = await next(iter(cluster.nodes.values())).host(argv, stdin=stdin)
    else:
        done = await cluster.nodes[source].run(argv, stdin=stdin)
    if done.status != 0:
        return {(source, target): f"could not be asked: {done.stderr.strip()[-200:]}" for target in targets}
    said = json.loads(done.stdout)
    return {(source, target): _words(said[addresses[target]]) for target in targets}


def _words(refused: Sequence[str]) -> str:
    silent = [name for name in ("TCP", "UDP") if name not in refused]
    return f"no answer to {' and '.join(silent)}" if silent else REFUSED
