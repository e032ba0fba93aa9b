"""The command line: what it means, and that mistakes are named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from node.options import EXIT_USAGE, parse
from node.raft.timing import MS

NODES = ["--node", "n1=10.99.0.11:7001:7000", "--node", "n2=10.99.0.12:7001:7000"]
GOOD = ["--name", "n1", *NODES, "--data", "d", "--log", "l"]
BUGS = ("local-read", "double-apply")


def test_the_contract_with_the_harness() -> None:
    """Every option of the agreed command is understood."""
    more = ["--election-timeout-ms", "300-600", "--heartbeat-ms", "50", "--snapshot-entries", "77", "--seed", "5"]
    more += ["--adaptive", "--priority", "30", "--health", "--compress-bytes", "4096"]
    more += ["--log-tail-entries", "0", "--append-entries", "1", "--inflight-appends", "2"]
    more += ["--first-election-timeout-ms", "5-7"]
    options = parse([*GOOD, *more, "--bug", "local-read"], BUGS)
    assert str(options.nodes["n2"].peers) == "10.99.0.12:7001"
    assert str(options.nodes["n2"].clients) == "10.99.0.12:7000"
    assert (options.timing.election_ns_min, options.timing.election_ns_max) == (300 * MS, 600 * MS)
    assert (options.timing.heartbeat_ns, options.snapshot_entries, options.seed) == (50 * MS, 77, 5)
    assert options.timing.log_tail_entries == 0
    assert (options.timing.adaptive, options.timing.priority, options.health) == (True, 30, True)
    assert options.compress_bytes == 4096
    assert (options.timing.first_election_ns_min, options.timing.first_election_ns_max) == (5 * MS, 7 * MS)
    assert (options.timing.entries_per_append_max, options.timing.inflight_appends_max) == (1, 2)
    assert (options.bug, options.announce_bug) == ("local-read", None)
    assert options.hooks == frozenset()
    assert parse([*GOOD, "--hook", "messages"], BUGS).hooks == {"messages"}


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--name", "n9", *GOOD[2:]], "no --node is called so (there are n1, n2)"),
        ([*GOOD, "--node", "n2=h:1:2"], "twice"),
        ([*GOOD, "--node", "n3=h:1"], "'n3=h:1' is not NAME=HOST:PEERPORT:CLIENTPORT"),
        ([*GOOD, "--node", "n3=h:1:99999"], "NAME=HOST:PEERPORT:CLIENTPORT"),
        ([*GOOD, "--voters", "n1,n7"], "--voters names 'n7': no --node is called so"),
        ([*GOOD, "--join", "n2~3.4"], "not an identity of n1, like n1~3.17"),
        ([*GOOD, "--join", "n1"], "not an identity of n1"),
        ([*GOOD, "--election-timeout-ms", "500"], "'500' is not MIN-MAX in milliseconds"),
        ([*GOOD, "--election-timeout-ms", "90-100", "--heartbeat-ms", "100"], "must be below the election time-out"),
        ([*GOOD, "--snapshot-entries", "0"], "'0' is not a whole number from 1 on"),
        ([*GOOD, "--log-tail-entries", "-1"], "'-1' is not a whole number from 0 on"),
        ([*GOOD, "--priority", "101"], "'101' is not a whole number from 0 to 100"),
        ([*GOOD, "--bug", "lokal-read"], "lokal-read"),
        ([*GOOD, "--hook", "mesages"], "mesages"),
        (GOOD[:-2], "--log"),
    ],
)
def test_mistakes_are_named(argv: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 64, the value and the name, where to read on; no traceback."""
    with pytest.raises(SystemExit) as caught:
        parse(argv, BUGS)
    assert caught.value.code == EXIT_USAGE
    error = capsys.readouterr().err
    assert says in error
    assert "--help" in error


def test_help_explains_everything() -> None:
    """Every option, every exit status, an example; and asking for help starts nothing."""
    done = subprocess.run([sys.executable, "-m", "node", "--help"], capture_output=True, text=True, check=True)
    for word in ("--announce-bug", "--snapshot-entries", "64", "65", "70", "74", "trace.jsonl", "vote-not-durable"):
        assert word in done.stdout
