"""Links shaped by the stand-in (:mod:`faults.packets.standin`), at one node: firewall rules that queue packets, and
the process that decides about them.

What *arrives* over a link is queued in INPUT; what is to be copied, or goes to clients, on its way *out* in OUTPUT:
nothing is ever put on the clients' side. The rules are in a chain of the fault's own in the table ``mangle``: a
verdict ends the walk through a table, so a partition's rules, which are in another, still see every packet. Rules go
out first, then the process, which delivers what it holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from faults.cuts import CLIENT, Pair
from faults.needs import Helper, HelperError, Node, Undo
from faults.packets.fates import Effects
from faults.packets.netem import MeansError
from faults.packets.standin import MARK, MODULES
from faults.programs import program

QUEUES_PER_FAULT = 32
"""Numbers that a fault has for itself in every namespace, half for links that arrive, half for those that leave."""
START_TIMEOUT_S = 8.0
RESTORE = ("iptables-restore", "-w", "5", "--noflush")
_TABLE = "iptables -w 5 -t mangle"


@dataclass(kw_only=True, slots=True)
class Queues:
    """The links that end at one node, and those that leave it if packets are to be copied there."""

    holder: str
    node: Node
    addresses: Mapping[str, str]
    sources: tuple[str, ...]
    """Whose packets are held here."""
    targets: tuple[str, ...]
    """Whose packets are caught when they leave here: clients', and those that are sent twice."""
    effects: Effects
    seed: int
    _helper: Helper | None = field(default=None, init=False)
    _last: Mapping[str, Any] = field(default_factory=dict, init=False)

    async def apply(self) -> None:
        """Starts the stand-in, then leads the packets through it: without it they would only pass.

        Raises:
            MeansError: with what it or ``iptables-restore`` says.
        """
        try:
            self._helper = await self.node.spawn(program(*MODULES))
            said = await self._helper.ask(json.dumps(self._settings()), timeout_s=START_TIMEOUT_S)
        except HelperError as error:
            raise MeansError(f"the stand-in on {self.node.name}: {error}") from None
        if said != "ready":
            raise MeansError(f"the stand-in on {self.node.name}: {json.loads(said)['error']}")
        done = await self.node.run(RESTORE, stdin=self._rules())
        if done.status:
            raise MeansError(f"iptables-restore on {self.node.name}: {done.stderr.strip() or done.status}")

    async def counts(self) -> Mapping[str, Mapping[str, int]]:
        """What the stand-in did, for each source whose packets it holds and (``to NAME``) each target it copies for.

        Raises:
            HelperError: it is dead.
        """
        if self._helper is not None:
            self._last = json.loads(await self._helper.ask("counts"))
        queues = self._last.get("queues", {})
        names = {**self._arriving(), **{f"to {name}": number for name, number in self._leaving().items()}}
        return {name: queues.get(str(number), {}) for name, number in names.items()}

    @property
    def cpu_s(self) -> float:
        """Processor time that it had used when it was last asked."""
        return float(self._last.get("cpu_s", 0.0))

    async def remove(self) -> str | None:
        """Takes the rules out, then lets the stand-in end. Returns what went wrong."""
        done = await self.node.run(self._scrub())
        if done.status:
            return f"{self.node.name}: status {done.status}: {done.stderr.strip() or 'the rules are still there'}"
        if self._helper is not None:
            await self._helper.close()
            self._helper = None
        return None

    async def left(self) -> Sequence[str]:
        """What of it is in the namespace."""
        done = await self.node.run(("iptables", "-w", "5", "-t", "mangle", "-S"))
        return [line for line in done.stdout.splitlines() if self.holder in line.split()]

    @property
    def undo(self) -> Undo:
        """How a bare process takes the rules out. The stand-in ends by itself when nobody holds its input."""
        argv = list(self.node.command(self._scrub()))
        return Undo(id=f"{self.holder} queues on {self.node.name}", kind="run", arguments={"argv": argv})

    def _first_queue(self) -> int:
        return QUEUES_PER_FAULT * int(self.holder.rpartition("-")[2]) % (1 << 16)

    def _arriving(self) -> Mapping[str, int]:
        return {name: self._first_queue() + place for place, name in enumerate(self.sources)}

    def _leaving(self) -> Mapping[str, int]:
        begin = self._first_queue() + QUEUES_PER_FAULT // 2
        return {name: begin + place for place, name in enumerate(self.targets)}

    def _settings(self) -> list[Mapping[str, Any]]:
        held, copied = replace(self.effects, duplicate=0.0), Effects(duplicate=self.effects.duplicate)
        queues = [("arriving", number, held) for number in self._arriving().values()]
        queues += [
            ("leaving", number, self.effects if name == CLIENT else copied) for name, number in self._leaving().items()
        ]
        return [
            {
                "queue": number,
                "place": place,
                "effects": asdict(effects),
                "seed": f"{self.seed} {self.node.name} {number}",
            }
            for place, number, effects in queues
        ]

    def _rules(self) -> str:
        chain = self.holder
        lines = [f":{chain} - [0:0]"]
        for name, number in self._arriving().items():
            lines.append(f"-A {chain} -s {self.addresses[name]}/32 -j NFQUEUE --queue-num {number} --queue-bypass")
        for name, number in self._leaving().items():
            unmarked = f"-d {self.addresses[name]}/32 -m mark ! --mark {MARK:#x}"
            lines.append(f"-A {chain} {unmarked} -j NFQUEUE --queue-num {number} --queue-bypass")
        lines += [f"-I {hook} -j {chain}" for hook in ("INPUT", *(("OUTPUT",) if self.targets else ()))]
        return "\n".join(["*mangle", *lines, "COMMIT", ""])

    def _scrub(self) -> list[str]:
        """A command that takes the chain out whatever state it is in; succeeds if it is gone afterwards."""
        chain = self.holder
        steps = [f"{_TABLE} -D {hook} -j {chain}" for hook in ("INPUT", "OUTPUT")]
        steps += [f"{_TABLE} -F {chain}", f"{_TABLE} -X {chain}"]
        gone = f"! {_TABLE} -n -L {chain} >/dev/null 2>&1"
        return ["sh", "-c", f"{{ {'; '.join(steps)}; }} 2>/dev/null; {gone}"]


def queues_for(
    pairs: Sequence[Pair],
    *,
    holder: str,
    nodes: Mapping[str, Node],
    addresses: Mapping[str, str],
    effects: Effects,
    seed: int,
) -> list[Queues]:
    """What has to be set up at which nodes. Clients' own side gets nothing, so what they send is never copied."""
    arriving = bool(effects.delay or effects.loss or effects.corrupt or effects.rate)
    wanted: dict[str, tuple[list[str], list[str]]] = {}
    for source, target in pairs:
        if arriving and target != CLIENT:
            wanted.setdefault(target, ([], []))[0].append(source)
        if (effects.duplicate or target == CLIENT) and source != CLIENT:
            wanted.setdefault(source, ([], []))[1].append(target)
    return [
        Queues(
            holder=holder,
            node=nodes[name],
            addresses=addresses,
            sources=tuple(sources),
            targets=tuple(targets),
            effects=effects,
            seed=seed,
        )
        for name, (sources, targets) in sorted(wanted.items())
    ]
