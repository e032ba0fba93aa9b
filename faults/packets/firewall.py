"""What a node's packet filter does for one fault: rules that go in at once, come out at once, and can be undone by a
bare process.

Two ways, the same effect: by netlink (:mod:`faults.packets.nftables`), where the controller may have a socket in the
node's network namespace, and by ``iptables-restore`` run there, where it may not (an ordinary user's containers, other
hosts) or where the kernel has no nf_tables. Both make something of the fault's own, by its name: a table, or chains.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from faults.needs import Links, Node, Undo
from faults.packets import nftables
from faults.packets.nftables import Hook, Verdict

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


def chains_of(name: str) -> dict[Hook, str]:
    """A chain for each hook. Not one for both: what a rejection answers to a local sender passes OUTPUT, too, with the
    address of the node that is cut off as its source.
    """
    return {"INPUT": f"{name}-i", "OUTPUT": f"{name}-o"}


def _chains(name: str, rules: Sequence[Rule]) -> dict[Hook, str]:
    used = {rule.hook for rule in rules}
    return {hook: chain for hook, chain in chains_of(name).items() if hook in used}


def installation(name: str, rules: Sequence[Rule]) -> str:
    """Input for ``iptables-restore --noflush``: one transaction, all or nothing."""
    chains = _chains(name, rules)
    lines = [f":{chain} - [0:0]" for chain in chains.values()]
    lines += [f"-A {chains[rule.hook]} {words}" for rule in rules for words in rule.arguments()]
    lines += [f"-I {hook} -j {chain}" for hook, chain in chains.items()]
    return _transaction(lines)


def removal(name: str, rules: Sequence[Rule]) -> str:
    """Input that takes it out again; fails as a whole if it is not there."""
    chains = _chains(name, rules)
    lines = [f"-D {hook} -j {chain}" for hook, chain in chains.items()]
    return _transaction(lines + [f"-{edit} {chain}" for chain in chains.values() for edit in "FX"])


def _transaction(lines: Sequence[str]) -> str:
    return "\n".join(["*filter", *lines, "COMMIT", ""])


def scrub(name: str) -> list[str]:
    """A command that takes the chains out whatever state they are in; succeeds if they are gone afterwards."""
    table = "iptables -w 5"
    edits = [
        f"{table} -D {hook} -j {chain}; {table} -F {chain}; {table} -X {chain}"
        for hook, chain in chains_of(name).items()
    ]
    gone = [f"! {table} -n -L {chain} >/dev/null 2>&1" for chain in chains_of(name).values()]
    return ["sh", "-c", f"{{ {'; '.join(edits)}; }} 2>/dev/null; {' && '.join(gone)}"]


class Firewall:
    """One fault's rules in one node's network namespace."""

    def __init__(self, node: Node, links: Links, name: str, rules: Sequence[Rule]) -> None:
        """``name`` is unique in the cluster, at most 26 characters."""
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

    async def is_in_force(self) -> bool:
        """Whether the kernel tells all of the rules: for what no probe can show, since somebody else is in its way."""
        if self._line is not None:
            wanted = sum(len(nftables.rule_expressions(rule.hook, rule.peer, rule.verdict)) for rule in self._rules)
            return nftables.count_rules(self._line, self._name) == wanted
        told = (await self._node.run(("iptables", "-w", "5", "-S"))).stdout.splitlines()
        chains = _chains(self._name, self._rules)
        in_place = sum(line.startswith(f"-A {chain} ") for line in told for chain in chains.values())
        called = all(f"-A {hook} -j {chain}" in told for hook, chain in chains.items())
        return called and in_place == sum(len(rule.arguments()) for rule in self._rules)

    def packets(self) -> int | None:
        """How many packets the rules have stopped; None if that is not counted."""
        return None if self._line is None else nftables.packets(self._line, self._name)
