"""The way in: whatever faults do to packets of a host, those of our SSH connection pass as always.

Rules: a chain of the firewall, :data:`WAY_IN`, in each table that faults write to, which is put back in front with
every set of rules. Queueing: a filter of the first priority that puts our packets into the band that nobody shapes.
Both are as narrow as the connection: this machine's address and the SSH port.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WAY_IN = "capsize-way-in"
HOOKS = ("INPUT", "OUTPUT")
_WAIT = "iptables -w 5"


@dataclass(frozen=True, kw_only=True, slots=True)
class WayIn:
    """Of one host: the address by which it sees us, its SSH port, and the tables that faults write to."""

    address: str
    port: int
    tables: Sequence[str] = ("filter", "mangle")

    def rules(self) -> str:
        """Input for ``iptables-restore --noflush`` that makes the chain."""
        lines = [f":{WAY_IN} - [0:0]"]
        lines += [f"-A {WAY_IN} -p tcp -s {self.address}/32 --dport {self.port} -j ACCEPT"]
        lines += [f"-A {WAY_IN} -p tcp -d {self.address}/32 --sport {self.port} -j ACCEPT"]
        lines += [f"-I {hook} -j {WAY_IN}" for hook in HOOKS]
        return "".join("\n".join([f"*{table}", *lines, "COMMIT", ""]) for table in self.tables)

    def scrub(self) -> Sequence[str]:
        """A command that takes it out, whatever of it is there."""
        steps = []
        for table in self.tables:
            steps += [f"{_WAIT} -t {table} -D {hook} -j {WAY_IN}" for hook in HOOKS]
            steps += [f"{_WAIT} -t {table} -{how} {WAY_IN}" for how in "FX"]
        return ["sh", "-c", f"{{ {'; '.join(steps)}; }} 2>/dev/null; true"]

    def kept_quick(self, text: str) -> str:
        """The lines of a ``tc -batch``, after which our packets are in the band that nobody shapes: wherever a root is
        made, the filter is, too; it goes with the root.
        """
        lines = []
        for line in text.splitlines():
            lines.append(line)
            words = line.split()
            if words[:2] == ["qdisc", "add"] and "root" in words and "prio" in words:
                device, root = words[words.index("dev") + 1], words[words.index("handle") + 1]
                ours = f"match ip dst {self.address}/32 match ip protocol 6 0xff match ip sport {self.port} 0xffff"
                lines.append(f"filter add dev {device} parent {root} protocol ip prio 1 u32 {ours} flowid {root}1")
        return "\n".join([*lines, ""])


def kept_open(text: str) -> str:
    """Input for ``iptables-restore``, after which :data:`WAY_IN` is first again in each of its tables."""
    lines = [f"-{how} {hook} -j {WAY_IN}" for hook in HOOKS for how in "DI"]
    return text.replace("COMMIT\n", "\n".join([*lines, "COMMIT", ""]))
