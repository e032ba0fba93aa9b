"""Claims about log lines and exits."""

from __future__ import annotations

import re

import pytest

from checkers.runs import logs
from checkers.runs.logs import PATTERNS, LogPattern, check_logs
from checkers.verdict import Blame, Validity

QUIET = [
    "12:00 became leader of term 3",
    "12:01 connection to n2 lost, will try again",
    "12:02 no panic here, just talk",
]

BAD = {
    "traceback": "Traceback (most recent call last):",
    "panic": "panic: runtime error: index out of range",
    "fatal": "2026-01-01 FATAL raft: log is broken",
    "assertion": "AssertionError: commit went back",
    "data race": "WARNING: DATA RACE",
    "memory error": "Segmentation fault (core dumped)",
    "out of memory": "MemoryError",
}


def test_every_pattern_has_a_line_that_it_must_find() -> None:
    """No pattern is untested."""
    assert {pattern.name for pattern in PATTERNS} == set(BAD)


@pytest.mark.parametrize("name", BAD)
def test_found(name: str) -> None:
    """Each kind of line is found, with line number and context."""
    result = check_logs({"n1": [*QUIET, BAD[name], "after"]})
    (finding,) = result.findings
    assert (finding.kind, finding.nodes, finding.evidence["line"]) == (name, ("n1",), 4)
    assert finding.evidence["context"] == [*QUIET, BAD[name], "after"]
    assert BAD[name] in finding.message


def test_quiet_logs_are_valid() -> None:
    """Ordinary lines, elections and lost connections are nobody's fault."""
    result = check_logs({"n1": QUIET, "n2": []})
    assert result.findings == ()
    assert result.statistics["lines"] == 3


def test_a_traceback_is_one_finding() -> None:
    """What a traceback says at its end belongs to it, and the same pattern is counted, not repeated."""
    trace = [BAD["traceback"], '  File "x.py", line 1', "AssertionError: commit went back"]
    (finding,) = check_logs({"n1": [*trace, *["quiet"] * logs.AFTER, *trace, *QUIET]}).findings[:1]
    assert (finding.kind, finding.evidence["count"]) == ("traceback", 2)
    assert "and 1 more like it" in finding.message


def test_allowed_lines_are_passed_over() -> None:
    """A line that the caller allows makes no finding, and is counted."""
    result = check_logs({"n1": [BAD["fatal"]]}, allow=[r"raft: log is broken"])
    assert (result.findings, result.statistics["allowed"]) == ((), 1)


def test_blame_is_the_patterns() -> None:
    """Being out of memory is the machine's fault: unknown, not invalid."""
    assert check_logs({"n1": ["MemoryError"]}).validity is Validity.UNKNOWN
    mine = LogPattern(name="mine", regex="oops", message="said oops", blame=Blame.HARNESS)
    assert check_logs({"n1": ["oops", "panic: no"]}, patterns=[mine]).findings[0].blame is Blame.HARNESS


def test_context_is_bounded() -> None:
    """Neither a long line nor a long log gets into the page."""
    (finding,) = check_logs({"n1": [BAD["panic"] + "x" * 10_000, *["more"] * 1000]}).findings
    assert len(finding.evidence["context"]) == 1 + logs.AFTER
    assert max(map(len, finding.evidence["context"])) == 500


def test_a_log_too_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not read is not called clean."""
    monkeypatch.setattr(logs, "_LINES_MAX", 3)
    result = check_logs({"n1": ["quiet"] * 3 + [BAD["panic"]]})
    assert [finding.blame for finding in result.findings] == [Blame.GAVE_UP]


@pytest.mark.parametrize(
    ("status", "words"), [(1, "with status 1"), (-11, "killed by signal 11"), (0, "with status 0")]
)
def test_a_server_that_ends_by_itself_is_a_crash(status: int, words: str) -> None:
    """An end that nobody caused is a finding against the system, whatever the status."""
    result = check_logs({}, exits={"n3": status})
    assert result.validity is Validity.INVALID
    assert (result.findings[0].kind, result.findings[0].nodes) == ("CRASH", ("n3",))
    assert words in result.findings[0].message


def test_patterns_are_regular_expressions() -> None:
    """The table is well formed, alone and joined."""
    re.compile("|".join(pattern.regex for pattern in PATTERNS))


def test_what_a_node_says_of_a_disk_that_was_made_to_fail_is_no_finding() -> None:
    """Of that node only, and of nothing else: a refusal to start afterwards stays one."""
    told = [
        "CRITICAL I/O error, giving up: [Errno 5] Input/output error\n",
        "Traceback (most recent call last):\n",
        '  File "wal.py", line 1, in append\n',
        "OSError: [Errno 28] No space left on device\n",
    ]
    refusal = ["CRITICAL refusing to start: bad record at offset 7\n"]
    assert check_logs({"n1": told}, disks_failed=["n1"]).findings == ()
    assert len(check_logs({"n2": told}, disks_failed=["n1"]).findings) == 1
    kept = check_logs({"n1": told + refusal}, disks_failed=["n1"]).findings
    assert [finding.evidence["line"] for finding in kept] == [5]
