"""What a fault needs of the world: small protocols that substrates and systems implement.

``faults`` knows no substrate, no system and no Raft: it is handed objects that fulfil these protocols, with targets
already resolved to node names. Beside each protocol's real implementations (in ``harness``) there is a fake in
:mod:`faults.fakes.cluster` for tests.
"""

from __future__ import annotations

import asyncio
import enum
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from faults.cuts import ActiveCuts
from faults.filesystem.rules import Rule, Tally
from faults.packets.journeys import Burst, Journeys
from faults.packets.shaped import ShapedLinks


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """A command that ended: its exit status and what it printed."""

    status: int
    stdout: str = ""
    stderr: str = ""


class ProcessState(enum.StrEnum):
    """What the operating system says about a node's server process."""

    RUNNING = "running"
    STOPPED = "stopped"  # SIGSTOP
    DEAD = "dead"


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """What became of two marks that were written to a disk just before it lost its power: one synced, one not."""

    synced_kept: bool
    unsynced_lost: bool


class DiskState(enum.StrEnum):
    """What the harness's own try at a disk came to: a small file is made, written and removed, a mark is read."""

    WORKS = "works"
    FULL = "full"  # ENOSPC
    READ_ONLY = "read-only"  # EROFS
    DEAD = "dead"  # EIO on everything


class Disk(Protocol):
    """The file system that a node's data is on, where the run gave the node one of its own (storage ``image``).

    What is done to it is undone by the method that each names; all of them may be called twice.
    """

    async def lose_unsynced(self) -> Loss:
        """What was written and not synced is gone, as after a failure of the power; what was synced is there again.

        The node's processes must be dead: nobody may have a file open.
        """

    async def fill(self) -> None:
        """Takes all the room that is left: the node's writes fail with ENOSPC until :meth:`free`."""

    async def free(self) -> None:
        """Gives back what :meth:`fill` took."""

    async def make_read_only(self) -> None:
        """Writes and syncs fail with EROFS, on open files, too, and what was not synced is lost; until
        :meth:`revive`.
        """

    async def die(self) -> None:
        """Everything fails with EIO, reads too, and what was not synced is lost; until :meth:`revive`."""

    async def revive(self) -> None:
        """A disk that died or became read-only works again, with what was synced. The node's processes must be dead,
        as for :meth:`lose_unsynced`.
        """

    async def state(self) -> DiskState:
        """What a try comes to. Nothing is synced by it."""

    def undo(self, state: DiskState) -> Undo | None:
        """How a bare process ends this state after the controller's death: to be registered before the deed. None if
        there is nothing to end: a disk that is dead or read-only goes with its node.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One operation of the harness's own on a node's file system: the name of its error, if any (``EIO``)."""

    error: str | None
    took_ms: float
    bytes: int | None = None
    """How many it wrote or read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesStatus:
    """What a node's file system has counted."""

    operations: Mapping[str, int]
    """All since it was mounted, by kind."""
    tallies: Mapping[str, Sequence[Tally]]
    """What became of each rule in force, by owner."""
    crash: Mapping[str, Any] | None
    """The operation at which a rule killed the node, as evidence; None if none has since :meth:`Files.thaw`."""


class Files(Protocol):
    """The user-space file system between a node and its data, where the run put one there (storage ``fuse``).

    Every method raises HelperError if its process is dead or does not answer.
    """

    async def lay(self, owner: str, rules: Sequence[Rule]) -> None:
        """These rules of this owner are in force from now on, and no others of his, with new counts; none end them."""

    async def status(self) -> FilesStatus:
        """What was counted until now."""

    async def probe(self, operations: Sequence[str]) -> Mapping[str, Attempt]:
        """Tries each operation on files of the harness's own, which meet every rule whatever its path and probability,
        but for crashes.
        """

    async def thaw(self) -> None:
        """After a crash: lets whoever comes now do something again. The killed node's processes must be gone."""

    def heal_undo(self) -> Undo:
        """How a bare process ends all rules: to be registered before any is laid down."""


Restraint = Literal["cpu", "memory", "freezer"]
"""What a group of processes can be held to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the processes of a node have used and run into, as the kernel counted since their group exists."""

    cpu_s: float
    throttled: int
    """Periods in which they had used up their share of the processor and were held back."""
    memory_bytes: int
    """In use now, what is cached of files included."""
    memory_hits: int
    """How often more was wanted than the limit allowed."""
    oom_kills: int
    """How many of them were killed for memory."""


class Limits(Protocol):
    """The group of a node's processes and of all whom they start, and what the operating system lets it use.

    Everything raises OSError with the kernel's reason where it refuses.
    """

    @property
    def able(self) -> frozenset[Restraint]:
        """What it can be held to on this machine."""

    async def outside(self, pids: Sequence[int]) -> Sequence[int]:
        """Those of these processes that are not in the group (and live)."""

    async def usage(self) -> Usage:
        """What the kernel counted."""

    async def values(self, restraint: Restraint) -> Mapping[str, str]:
        """What is set now, by the kernel's file, in the order in which it can be written back. Plain JSON."""

    async def limit(self, restraint: Restraint, amount: float) -> None:
        """Sets a limit: ``cpu``, a share of one processor; ``memory``, bytes (swap included)."""

    async def restore(self, values: Mapping[str, str]) -> None:
        """Writes back what :meth:`values` said. No error if the group is gone: with it went what was set."""

    def restoring(self, values: Mapping[str, str]) -> Sequence[str]:
        """The same as a command on the node's host; safe to repeat, and when the group is gone."""

    def door(self, restraint: Restraint) -> str:
        """The file into which a process of the node's host writes its own id (0) to come under the restraint."""

    async def frozen(self) -> bool:
        """Whether every process of the group stands still, as the kernel says."""

    async def freeze(self) -> None:
        """Stops them all, unseen by themselves and by their parents."""

    async def thaw(self) -> None:
        """Lets them go on. No error if they do, or if the group is gone."""

    def thawing(self) -> Sequence[str]:
        """The same as a command on the node's host; safe to repeat, and when the group is gone."""


class Helper(Protocol):
    """A process of the harness's own on a node's host, not of the node's tree: it answers lines with lines.

    It ends when its input ends, and then undoes what it did: whoever started it is dead, or has lost the host.
    """

    async def ask(self, line: str, *, timeout_s: float = 5.0) -> str:
        """Sends a line; returns the next line that it prints.

        Raises:
            HelperError: it is dead (with what it said last), or does not answer in time.
        """

    async def close(self) -> None:
        """Ends its input and waits for it to end. Safe to call twice, and when it is dead."""


class HelperError(Exception):
    """A helper died or does not answer."""


class Node(Protocol):
    """One node: a host with a network namespace, and the server process on it."""

    name: str
    address: str
    """The IPv4 address by which other nodes and clients reach it."""
    argv: Sequence[str]
    """The command by which its server is started. Another one may be set while the server is dead; it holds from the
    next start on.
    """

    @property
    def disk(self) -> Disk | None:
        """The node's own disk; None if its data is in a folder of the host's."""

    @property
    def files(self) -> Files | None:
        """What stands between the node and its data; None if nothing does."""

    @property
    def limits(self) -> Limits | None:
        """Its resources; None if they cannot be limited here."""

    @property
    def data(self) -> str:
        """The folder of its data, as :meth:`host` sees it."""

    @property
    def log(self) -> str:
        """The file that holds what its server printed, as :meth:`host` sees it."""

    async def run(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """Runs a privileged command inside the node's *network namespace* (tools come from outside any image)."""

    async def host(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """Runs a privileged command on the node's host, where its process ids and its data are."""

    async def spawn(self, argv: Sequence[str], *, network: bool = True) -> Helper:
        """Starts a helper, in the node's network namespace or on its host. ``argv`` begins with a program of the
        host's; ``python3 -m faults.x`` means an interpreter that can import ``faults`` there.

        Raises:
            HelperError: it cannot be started.
        """

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        """The same as an argument vector that the watchdog can run on this machine after the controller is dead."""

    async def signal(self, number: int) -> None:
        """Signals every process of the server's tree. No error if it is dead."""

    async def start(self) -> None:
        """Starts the server again, with the same data, after it died."""

    def dismiss(self) -> None:
        """From now until its next start the server may end by itself, and that is no crash: whoever is removed from a
        membership leaves.
        """

    async def state(self) -> ProcessState:
        """The observed state of the server process."""

    def pids(self) -> Sequence[int]:
        """Process ids of the server's tree, as this machine sees them; empty when dead."""


class Links(Protocol):
    """The harness's own view of the network between nodes."""

    @property
    def cuts(self) -> ActiveCuts:
        """What network faults cut right now."""

    @property
    def shaped(self) -> ShapedLinks:
        """What network faults delay, lose and spoil right now."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """IPv4 address of every endpoint: the nodes, and :data:`faults.cuts.CLIENT` if that is known."""

    def filter_line(self, node: str) -> socket.socket | None:
        """A netlink socket to the packet filter (nf_tables) in the node's network namespace, opened at first use and
        kept by the links; None where the controller may not have one, or the kernel has no such filter: then rules
        are made by commands.
        """

    async def probe(self, pairs: Sequence[tuple[str, str]], *, timeout_s: float) -> Mapping[tuple[str, str], bool]:
        """For each (source, target): did a datagram from source's namespace reach target's? One way, all at once."""

    async def measure(self, pairs: Sequence[tuple[str, str]], burst: Burst) -> Mapping[tuple[str, str], Journeys]:
        """For each (source, target): what became of a burst of datagrams, timed one way by one clock, all at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Undo:
    """One thing to undo, in words that a bare process can carry out after the controller is dead.

    ``kind`` is ``run`` (``argv``: a command), ``continue`` or ``kill`` (``pid`` and ``pid_start``: a process told by
    its start time in clock ticks, so that a recycled pid is never hit; the list fills it in when it is not given),
    ``remove`` (``path``: a file or folder) or ``container`` / ``docker_network`` (``id``).
    """

    id: str
    kind: str
    arguments: Mapping[str, Any]
    after_s: float | None = None
    """The dead man's limit: undone after so long even if the controller lives (and may be undone once more later)."""
    node: str | None = None
    """On whose host, for kinds that name a process or a path there; None: on this machine."""


class UndoList(Protocol):
    """Held by the watchdog: an entry is registered *before* the deed, and discharged after healing was verified."""

    async def register(self, undo: Undo) -> None:
        """Returns when the watchdog has confirmed that it holds the entry."""

    async def discharge(self, undo_id: str) -> None:
        """Forgets an entry. No error if it is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member of the system's cluster. ``id`` is its identity: a node that comes back under a new one is, to the
    system, somebody else. ``started``: it has joined at least once.
    """

    node: str
    id: str
    voter: bool
    started: bool


class AdminError(Exception):
    """The system refused, or did not answer in time; the text says which, in the system's own words. ``refused``: it
    certainly has changed nothing.
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class Admin(Protocol):
    """Membership and leadership, by the calls that the system's operators use.

    Changes may be asked of any node that answers; what was asked for in vain is told by :class:`AdminError`. In doubt
    the membership is read again: nothing here is undone by itself.
    """

    changing: asyncio.Lock
    """Held by whoever changes the membership, from the first request until everybody is a voter or gone: a node that
    joins must know exactly the members that there are, and two changes at once are more than Raft's simple way allows.
    """

    async def members(self, node: str) -> Sequence[Member] | None:
        """The membership as this node has it applied; None if it does not answer."""

    async def leader(self, node: str) -> str | None:
        """Who leads, as this node believes; None if it knows nobody, or does not answer."""

    async def applied(self, node: str) -> int | None:
        """Index of the last log entry that this node has applied; None if it does not answer."""

    async def remove(self, member: Member) -> None:
        """Takes a member out.

        Raises:
            AdminError: refused (it would break the quorum), or no answer.
        """

    async def add(self, node: str) -> Member:
        """Enters a node under a new identity, without a vote if the system knows such members. It is not started.

        Raises:
            AdminError: refused, or no answer.
        """

    async def joining(self, node: str, argv: Sequence[str]) -> Sequence[str]:
        """The command by which the node, once entered and without data, is started to join: ``argv``, changed.

        Raises:
            AdminError: nobody tells who the members are.
        """

    async def promote(self, member: Member) -> None:
        """Gives a member its vote. No error if it has one.

        Raises:
            AdminError: refused (it lags behind too far yet), or no answer.
        """

    async def transfer(self, node: str) -> None:
        """Asks the leader to hand its leadership to this node.

        Raises:
            AdminError: refused, nobody leads, or no answer.
        """


@runtime_checkable
class JointAdmin(Protocol):
    """What an :class:`Admin` may be able to do beyond that: any change at once (Raft's joint consensus)."""

    async def change_voters(self, nodes: Sequence[str]) -> None:
        """The members on these nodes vote, and nobody else: who had a vote and is not named is a member no more.

        Raises:
            AdminError: refused (somebody lags behind too far yet, or is no member), or no answer.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageRule:
    """What becomes of certain messages that a node sends (``out``) or receives (``in``).

    ``action``: ``drop``, ``delay`` (by ``delay_ns``), ``duplicate`` (the second so much later) or ``reorder`` (it waits
    until the next one has gone the same way, at most so long). ``types`` and ``peers`` empty: all. ``count``: of so
    many at most; None: any number.
    """

    name: str
    action: str
    types: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    directions: tuple[str, ...] = ("out", "in")
    delay_ns: int = 0
    probability: float = 1.0
    count: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageTally:
    """A rule in force at a node, as the node tells it: ``matched`` messages were of its kind, and it took hold of
    ``hits`` of them.
    """

    rule: MessageRule
    matched: int
    hits: int


class MessagesError(Exception):
    """The node refused, or did not answer in time; the text says which."""


class Messages(Protocol):
    """Single messages between nodes, by type and peer: the hook in the system's own transport.

    A rule ends by itself when its time is over, whether anybody can reach the node or not; setting the same rule again
    lets it last longer and go on counting. A node that starts again has none.
    """

    async def set(self, node: str, rule: MessageRule, *, lasts_s: float) -> Sequence[MessageTally]:
        """Puts it in force from now on for so long; all that are in force then.

        Raises:
            MessagesError: refused, or no answer.
        """

    async def clear(self, node: str, name: str) -> Sequence[MessageTally]:
        """Ends a rule (no error if there is none); all that are in force then.

        Raises:
            MessagesError: no answer.
        """


class Dates(Protocol):
    """What the servers themselves take the time of day to be: a witness who was not told what to say."""

    async def date(self, node: str) -> float | None:
        """Seconds since the epoch by the server's own clock; None if it does not answer at once."""

    @property
    def date_precision_s(self) -> float:
        """How far what it says may lie behind what its clock shows."""


class Cluster(Protocol):
    """All that a fault may touch."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """By name, in the cluster's order."""

    @property
    def links(self) -> Links:
        """The network between them."""

    @property
    def undo(self) -> UndoList:
        """What the watchdog would do if the controller died now."""

    @property
    def admin(self) -> Admin | None:
        """The system's own administration: who belongs to it, who leads; None if it has none that we can use."""

    @property
    def messages(self) -> Messages | None:
        """The hook in the system's transport; None if it has none."""

    @property
    def dates(self) -> Dates | None:
        """What servers say the time is; None if nobody asks them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What the harness's own probe saw: did the fault bite, or did the healing hold? ``evidence`` is plain JSON."""

    holds: bool
    evidence: Mapping[str, Any] = field(default_factory=dict)
    hit_nothing: str | None = None
    """Of a healing: why it is known by now that the fault, though it was in force, took hold of nothing at all."""


class NotNowError(Exception):
    """What an injection needs is not there just now (nobody leads, no majority answers), and nothing was done yet.

    A fault that was drawn at random is then left out, with this reason; one that was asked for did not bite.
    """


class Fault(Protocol):
    """One fault with resolved targets, ready to be injected once and healed once."""

    async def inject(self) -> Proof:
        """Registers the undo, does the deed, verifies that it bit.

        Raises:
            NotNowError: it cannot be done just now, and nothing was done.
        """

    async def heal(self) -> Proof:
        """Undoes the deed (safe to call twice, and after a failed inject), verifies it, discharges the undo."""
