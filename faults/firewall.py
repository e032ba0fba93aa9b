"""What a node's packet filter does for one fault: rules that go in at once, come out at once, and can be undone by a
bare process.

Two ways, the same effect: by netlink (:mod:`faults.nftables`), where the controller may have a socket in the node's
network namespace, and by ``iptables-restore`` run there, where it may not (an ordinary user's containers, other
hosts) or where the kernel has no nf_tables. Both make something of the fault's own, by its name: a table, or a chain.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from faults import nftables
from faults.needs import Links, Node, Undo
from faults.nftables import Hook, Verdict

RESTORE = ("iptables-restore", "-w", "5", "--noflush")
Means = Literal["nftables", "iptables"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What happens to packets that come from a peer (INPUT) or go to one (OUTPUT)."""

    hook: Hook
    peer: str
    """An IPv4 address."""
    verdict: Verdict = "drop"

    def arguments(self) -> list[str]:
        """As iptables says it, one or two rules. What comes by the loopback is a rejection's answer to a local sender,
        with the address of the node that is cut off.
        """
        match = f"! -i lo -s {self.peer}/32" if self.hook == "INPUT" else f"-d {self.peer}/32"
        if self.verdict == "drop":
            return [f"{match} -j DROP"]
        if self.verdict == "answers":
            return [f"{match} -p tcp --tcp-flags RST RST -j RETURN", f"{match} -p icmp -j RETURN"]
        return [
            f"{match} -p tcp -j REJECT --reject-with tcp-reset",
            f"{match} -j REJECT --reject-with icmp-port-unreachable",
        ]


def _hooks(rules: Sequence[Rule]) -> list[str]:
    return sorted({rule.hook for rule in rules})


def installation(chain: str, rules: Sequence[Rule]) -> str:
    """Input for ``iptables-restore --noflush``: one transaction, all or nothing."""
    lines = [f":{chain} - [0:0]"]
    lines += [f"-A {chain} {words}" for rule in rules for words in rule.arguments()]
    lines += [f"-I {hook} -j {chain}" for hook in _hooks(rules)]
    return _transaction(lines)


def removal(chain: str, rules: Sequence[Rule]) -> str:
    """Input that takes it out again; fails as a whole if it is not there."""
    return _transaction([f"-D {hook} -j {chain}" for hook in _hooks(rules)] + [f"-F {chain}", f"-X {chain}"])


def _transaction(lines: Sequence[str]) -> str:
    return "\n".join(["*filter", *lines, "COMMIT", ""])


def scrub(chain: str) -> list[str]:
    """A command that takes a chain out whatever state it is in; succeeds if it is gone afterwards."""
    table = "iptables -w 5"
    steps = [f"{table} -D {hook} -j {chain}" for hook in ("INPUT", "OUTPUT")] + [
        f"{table} -F {chain}",
        f"{table} -X {chain}",
    ]
    return ["sh", "-c", f"{{ {'; '.join(steps)}; }} 2>/dev/null; ! {table} -n -L {chain} >/dev/null 2>&1"]


class Firewall:
    """One fault's rules in one node's network namespace."""

    def __init__(self, node: Node, links: Links, name: str, rules: Sequence[Rule]) -> None:
        """``name`` is unique in the cluster, at most 28 characters."""
        self._node = node
        self._name = name
        self._rules = tuple(rules)
        self._line: socket.socket | None = links.filter_line(node.name)

    @property
    def means(self) -> Means:
        """How it is done."""
        return "iptables" if self._line is None else "nftables"

    @property
    def undo(self) -> Undo:
        """What undoes it, however it was done: to be registered before the deed."""
        argv = scrub(self._name) if self._line is None else nftables.removal_command(self._name)
        command = list(self._node.command(argv))
        return Undo(id=f"{self._name} on {self._node.name}", kind="run", arguments={"argv": command})

    def apply_at_once(self) -> bool:
        """Puts the rules in within this very call, if that is possible; False if :meth:`apply` has to."""
        if self._line is None:
            return False
        rules = [(rule.hook, rule.peer, rule.verdict) for rule in self._rules]
        nftables.send(self._line, nftables.installation(self._name, rules))
        return True

    async def apply(self) -> None:
        """Puts them in by a command.

        Raises:
            RuntimeError: refused, with the node and the reason.
        """
        done = await self._node.run(RESTORE, stdin=installation(self._name, self._rules))
        if done.status != 0:
            raise RuntimeError(
                f"iptables-restore on {self._node.name} ended with status {done.status}: {done.stderr.strip()}"
            )

    async def remove(self) -> str | None:
        """Takes the rules out, if they are there. Returns what went wrong."""
        if self._line is not None:
            try:
                nftables.remove(self._line, self._name)
            except OSError as error:
                return f"{self._node.name}: {error}"
            return None
        done = await self._node.run(RESTORE, stdin=removal(self._name, self._rules))
        if done.status != 0:  # the fast way needs it to be whole; this one works in any state
            done = await self._node.run(scrub(self._name))
        return None if done.status == 0 else f"{self._node.name}: status {done.status}: {done.stderr.strip()}"

    def packets(self) -> int | None:
        """How many packets the rules have stopped; None if that is not counted."""
        return None if self._line is None else nftables.packets(self._line, self._name)
