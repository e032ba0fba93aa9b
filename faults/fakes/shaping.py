"""What network faults put into a node's namespace, in memory: queueing disciplines, queues of a firewall, stand-ins.

They understand the very text that faults hand to ``tc``, ``ip`` and ``iptables-restore``, and packets meet the fates
that the real deciders draw. Ways to go wrong are switches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from faults.needs import Completed, HelperError
from faults.packets.fates import Decider, Effects
from faults.packets.journeys import Arrival, Burst, Journeys

LINK_NS = 100_000
"""What a link takes that nobody shapes."""


@dataclass(slots=True)
class FakeQueue:
    """What packets meet at one place, and how many were there."""

    decider: Decider
    counts: dict[str, int] = field(default_factory=lambda: {"packets": 0, "lost": 0, "duplicated": 0})

    @classmethod
    def of(cls, effects: Effects) -> FakeQueue:
        """Always the same packets suffer."""
        return cls(Decider(effects=effects, random=Random(7)))

    def pass_through(self, times_s: Sequence[float], length: int) -> list[float]:
        """When the packets leave that came at these times."""
        left = []
        for time_s in times_s:
            self.counts["packets"] += 1
            twice = self.decider.duplicates()
            self.counts["duplicated"] += twice
            for _ in range(1 + twice):
                fate = self.decider.decide(time_s, length)
                if fate.after_s is None or fate.corrupted:  # a checksum notices
                    self.counts["lost"] += 1
                else:
                    left.append(time_s + fate.after_s)
        return left


@dataclass(slots=True)
class FakeStandin:
    """The stand-in: queues by number, until it is closed or dies."""

    queues: dict[int, FakeQueue] = field(default_factory=dict)
    closed: bool = False
    lame: bool = False
    """Whether it does nothing to packets."""

    async def ask(self, line: str, *, timeout_s: float = 5.0) -> str:
        """The first line says what to do; every other is answered by counts."""
        del timeout_s
        if self.closed:
            raise HelperError("the stand-in is dead")
        if line != "counts":
            for each in json.loads(line):
                effects = Effects() if self.lame else Effects(**each["effects"])
                self.queues[each["queue"]] = FakeQueue.of(effects)
            return "ready"
        return json.dumps({"queues": {number: queue.counts for number, queue in self.queues.items()}, "cpu_s": 0.5})

    async def close(self) -> None:
        """Ends it."""
        self.closed = True


@dataclass(slots=True)
class FakeShaping:
    """One namespace."""

    has_netem: bool = False
    refuses_netem: str | None = None
    """What ``tc`` says to every netem, though the kernel has it."""
    own_discipline: str | None = None
    """The handle of a queueing discipline that somebody else put there."""
    lame: bool = False
    """Whether stand-ins do nothing to packets."""
    stubborn: bool = False
    """Whether nothing can be taken out again."""
    root: bool = False
    netems: dict[str, FakeQueue] = field(default_factory=dict)
    filters: dict[str, str] = field(default_factory=dict)
    """Band by address."""
    chains: dict[str, dict[str, int]] = field(default_factory=dict)
    """By name: queue numbers by ``from ADDRESS`` and ``to ADDRESS``."""
    standins: list[FakeStandin] = field(default_factory=list)

    def is_clean(self) -> bool:
        """Whether nothing is left of any fault."""
        return not (self.root or self.netems or self.filters or self.chains or self.living())

    def living(self) -> list[FakeStandin]:
        """Stand-ins that work."""
        return [each for each in self.standins if not each.closed]

    def spawn(self) -> FakeStandin:
        """A stand-in that waits for its first line."""
        self.standins.append(FakeStandin(lame=self.lame))
        return self.standins[-1]

    def leaving(self, address: str) -> list[FakeQueue]:
        """What packets meet on their way to an address."""
        band = self.filters.get(address)
        return ([self.netems[band]] if band in self.netems else []) + self._queued(f"to {address}")

    def arriving(self, address: str) -> list[FakeQueue]:
        """What packets meet that come from an address."""
        return self._queued(f"from {address}")

    def run(self, argv: Sequence[str], stdin: str) -> Completed | None:
        """What a command comes to; None if it is not about shaping."""
        words = " ".join(argv)
        if argv[0] == "unshare":
            return Completed(status=0 if self.has_netem else 2, stderr="Error: Specified qdisc kind is unknown.")
        if argv[0] == "ip":
            return Completed(status=0, stdout="".join("10.0.0.9 dev eth0 src 10.0.0.8\n" for _ in stdin.splitlines()))
        if argv[0] == "tc":
            return self._show() if "show" in argv else self._batch(stdin, force="-force" in argv)
        if argv[0] == "iptables-restore" and stdin.startswith("*mangle"):
            return self._restore(stdin)
        if "-t mangle" in words:
            return self._mangle(words)
        return None

    def _queued(self, rule: str) -> list[FakeQueue]:
        numbers = [rules[rule] for rules in self.chains.values() if rule in rules]
        found = {number: queue for each in self.living() for number, queue in each.queues.items()}
        return [found[number] for number in numbers if number in found]  # else: --queue-bypass

    def _show(self) -> Completed:
        root = [{"kind": "prio", "handle": "ca50:", "root": True}] if self.root else []
        if self.own_discipline is not None:
            root = [{"kind": "tbf", "handle": self.own_discipline, "root": True}]
        leaves = [
            {
                "kind": "netem",
                "parent": band,
                "packets": queue.counts["packets"] - queue.counts["lost"],
                "drops": queue.counts["lost"],
                "qlen": 0,
            }
            for band, queue in self.netems.items()
        ]
        return Completed(status=0, stdout=json.dumps(root + leaves))

    def _batch(self, text: str, *, force: bool) -> Completed:
        for line in text.splitlines():
            try:
                self._edit(line.split())
            except (KeyError, ValueError) as error:
                if not force:
                    return Completed(status=1, stderr=f"Error: {error}")
        return Completed(status=0)

    def _edit(self, words: Sequence[str]) -> None:
        if words[1] == "del" and self.stubborn:
            return
        match list(words):
            case ["qdisc", "add", "dev", _, "root", *_] if not self.root:
                self.root = True
            case ["qdisc", "add", "dev", _, "parent", band, "handle", _, "netem", *said] if self.root:
                if self.refuses_netem is not None:
                    raise ValueError(self.refuses_netem)
                self.netems[band] = FakeQueue.of(_effects(said))
            case ["filter", "add", *_, "dst", address, "flowid", band]:
                self.filters[address.removesuffix("/32")] = band
            case ["filter", "del", *_, number]:
                band = f"ca50:{int(number):x}"
                self.filters = {address: each for address, each in self.filters.items() if each != band}
            case ["qdisc", "del", "dev", _, "parent", band]:
                del self.netems[band]
            case ["qdisc", "del", "dev", _, "root", *_]:
                self.root = False
            case _:
                raise ValueError(" ".join(words))

    def _restore(self, text: str) -> Completed:
        chain = next(line for line in text.splitlines() if line.startswith(":"))[1:].split()[0]
        rules = re.findall(r"-(s|d) ([0-9.]+)/32 .*--queue-num ([0-9]+) --queue-bypass", text)
        if chain in self.chains or "-I INPUT" not in text:
            return Completed(status=2, stderr="iptables-restore: line 2 failed")
        hooks = {"s": "from", "d": "to"}
        self.chains[chain] = {f"{hooks[side]} {address}": int(number) for side, address, number in rules}
        return Completed(status=0)

    def _mangle(self, words: str) -> Completed:
        if words.endswith("-S"):
            return Completed(status=0, stdout="".join(f"-N {chain}\n" for chain in self.chains))
        found = [chain for chain in self.chains if re.search(rf"{chain}\b", words)]
        if self.stubborn and found:
            return Completed(status=1)
        for chain in found:
            del self.chains[chain]
        return Completed(status=0)


def journeys(burst: Burst, queues: Sequence[FakeQueue], *, passes: bool) -> Journeys:
    """What becomes of a burst that meets these queues one after the other."""
    first: dict[int, Arrival] = {}
    copies = 0
    for number in range(burst.count if passes else 0):
        sent_ns = round(number * burst.every_s * 1e9)
        times = [sent_ns / 1e9]
        for queue in queues:
            times = queue.pass_through(times, burst.size + 28)
        for time_s in times:
            copies += number in first
            arrived_ns = round(time_s * 1e9) + LINK_NS
            first.setdefault(number, Arrival(number=number, sent_ns=sent_ns, arrived_ns=arrived_ns))
    arrivals = sorted(first.values(), key=lambda each: each.arrived_ns)
    return Journeys(sent=burst.count, arrivals=tuple(arrivals), copies=copies)


def _effects(words: Sequence[str]) -> Effects:
    """What netem's words mean."""
    text = " ".join(words)
    found: dict[str, float | int | str] = {
        name: float(share) for name, share in re.findall(r"(loss|duplicate|corrupt|reorder) ([0-9.]+)%", text)
    }
    numbers: Mapping[str, str] = {
        "delay": r"delay ([0-9]+)us",
        "jitter": r"delay [0-9]+us ([0-9]+)us",
    }
    for name, pattern in numbers.items():
        if match := re.search(pattern, text):
            found[name] = 1000 * int(match[1])
    if match := re.search(r"rate ([0-9]+)bit", text):
        found["rate"] = int(match[1])
    if "jitter" in found:
        match = re.search(r"distribution (\w+)", text)
        found["distribution"] = match[1] if match else "uniform"
    return Effects(**found)  # type: ignore[arg-type]
