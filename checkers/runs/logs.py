"""Looks through the nodes' logs for words that no healthy server says, and at how servers ended.

Each kind of line is one :class:`LogPattern` of an explicit table; a system may hand in its own. A node's hits on one
pattern are one finding: the first with its context, and the count. No pattern is about what a planted bug prints.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from checkers.verdict import Blame, Finding, Result

CHECKER = "logs"

BEFORE, AFTER = 3, 12
"""Lines of context: a Python traceback's end, which says what happened, is seldom further away."""

_LINE_MAX = 500
_QUOTE_MAX = 300
"""Characters of a line in a finding's message; its evidence has the whole line."""
_LINES_MAX = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPattern:
    """A kind of line that makes a finding; ``message`` goes on after the node's name."""

    name: str
    regex: str
    message: str
    blame: Blame = Blame.SYSTEM


PATTERNS: tuple[LogPattern, ...] = (
    LogPattern(name="traceback", regex=r"Traceback \(most recent call last\)", message="logged a Python traceback"),
    LogPattern(name="panic", regex=r"^panic: |\bpanicked at\b|^fatal error: |\"level\":\"panic\"", message="panicked"),
    LogPattern(name="fatal", regex=r"\bFATAL\b|\bCRITICAL\b|\"level\":\"fatal\"", message="logged a fatal error"),
    LogPattern(
        name="assertion", regex=r"\bAssertionError\b|[Aa]ssertion .*failed", message="broke one of its own assertions"
    ),
    LogPattern(name="data race", regex=r"WARNING: DATA RACE|ThreadSanitizer", message="was caught in a data race"),
    LogPattern(
        name="memory error",
        regex=r"AddressSanitizer|SIGSEGV|[Ss]egmentation fault|double free",
        message="used memory wrongly",
    ),
    LogPattern(
        name="out of memory",
        regex=r"\bMemoryError\b|java\.lang\.OutOfMemoryError|[Cc]annot allocate memory",
        message="ran out of memory",
        blame=Blame.MACHINE,
    ),
)
"""What is looked for unless a system says otherwise; earlier ones win on a line that fits several."""


@dataclass(slots=True)
class _Hit:
    """The first line of a kind in one log, its surroundings, and how many more there are."""

    pattern: LogPattern
    line: int
    text: str
    context: list[str]
    count: int = 1
    wanted: int = AFTER


def check_logs(
    logs: Mapping[str, Iterable[str]],
    *,
    exits: Mapping[str, int] | None = None,
    patterns: Sequence[LogPattern] = PATTERNS,
    allow: Sequence[str] = (),
    disks_failed: Collection[str] = (),
) -> Result:
    """Judges log lines (node's name to lines) and the exit statuses of servers that nobody stopped.

    ``allow`` are regular expressions of lines to pass over. ``disks_failed`` are nodes whose disks a fault made fail:
    what they say about that is no finding (who stops when he can't write is right). ``exits`` holds only ends that
    Capsize did not cause; a negative status is a signal's number. Lines beyond five million a node are not read, and
    that is a finding.
    """
    reader = _Reader(patterns, allow)
    judged = {node: _without_disk_trouble(lines) if node in disks_failed else lines for node, lines in logs.items()}
    findings = [finding for node, lines in sorted(judged.items()) for finding in reader.read(node, lines)]
    troubled = {node for finding in findings if finding.blame is Blame.MACHINE for node in finding.nodes}
    crashes = [_crash(node, status, machine=node in troubled) for node, status in sorted((exits or {}).items())]
    statistics = {"lines": reader.lines, "allowed": reader.allowed, "exits": dict(exits or {})}
    return Result(checker=CHECKER, findings=(*crashes, *findings), statistics=statistics)


MACHINE_TROUBLE = re.compile(
    r"MemoryError|OutOfMemoryError|[Cc]annot allocate memory|Errno 12\b|No space left on device|Errno 28\b"
    r"|[Tt]oo many open files|Errno 24\b"
)
"""Around another finding (a traceback, say), these words say that the machine was at its end, not the system wrong."""

DISK_TROUBLE = re.compile(
    r"(?i)input/output error|\bEIO\b|errno 5\b|no space left on device|\bENOSPC\b|errno 28\b|read-only file ?system"
    r"|\bEROFS\b|errno 30\b|quota exceeded|\bEDQUOT\b|errno 122\b|short write"
)
"""What programs say when their disk fails."""
_BEGINS = re.compile(r"Traceback \(most recent call last\)|^panic: ")
"""What is followed by lines that say why."""

KILLED = frozenset({-9, 128 + 9})
"""Exit statuses of a process that somebody killed with SIGKILL (a container's status is 128 + the signal)."""


def _crash(node: str, status: int, *, machine: bool) -> Finding:
    """A node that died and was not killed by us. No program sends itself SIGKILL: that was the kernel or a person."""
    how = f"killed by signal {-status}" if status < 0 else f"with status {status}"
    message = f"{node} ended by itself, {how}; nobody had stopped it"
    blame = Blame.SYSTEM
    if status in KILLED:
        blame = Blame.MACHINE
        message = (
            f"{node} was killed by a SIGKILL that Capsize did not send: by the kernel (out of memory?) or a person"
        )
    elif machine:
        blame = Blame.MACHINE
        message += ", but its log says that the machine had run out of memory, disk or files"
    return Finding(
        checker=CHECKER, kind="CRASH", message=message, blame=blame, nodes=(node,), evidence={"status": status}
    )


@dataclass(slots=True)
class _Reader:
    """Goes through logs once; one combined expression decides for nearly every line that it is of no interest."""

    patterns: Sequence[LogPattern]
    allow: Sequence[str]
    lines: int = 0
    allowed: int = 0
    _any: re.Pattern[str] = field(init=False)
    _each: Sequence[tuple[LogPattern, re.Pattern[str]]] = field(init=False)
    _allow: Sequence[re.Pattern[str]] = field(init=False)

    def __post_init__(self) -> None:
        self._any = re.compile("|".join(f"(?:{pattern.regex})" for pattern in self.patterns) or r"(?!)")
        self._each = [(pattern, re.compile(pattern.regex)) for pattern in self.patterns]
        self._allow = [re.compile(regex) for regex in self.allow]

    def read(self, node: str, lines: Iterable[str]) -> Iterator[Finding]:
        hits: dict[str, _Hit] = {}
        before: deque[str] = deque(maxlen=BEFORE)
        number = 0
        for number, raw in enumerate(lines, start=1):
            if number > _LINES_MAX:
                yield _unread(node)
                break
            line = raw.rstrip("\n")[:_LINE_MAX]
            if not self._part_of_shown(hits, line):
                self._meet(hits, line, number, before)
            before.append(line)
        self.lines += number
        for hit in hits.values():
            yield _found(node, hit)

    def _part_of_shown(self, hits: Mapping[str, _Hit], line: str) -> bool:
        """Gives a line to the hits that still want context; it belongs to them and makes no hit of its own."""
        taken = False
        for hit in hits.values():
            if hit.wanted:
                hit.context.append(line)
                hit.wanted -= 1
                taken = True
        return taken

    def _meet(self, hits: dict[str, _Hit], line: str, number: int, before: Iterable[str]) -> None:
        if not self._any.search(line):
            return
        if any(regex.search(line) for regex in self._allow):
            self.allowed += 1
            return
        pattern = next(pattern for pattern, regex in self._each if regex.search(line))
        if pattern.name in hits:
            hits[pattern.name].count += 1
        else:
            hits[pattern.name] = _Hit(pattern, number, line, [*before, line])


def _found(node: str, hit: _Hit) -> Finding:
    times = "" if hit.count == 1 else f", and {hit.count - 1} more like it"
    message = f"{node} {hit.pattern.message} (line {hit.line} of its log{times}): {_short(hit.text.strip())}"
    evidence = {"line": hit.line, "count": hit.count, "context": hit.context}
    return Finding(
        checker=CHECKER,
        kind=hit.pattern.name,
        message=message,
        blame=Blame.MACHINE if any(MACHINE_TROUBLE.search(line) for line in hit.context) else hit.pattern.blame,
        nodes=(node,),
        evidence=evidence,
    )


def _short(line: str) -> str:
    return line if len(line) <= _QUOTE_MAX else f"{line[: _QUOTE_MAX - 1]}…"


def _without_disk_trouble(lines: Iterable[str]) -> Iterator[str]:
    """Blanks lines that tell of a failing disk: themselves, or as the beginning of what tells it a little later."""
    known = list(islice(lines, _LINES_MAX + 1))
    for place, line in enumerate(known):
        told = known[place : place + 1 + AFTER] if _BEGINS.search(line) else [line]
        yield "\n" if any(DISK_TROUBLE.search(each) for each in told) else line


def _unread(node: str) -> Finding:
    message = f"the log of {node} is longer than {_LINES_MAX} lines; the rest was not read"
    return Finding(checker=CHECKER, kind="log too long", message=message, blame=Blame.GAVE_UP, nodes=(node,))
