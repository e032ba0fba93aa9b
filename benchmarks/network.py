"""How precise network faults are, how much the stand-in carries, and what it costs.

    python -m benchmarks.network [--no-vm]

For 50 ms +- 10 ms asked on one direction: round trips of a TCP ping-pong, through the stand-in on this machine and
through the kernel's own netem in a virtual machine (:mod:`benchmarks.netem_vm`). Then a flood of datagrams and a bulk
TCP connection through the stand-in. As root; every part is bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import links, netem_vm
from faults.packets.queues import Queues
from faults.packets.shaping import Network
from harness.host import namespaces
from harness.substrates import lab
from harness.substrates.process import ProcessCluster

PINGS = 300
FLOOD_S = 3.0
BULK_S = 3.0
FLOOD_PORT = 7002
SETTLE_POLLS_MAX = 100
_FLOOD = """
import socket, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect((sys.argv[1], int(sys.argv[2])))
rate, seconds, payload = float(sys.argv[3]), float(sys.argv[4]), bytes(200)
begin, sent = time.monotonic(), 0
while (now := time.monotonic() - begin) < seconds:
    due = int(now * rate) + 1 if rate else sent + 50
    while sent < due:
        out.send(payload)
        sent += 1
    if rate:
        time.sleep(0.0005)
print(sent)
"""


async def precision(cluster: ProcessCluster) -> list[tuple[str, Mapping[str, float]]]:
    """Ping-pong without a fault, and with several delays."""
    rows = [("this machine, nothing asked", links.spread(await links.ping_pong(cluster, "n1", "n2", PINGS)))]
    for delay, jitter in (("50ms", "10ms"), ("50ms", "0ms"), ("10ms", "0ms"), ("1ms", "0ms")):
        fault = links.fault(cluster, "n1", peers=["n2"], direction="out", delay=delay, jitter=jitter)
        bit = await fault.inject()
        seen = links.spread(await links.ping_pong(cluster, "n1", "n2", PINGS if jitter == "10ms" else 100))
        healed = await fault.heal()
        if not (bit.holds and healed.holds):
            sys.exit(f"not proved: {bit.evidence} {healed.evidence}")
        means = ", ".join(bit.evidence["means"])
        rows.append((f"{means}: {delay}" + (f" +- {jitter}" if jitter != "0ms" else ""), seen))
    return rows


async def flood(cluster: ProcessCluster, rate: int, **said: Any) -> dict[str, float]:
    """Datagrams of 200 bytes from n1 to n2 at a rate (0: as fast as one process can), and what became of them."""
    fault = links.fault(cluster, "n1", peers=["n2"], direction="out", **said)
    bit = await fault.inject()
    before = await _counts(fault)
    taker = namespaces.call_in(lab.netns_of("n2"), lambda: _taker(cluster.nodes["n2"].address))
    argv = [sys.executable, "-S", "-c", _FLOOD, cluster.nodes["n2"].address, str(FLOOD_PORT), str(rate), str(FLOOD_S)]
    began = time.monotonic()
    with subprocess.Popen(cluster.nodes["n1"].command(argv), stdout=subprocess.PIPE, text=True) as sender:  # noqa: ASYNC220
        arrived = await asyncio.to_thread(_take, taker, FLOOD_S + 1.5)
        sent = int(sender.communicate()[0])
    after = await _counts(fault)
    taker.close()
    healed = await fault.heal()
    seen = {name: after[name] - before[name] for name in after}
    seconds = min(time.monotonic() - began, FLOOD_S)
    return {
        "sent/s": sent / seconds,
        "decided/s": seen["packets"] / seconds,
        "cpu us/packet": 1e6 * seen["cpu_s"] / max(1, seen["packets"]),
        "arrived": arrived / sent,
        "asked loss": seen["lost"] / sent,
        "overload": seen["overload"] / sent,
        "proved": float(bit.holds and healed.holds),
    }


async def _counts(fault: Network) -> dict[str, float]:
    """When nothing waits any more."""
    [queues] = [means for means in fault.means if isinstance(means, Queues)]
    for _ in range(SETTLE_POLLS_MAX):
        counts = (await queues.counts())["n1"]
        if not counts["waiting"]:
            break
        await asyncio.sleep(0.1)
    return {name: counts[name] for name in ("packets", "lost", "overload")} | {"cpu_s": queues.cpu_s}


def _taker(address: str) -> socket.socket:
    taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taker.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: nothing is to be lost here
    taker.bind((address, FLOOD_PORT))
    taker.settimeout(1.0)
    return taker


def _take(taker: socket.socket, seconds: float) -> int:
    arrived, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            taker.recv(300)
            arrived += 1
        except TimeoutError:
            continue
    return arrived


async def measure() -> tuple[list[Any], list[Any], list[Any]]:
    """Everything on this machine."""
    namespaces.enter()
    with tempfile.TemporaryDirectory(prefix="capsize-bench-") as scratch:
        async with links.places(("n1", "n2"), Path(scratch)) as cluster:
            rows = await precision(cluster)
            floods = [
                (f"{words}, {rate or 'as many as possible'}/s", await flood(cluster, rate, **said))
                for words, rate, said in (
                    ("20 ms", 1_000, {"delay": "20ms"}),
                    ("20 ms", 20_000, {"delay": "20ms"}),
                    ("20 ms", 0, {"delay": "20ms"}),
                    ("20 ms +- 5 ms", 20_000, {"delay": "20ms", "jitter": "5ms"}),
                    ("20 ms +- 5 ms", 0, {"delay": "20ms", "jitter": "5ms"}),
                    ("loss 5 %", 0, {"loss": "5%"}),
                    ("corrupt 5 %", 0, {"corrupt": "5%"}),
                )
            ]
            pours = [("no fault", await links.bulk(cluster, "n1", "n2", BULK_S))]
            for words, said in (("20 ms", {"delay": "20ms"}), ("20 ms +- 5 ms", {"delay": "20ms", "jitter": "5ms"})):
                fault = links.fault(cluster, "n1", peers=["n2"], direction="out", **said)
                await fault.inject()
                pours.append((words, await links.bulk(cluster, "n1", "n2", BULK_S)))
                await fault.heal()
    return rows, floods, pours


def main() -> None:
    """Prints three tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--no-vm", action="store_true", help="leave the virtual machine out")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores")
    vm = None if options.no_vm else netem_vm.run()
    rows, floods, pours = asyncio.run(measure())
    if vm is not None:
        rows += [("virtual machine, nothing asked", vm["before_ms"])]
        rows += [("tc netem in it: 50ms +- 10ms", vm["faults"]["delay"]["ping_pong_ms"])]
    print("\nTCP ping-pong, one direction delayed, ms")
    for words, seen in rows:
        print(f"  {words:34}", "  ".join(f"{name} {value:g}" for name, value in seen.items()))
    print("\nstand-in under a flood of datagrams of 200 bytes, one direction of one link")
    for words, seen in floods:
        print(f"  {words:34}", "  ".join(f"{name} {value:.4g}" for name, value in seen.items()))
    print("\nTCP bulk, Mbit/s")
    for words, bits in pours:
        print(f"  {words:34} {bits / 1e6:,.0f}")
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
