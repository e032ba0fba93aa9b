"""A cluster that exists only in memory: fakes of everything in :mod:`faults.needs`, for tests of faults and of
whatever plays them.

The fakes behave; they record nothing for the sake of assertions. A fake firewall understands the very text that
faults hand to ``iptables-restore``, and the fake links deliver by its rules. Ways to go wrong are switches: rules
that do not bite, a process that shrugs off signals, a command that fails.
"""

from __future__ import annotations

import itertools
import json
import signal as signals
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from faults.cuts import CLIENT, ActiveCuts, Pair
from faults.disks import decay
from faults.fakes.limits import FakeFileLimit, FakeLimits
from faults.fakes.shaping import FakeShaping, FakeStandin, journeys
from faults.needs import (
    Admin,
    Completed,
    Dates,
    Disk,
    DiskState,
    Files,
    HelperError,
    Limits,
    Loss,
    Messages,
    Node,
    ProcessState,
    Undo,
)
from faults.packets.journeys import Burst, Journeys
from faults.packets.shaped import ShapedLinks

CLIENT_ADDRESS = "10.0.0.1"


@dataclass(slots=True)
class FakeFirewall:
    """The chains of one network namespace."""

    chains: dict[str, list[str]] = field(default_factory=lambda: {"INPUT": [], "OUTPUT": []})
    mute: bool = False
    """Whether it drops what it should reject."""
    toothless: bool = False
    """Whether what is put in never gets there, though nobody says so."""

    def restore(self, text: str) -> Completed:
        """``iptables-restore --noflush``: all of it, or nothing."""
        if self.toothless:
            return Completed(status=0)
        chains = {name: list(rules) for name, rules in self.chains.items()}
        try:
            for line in text.splitlines():
                self._edit(chains, line.split())
        except (KeyError, ValueError) as error:
            return Completed(status=2, stderr=f"iptables-restore: {error} does not exist")
        self.chains = chains
        return Completed(status=0)

    def told(self) -> str:
        """``iptables -S``."""
        return "".join(f"-A {chain} {rule}\n" for chain, rules in self.chains.items() for rule in rules)

    def scrub(self, chain: str) -> None:
        """Takes a chain out, whatever state it is in."""
        self.chains.pop(chain, None)
        for rules in self.chains.values():
            rules[:] = [rule for rule in rules if rule != f"-j {chain}"]

    def drops(self, hook: str, source: str, target: str) -> bool:
        """Whether a packet is dropped at ``INPUT`` or ``OUTPUT``."""
        lists = [self.chains[rule.removeprefix("-j ")] for rule in self.chains[hook]]
        match = f"! -i lo -s {source}/32 -j " if hook == "INPUT" else f"-d {target}/32 -j "
        return any(rule.startswith((f"{match}DROP", f"{match}REJECT")) for rules in lists for rule in rules)

    def refuses(self, target: str) -> bool:
        """Whether who sends to this address from here is told that it does not get through."""
        return not self.mute and any(
            rule.startswith(f"-d {target}/32 -j REJECT") for rules in self.chains.values() for rule in rules
        )

    def is_clean(self) -> bool:
        """Whether nothing is left of any fault."""
        return self.chains == {"INPUT": [], "OUTPUT": []}

    @staticmethod
    def _edit(chains: dict[str, list[str]], words: Sequence[str]) -> None:
        match list(words):
            case ["*filter"] | ["COMMIT"]:
                pass
            case [chain, "-", _] if chain.startswith(":"):
                chains[chain[1:]] = []
            case ["-A", chain, *rule]:
                chains[chain].append(" ".join(rule))
            case ["-I", chain, *rule]:
                chains[chain].insert(0, " ".join(rule))
            case ["-D", chain, *rule]:
                chains[chain].remove(" ".join(rule))
            case ["-F", chain]:
                chains[chain].clear()
            case ["-X", chain]:
                del chains[chain]
            case _:
                raise ValueError(" ".join(words))


_pids = itertools.count(1_000_000_000)
"""Larger than any real process id: a mistake can hit nobody."""


@dataclass(slots=True)
class FakeHelper:
    """Answers as ``answer`` says, until it is closed."""

    answer: Callable[[str], str] = str
    closed: bool = False

    async def ask(self, line: str, *, timeout_s: float = 5.0) -> str:
        """At once."""
        del timeout_s
        if self.closed:
            raise HelperError("the helper is dead")
        return self.answer(line)

    async def close(self) -> None:
        """Ends it."""
        self.closed = True


@dataclass(slots=True)
class FakeDisk:
    """A disk that is a state, and what became of its marks."""

    loss: Loss = field(default_factory=lambda: Loss(synced_kept=True, unsynced_lost=True))
    """What a failure of the power does to it."""
    stubborn: bool = False
    """Whether nothing that is done to it has any effect."""
    losses: int = 0
    """How often its power failed."""
    _state: DiskState = DiskState.WORKS

    async def lose_unsynced(self) -> Loss:
        """As ``loss`` says."""
        self.losses += 1
        self._state = DiskState.WORKS
        return self.loss

    async def fill(self) -> None:
        """Full."""
        self._become(DiskState.FULL)

    async def free(self) -> None:
        """No longer full."""
        self._end(DiskState.FULL)

    async def make_read_only(self) -> None:
        """Read-only."""
        self._become(DiskState.READ_ONLY)

    async def die(self) -> None:
        """Dead."""
        self._become(DiskState.DEAD)

    async def revive(self) -> None:
        """No longer dead or read-only."""
        self._end(DiskState.DEAD, DiskState.READ_ONLY)

    async def state(self) -> DiskState:
        """As it is."""
        return self._state

    def undo(self, state: DiskState) -> Undo | None:
        """Says what would be undone."""
        if state is not DiskState.FULL:
            return None
        return Undo(id=f"full disk {id(self)}", kind="run", arguments={"argv": ["free"]})

    def _become(self, state: DiskState) -> None:
        if not self.stubborn:
            self._state = state

    def _end(self, *states: DiskState) -> None:
        if not self.stubborn and self._state in states:
            self._state = DiskState.WORKS


@dataclass(slots=True)
class FakeNode:
    """One node: a process that is a state, and a firewall."""

    name: str
    address: str
    firewall: FakeFirewall = field(default_factory=FakeFirewall)
    shaping: FakeShaping = field(default_factory=FakeShaping)
    deaf_to: frozenset[int] = frozenset()
    """Signals that it shrugs off, like a process that hangs in the kernel."""
    broken_start: bool = False
    """Whether the server dies at once when it is started."""
    rotten: bool = False
    """Whether it does so as long as it has any data."""
    disk: Disk | None = None
    files: Files | None = None
    limits: Limits | None = None
    file_limit: FakeFileLimit = field(default_factory=FakeFileLimit)
    data: str = "/data"
    log: str = "/log/node.log"
    stored: list[str] = field(default_factory=lambda: ["log"])
    """What is in its data folder."""
    argv: Sequence[str] = ("server",)
    dismissed: bool = False
    broken_tools: bool = False
    """Whether every command in its namespace fails."""
    helper: Callable[[], Callable[[str], str]] = lambda: str
    """What answers the lines of a helper that is started beside it; a line is answered with itself."""
    _state: ProcessState = ProcessState.RUNNING
    _pid: int = field(default_factory=lambda: next(_pids))

    async def run(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """Knows ``iptables-restore``, and the command that takes a chain out."""
        if self.broken_tools:
            return Completed(status=1, stderr="no such tool")
        if (shaped := self.shaping.run(argv, stdin or "")) is not None:
            return shaped
        if argv[0] == "iptables-restore":
            return self.firewall.restore(stdin or "")
        if tuple(argv) == ("iptables", "-w", "5", "-S"):
            return Completed(status=0, stdout=self.firewall.told())
        if argv[0] == "python3":  # faults.packets.knocking
            told = {address: ["TCP", "UDP"] * self.firewall.refuses(address) for address in json.loads(stdin or "[]")}
            return Completed(status=0, stdout=json.dumps(told))
        for chain in [name for name in self.firewall.chains if name in " ".join(argv)]:
            if chain not in ("INPUT", "OUTPUT"):
                self.firewall.scrub(chain)
        return Completed(status=0)

    async def host(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """The same; clients, who send from here, are refused by whoever cuts them off. Data rots in a real folder."""
        if argv[0] == "python3" and '["disks.decay"' in argv[-1] and not self.broken_tools:
            return Completed(status=0, stdout=json.dumps(decay.answer(json.loads(stdin or "{}"))))
        if "prlimit" in " ".join(argv[2:3]) and not self.broken_tools:
            return self.file_limit.answer(argv[4:])
        if argv[0] == "python3" and not self.broken_tools:
            told = {address: ["TCP", "UDP"] for address in json.loads(stdin or "[]")}
            return Completed(status=0, stdout=json.dumps(told))
        if argv[0] == "find" and not self.broken_tools:
            if "-delete" in argv:
                self.stored.clear()
            return Completed(status=0, stdout="\n".join(self.stored))
        return await self.run(argv, stdin=stdin)

    async def spawn(self, argv: Sequence[str], *, network: bool = True) -> FakeHelper | FakeStandin:
        """The stand-in for netem, or a helper that answers every line with itself."""
        del network
        if self.broken_tools:
            raise HelperError("no such tool")
        if '"resources.burden"' in argv[-1] and isinstance(self.limits, FakeLimits):
            return FakeHelper(answer=self.limits.burden)
        return self.shaping.spawn() if "Standin" in argv[-1] else FakeHelper(self.helper())

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        """Says where it would run."""
        return ["in", self.name, *argv]

    async def signal(self, number: int) -> None:
        """SIGKILL, SIGTERM, SIGSTOP and SIGCONT do what they do."""
        if number in self.deaf_to or self._state is ProcessState.DEAD:
            return
        deaths = dict.fromkeys((signals.SIGKILL, signals.SIGTERM), ProcessState.DEAD)
        effect = {**deaths, signals.SIGSTOP: ProcessState.STOPPED}
        self._state = effect.get(signals.Signals(number), ProcessState.RUNNING)

    def dismiss(self) -> None:
        """Takes note of it."""
        self.dismissed = True

    async def start(self) -> None:
        """Runs again, as another process, and writes to its data."""
        self.dismissed = False
        broken = self.broken_start or (self.rotten and bool(self.stored))
        self.stored.append("log")
        self._state = ProcessState.DEAD if broken else ProcessState.RUNNING
        self._pid = next(_pids)

    async def state(self) -> ProcessState:
        """As it is; what is in a frozen group stands still."""
        frozen = self.limits is not None and await self.limits.frozen()
        return ProcessState.STOPPED if frozen and self._state is ProcessState.RUNNING else self._state

    def pids(self) -> Sequence[int]:
        """One process, while it lives."""
        return [] if self._state is ProcessState.DEAD else [self._pid]


@dataclass(slots=True)
class FakeLinks:
    """Delivers by the nodes' firewalls."""

    nodes: Mapping[str, FakeNode]
    cuts: ActiveCuts = field(default_factory=ActiveCuts)
    shaped: ShapedLinks = field(default_factory=ShapedLinks)
    leaking: set[Pair] = field(default_factory=set)
    """Directions that no rule stops."""
    dead: set[Pair] = field(default_factory=set)
    """Directions that are closed without any rule."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """The nodes' and the clients'."""
        return {**{name: node.address for name, node in self.nodes.items()}, CLIENT: CLIENT_ADDRESS}

    def filter_line(self, node: str) -> None:
        """There is no kernel here: rules are made by commands."""
        del node

    async def probe(self, pairs: Sequence[Pair], *, timeout_s: float) -> Mapping[Pair, bool]:
        """At once."""
        del timeout_s
        return {pair: self._passes(pair) for pair in pairs}

    async def measure(self, pairs: Sequence[Pair], burst: Burst) -> Mapping[Pair, Journeys]:
        """At once, too: what the namespaces of both ends do to packets."""
        found = {}
        for source, target in pairs:
            queues = self.nodes[source].shaping.leaving(self.addresses[target]) if source in self.nodes else []
            queues += self.nodes[target].shaping.arriving(self.addresses[source]) if target in self.nodes else []
            found[source, target] = journeys(burst, queues, passes=self._passes((source, target)))
        return found

    def _passes(self, pair: Pair) -> bool:
        if pair in self.leaking or pair in self.dead:
            return pair in self.leaking
        source, target = (self.addresses[name] for name in pair)
        out = pair[0] in self.nodes and self.nodes[pair[0]].firewall.drops("OUTPUT", source, target)
        inward = pair[1] in self.nodes and self.nodes[pair[1]].firewall.drops("INPUT", source, target)
        return not (out or inward)


@dataclass(slots=True)
class FakeUndoList:
    """Holds entries in memory."""

    entries: dict[str, Undo] = field(default_factory=dict)

    async def register(self, undo: Undo) -> None:
        """Holds it."""
        self.entries[undo.id] = undo

    async def discharge(self, undo_id: str) -> None:
        """Forgets it."""
        self.entries.pop(undo_id, None)


class FakeCluster:
    """Nodes by these names, all running, all links open."""

    def __init__(self, names: Iterable[str]) -> None:
        self.fake_nodes = {name: FakeNode(name, f"10.0.1.{number}") for number, name in enumerate(names, 1)}
        self.nodes: Mapping[str, Node] = dict(self.fake_nodes)
        self.links = FakeLinks(self.fake_nodes)
        self.undo = FakeUndoList()
        self.admin: Admin | None = None
        self.messages: Messages | None = None
        self.dates: Dates | None = None

    def pairs(self) -> list[Pair]:
        """Every direction between two nodes."""
        return [(source, target) for source in self.nodes for target in self.nodes if source != target]


async def no_sleep(seconds: float) -> None:
    """For faults that wait, in tests that do not."""
    del seconds
