"""``disk``: the disk under a node's data is slow, fails, is full, loses a part of a write, or is where the node dies.

A file system of ours lies between the node and its data (:mod:`faults.filesystem`): the node's own system calls
meet the rules of the fault, whatever language it is written in. A **fail point** (``crash``) holds one operation, the
n-th sync, write or rename of certain files, kills the node's whole tree before or after it takes effect, and if asked
loses what was not synced just then: what ``kill`` and ``power`` hit by luck, hit on purpose.

Proof of the bite: the harness makes the very system calls on files of its own in the same file system, which meet every
rule whatever its path and probability, and sees the error, the wait, the part. How many of the *node's* operations
were hit is told when the fault is healed; it may be none. A fail point bit when the file system has killed the node at
that operation and nothing of its tree is left. One that the node does not come to within 8 s is taken back: nothing
was done.

Proof of healing: the same calls succeed at once, and the node runs; it is started again if it died. A node that
stops itself when its disk fails is right to do so: until it is started again, its end is the fault's doing.

Not covered: the kernel caches what was read, so a fault on reads hits only what goes to the disk, as on a real
machine. What the file system loses is what ext4 may lose, and no more (:mod:`faults.filesystem.journal`). A node that
survives its disk's trouble is watched less closely than before: if it ends by itself later, that is excused, too.

Sources: Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014); Rebello et al., "Can Applications Recover
from fsync Failures?" (ATC 2020); Ganesan et al., "Redundancy Does Not Imply Fault Tolerance" (FAST 2017); LazyFS;
etcd's gofail points.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from faults.disks.failpoint import FailPoint
from faults.disks.trouble import DiskTrouble
from faults.durations import Duration, format_duration
from faults.family import Claim, Parameters, Resolved, Setup, Target, Unprepared, check_targets
from faults.filesystem.rules import OPERATIONS, WRITING, Rule
from faults.needs import Cluster

DELAY_NS = 100_000_000
DELAY_NS_MAX = 3_000_000_000
NUMBER_MAX = 1_000_000

Operation = Literal[
    "read", "open", "list", "stat", "write", "fsync", "truncate", "allocate", "create", "unlink", "rename", "link",
    "mkdir", "rmdir", "attributes",
]  # fmt: skip
Kind = Literal["slow", "error", "full", "short-write", "torn-write", "read-only", "dead", "crash"]
_NAMED: Mapping[str, tuple[Operation, ...]] = {
    "slow": ("read", "write", "fsync"),
    "error": ("read", "write", "fsync"),
    "short-write": ("write",),
}
"""What is hit if nothing is said, where something can be said."""


class Crash(Parameters):
    """A fail point."""

    at: Operation = "fsync"
    number: int = Field(default=1, ge=1, le=NUMBER_MAX)
    """Which of them, counted from the injection, or from the node's start."""
    path: str = Field(default="*", min_length=1)
    side: Literal["before", "after"] = "before"
    power: bool = False
    """Whether what is not synced just then is lost."""
    since: Literal["now", "start"] = "now"
    """``start``: the node is killed and started first, and counted from there."""


class DiskParameters(Parameters):
    """What the disk does. For how long is the schedule's ``for``."""

    target: Target = "one"
    kind: Kind | None = None
    """``slow`` if nothing is said, ``crash`` if a fail point is described."""
    operations: Annotated[tuple[Operation, ...], Field(strict=False, min_length=1)] | None = None
    path: str = Field(default="*", min_length=1)
    """A pattern of the path below the node's data folder; of the last name in it, if it has no slash."""
    probability: float = Field(default=1.0, gt=0, le=1)
    delay: Duration | None = None
    error: Literal["EIO", "ENOSPC", "EDQUOT", "EROFS", "EAGAIN", "EINTR"] | None = None
    crash: Crash | None = None

    @model_validator(mode="after")
    def _check(self) -> DiskParameters:
        kind = self.effective
        goes_with: Sequence[tuple[str, bool, Sequence[str]]] = (
            ("operations", self.operations is not None, ("slow", "error")),
            ("probability", self.probability != 1.0, tuple(_NAMED)),
            ("path", self.path != "*", (*_NAMED, "torn-write")),
            ("delay", self.delay is not None, ("slow",)),
            ("error", self.error is not None, ("error",)),
            ("crash", self.crash is not None, ("crash",)),
        )
        for name, said, kinds in goes_with:
            if said and kind not in kinds:
                hint = "; a fail point has its own, inside `crash`" if kind == "crash" and name == "path" else ""
                raise ValueError(f"`{name}` goes with `kind: {' or '.join(kinds)}`, not with {kind}{hint}")
        if self.delay is not None and not 0 < self.delay <= DELAY_NS_MAX:
            raise ValueError(f"`delay` must be longer than nothing and at most {format_duration(DELAY_NS_MAX)}")
        return self

    @property
    def effective(self) -> Kind:
        """The kind, also when none was named."""
        return self.kind or ("crash" if self.crash is not None else "slow")


class DiskFamily(Unprepared):
    """See the module."""

    name = "disk"
    description = "the node's disk is slow, fails, is full or torn, or the node dies at its n-th sync, write or rename"
    Parameters = DiskParameters
    needs = frozenset({"disk", "kill"})
    claims: frozenset[Claim] = frozenset({"storage", "process"})

    def setup(self, parameters: object) -> Setup:
        """A file system of ours under each node."""
        del parameters
        return Setup(storage=frozenset({"fuse"}))

    def resolve(
        self, parameters: DiskParameters, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random
    ) -> Resolved:
        """The targets and the one rule.

        Raises:
            ValueError: somebody among them is no node, or nobody is named.
        """
        del random
        check_targets(targets, nodes)
        point = parameters.crash
        resolved = {"targets": list(targets), "kind": parameters.effective, "rule": _rule(parameters)}
        return resolved | ({"since": point.since} if point is not None else {})

    def summary(self, resolved: Resolved) -> str:
        """What the disk does, and whose."""
        return f"disk of {', '.join(resolved['targets'])} {_words(resolved['kind'], resolved['rule'])}"

    def build(self, resolved: Resolved, cluster: Cluster) -> DiskTrouble | FailPoint:
        """The fault."""
        targets, rule = tuple(resolved["targets"]), Rule(**resolved["rule"])
        if rule.action == "crash":
            since_start = resolved.get("since") == "start"
            return FailPoint(targets=targets, rule=rule, since_start=since_start, cluster=cluster)
        return DiskTrouble(targets=targets, rule=rule, cluster=cluster)

    def draw(self, random: Random, nodes: tuple[str, ...]) -> DiskParameters:
        """Slow disks and fail points most often; what ends nodes hits one, so that a majority can go on."""
        del nodes
        drawn: dict[str, Any] = random.choice(_DRAWN)(random)
        return DiskParameters.model_validate({"target": random.choice(["one", "leader"]), **drawn})


def _draw_slow(random: Random) -> dict[str, Any]:
    delay = random.choice(["20ms", "100ms", "400ms"])
    return {"kind": "slow", "operations": random.choice([["fsync"], ["write", "fsync"]]), "delay": delay}


def _draw_error(random: Random) -> dict[str, Any]:
    return {
        "kind": "error",
        "operations": [random.choice(["write", "fsync"])],
        "probability": random.choice([1.0, 0.1]),
    }


def _draw_point(random: Random) -> dict[str, Any]:
    """Few operations: it has to come to it soon."""
    at = random.choice(["fsync", "fsync", "write"])
    point = {"at": at, "number": random.randint(1, 20), "side": random.choice(["before", "after"])}
    return {"crash": {**point, "power": random.random() < 0.5}}


def _draw_start(random: Random) -> dict[str, Any]:
    """The first sync of a recovery: every store that was written to has one."""
    return {"crash": {"at": "fsync", "since": "start", "side": random.choice(["before", "after"]), "power": True}}


def _draw_whole(random: Random) -> dict[str, Any]:
    return {"kind": random.choice(["full", "short-write", "torn-write", "read-only", "dead"])}


_DRAWN: Sequence[Callable[[Random], dict[str, Any]]] = (
    _draw_slow, _draw_slow, _draw_error, _draw_point, _draw_point, _draw_start, _draw_whole, _draw_whole,
)  # fmt: skip


def _rule(parameters: DiskParameters) -> dict[str, Any]:
    """As plain JSON; only what is not a rule's default."""
    kind, path = parameters.effective, parameters.path
    chance = {"path": path, "probability": parameters.probability}
    match kind:
        case "slow":
            delay_s = (parameters.delay or DELAY_NS) / 1e9
            return {"operations": _operations(parameters), "action": "wait", "delay_s": delay_s, **chance}
        case "error":
            number = getattr(errno, parameters.error or "EIO")
            return {"operations": _operations(parameters), "action": "fail", "error": number, **chance}
        case "short-write":
            return {"operations": ["write"], "action": "short", **chance}
        case "full":
            return {"operations": list(WRITING), "action": "fill"}
        case "read-only":
            return {"operations": list(WRITING), "action": "fail", "error": errno.EROFS}
        case "dead":
            return {"operations": list(OPERATIONS), "action": "fail", "error": errno.EIO}
        case "torn-write":
            return {"operations": ["write"], "action": "crash", "path": path, "side": "torn", "power": True}
        case "crash":
            point = parameters.crash or Crash()
            said = {"path": point.path, "number": point.number, "side": point.side, "power": point.power}
            return {"operations": [point.at], "action": "crash", **said}


def _operations(parameters: DiskParameters) -> list[str]:
    return list(parameters.operations or _NAMED[parameters.effective])


def _words(kind: str, rule: Mapping[str, Any]) -> str:
    where = f" of {rule['path']}" if rule.get("path", "*") != "*" else ""
    chance = f" in {rule['probability'] * 100:g} % of cases" if rule.get("probability", 1) < 1 else ""
    which = ", ".join(rule["operations"]) + where
    match kind:
        case "slow":
            return f"slow: {which} {rule['delay_s'] * 1000:g} ms later{chance}"
        case "error":
            return f"fails: {errno.errorcode[rule['error']]} on {which}{chance}"
        case "short-write":
            return f"writes less than asked{where}{chance}"
        case "torn-write":
            return f"torn: power failed in the middle of a write{where}"
        case "crash":
            lost = ", unsynced writes lost" if rule["power"] else ""
            return f"is where it dies: {rule['side']} {rule['operations'][0]} {rule['number']}{where}{lost}"
        case _:
            return f"is {kind}"
