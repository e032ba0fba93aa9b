"""The command line of a node."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from node.identity import host_of
from node.network.transport import Address
from node.raft.timing import MS, Timing

EXIT_USAGE = 64
EXIT_UNRECOVERABLE = 65
"""What is on disk can't be trusted; the node refuses to start."""
EXIT_SOFTWARE = 70
"""The node's own code failed."""
EXIT_IO = 74
"""The disk or the network refused; after a failed write or sync nothing is tried again."""

HOOKS = ("messages",)

_DESCRIPTION = """\
One node of a replicated key-value store (Raft). All nodes of a cluster are started with the same --node options; each
with its own --name.
"""

_EPILOG = f"""\
files:
  DATA/wal/, DATA/snapshots/   everything durable; DATA/lock keeps a second process out
  LOG/trace.jsonl              what the node says of itself, for checkers
  standard error               the log for people

exit status:
  0   stopped by SIGTERM or SIGINT
  {EXIT_USAGE}  usage error
  {EXIT_UNRECOVERABLE}  the data directory can't be trusted (damaged records, no good snapshot), or is in use
  {EXIT_SOFTWARE}  a defect of the node; a traceback is in the log
  {EXIT_IO}  an I/O error: the disk failed or is full, or an address can't be used; nothing is written after it

example, three nodes on one machine:
  python -m node --name n1 --node n1=127.0.0.1:7001:7101 --node n2=127.0.0.1:7002:7102 \\
                 --node n3=127.0.0.1:7003:7103 --data /tmp/n1 --log /tmp/n1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAddresses:
    """Where one node is reached."""

    peers: Address
    clients: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line said, checked."""

    name: str
    nodes: Mapping[str, NodeAddresses]
    data: Path
    log: Path
    timing: Timing
    snapshot_entries: int
    health: bool
    compress_bytes: int
    seed: int | None
    voters: tuple[str, ...]
    """Who founds the cluster."""
    joins_as: str | None
    bug: str | None
    announce_bug: str | None
    hooks: frozenset[str] = frozenset()
    metrics: int | None = None
    """The port of the page for Prometheus."""
    otlp: str | None = None
    """Where traces for OpenTelemetry go."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"node: {message}\nTry: python -m node --help", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def _node(text: str) -> tuple[str, NodeAddresses]:
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)=(.+):(\d+):(\d+)", text)
    if match is None or not all(0 < int(port) < 65536 for port in match.group(3, 4)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=HOST:PEERPORT:CLIENTPORT, as in n1=10.99.0.11:7001:7000"
        )
    name, host, peer_port, client_port = match.groups()
    return name, NodeAddresses(peers=Address(host, int(peer_port)), clients=Address(host, int(client_port)))


def _range_ms(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if match is None or not 0 < int(match[1]) < int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not MIN-MAX in milliseconds, as in 500-1000")
    return int(match[1]), int(match[2])


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _share(text: str) -> int:
    if not text.isdecimal() or int(text) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 100")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def _collector(text: str) -> str:
    if text != "console" and not re.match(r"https?://[^/]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither console nor a URL like http://127.0.0.1:4318/v1/traces")
    return text


def _parser(bugs: Sequence[str]) -> _Parser:
    parser = _Parser(
        prog="python -m node",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--name", required=True, help="which of the nodes this one is")
    add(
        "--node",
        dest="nodes",
        type=_node,
        action="append",
        required=True,
        metavar="NAME=HOST:PEERPORT:CLIENTPORT",
        help="a node of the cluster (repeat for each): where it listens for its peers and for clients",
    )
    add("--data", type=Path, required=True, metavar="DIR", help="durable data; created if need be")
    add("--log", type=Path, required=True, metavar="DIR", help="where trace.jsonl goes; created if need be")
    add(
        "--election-timeout-ms",
        type=_range_ms,
        default=(500, 1000),
        metavar="MIN-MAX",
        help="patience with a silent leader, drawn anew each time (default 500-1000); the same on all nodes, for reads "
        "by lease rest on the lower end",
    )
    add(
        "--first-election-timeout-ms",
        type=_range_ms,
        default=(100, 300),
        metavar="MIN-MAX",
        help="the same for a node with an empty log that knows no leader (default 100-300)",
    )
    add("--heartbeat-ms", type=_positive, default=100, metavar="MS", help="a leader's heartbeat (default 100)")
    add(
        "--adaptive",
        action="store_true",
        help="fit election time-outs and heartbeats to measured round trips, within the range of --election-timeout-ms",
    )
    add(
        "--priority",
        type=_share,
        default=Timing().priority,
        metavar="0-100",
        help=f"how much this node is wanted as a leader (default {Timing().priority})",
    )
    add(
        "--health",
        action="store_true",
        help="count the node's own health (latency, processor, memory) beside its priority: a leader hands over to a "
        "better node",
    )
    add(
        "--snapshot-entries",
        type=_positive,
        default=10_000,
        metavar="N",
        help="take a snapshot, and compact the log behind it, every N applied entries, or 64 MiB (default 10000)",
    )
    add(
        "--compress-bytes",
        type=_count,
        default=0,
        metavar="N",
        help="compress commands of N bytes and more before they go into the log (default 0: never)",
    )
    add(
        "--log-tail-entries",
        type=_count,
        default=Timing().log_tail_entries,
        metavar="N",
        help="entries below a snapshot that stay in memory, so that a slightly slow follower is not sent a snapshot "
        f"(default {Timing().log_tail_entries})",
    )
    add(
        "--append-entries",
        type=_positive,
        default=Timing().entries_per_append_max,
        metavar="N",
        help=f"entries that one message to a follower carries at most (default {Timing().entries_per_append_max})",
    )
    add(
        "--inflight-appends",
        type=_positive,
        default=Timing().inflight_appends_max,
        metavar="N",
        help="messages with entries that a follower may have unanswered before it is sent more "
        f"(default {Timing().inflight_appends_max})",
    )
    add(
        "--voters",
        metavar="NAMES",
        help="with commas, who founds the cluster (default: every --node); the same for all nodes. The others may be "
        "added later",
    )
    add(
        "--join",
        metavar="IDENTITY",
        help="join a running cluster, with an empty --data, as whom it has added this node (the answer to AddLearner)",
    )
    add(
        "--metrics",
        type=_port,
        metavar="PORT",
        help="tell Prometheus at http://HOST:PORT/metrics, on the host of the client port (needs prometheus-client)",
    )
    add(
        "--otlp",
        type=_collector,
        metavar="URL|console",
        help="send OpenTelemetry traces of clients' operations to a collector, as in http://127.0.0.1:4318/v1/traces, "
        "or to standard output (needs opentelemetry-sdk, and opentelemetry-exporter-otlp-proto-http for a collector)",
    )
    add("--seed", type=int, metavar="N", help="seed of the election time-outs (default: different every time)")
    add("--bug", choices=bugs, metavar="NAME", help=f"plant a bug, for testing a tester: {', '.join(bugs)}")
    add("--announce-bug", choices=bugs, metavar="NAME", help="log the line that --bug logs, but stay correct")
    add(
        "--hook",
        dest="hooks",
        choices=HOOKS,
        action="append",
        default=[],
        help="give testers a hand in the node: messages (who may use the client port may then drop, delay and double "
        "messages between nodes)",
    )
    return parser


def parse(argv: Sequence[str], bugs: Sequence[str]) -> Options:
    """Options from the command line; ``bugs`` are the names that --bug knows. Raises SystemExit after saying what is
    wrong.
    """
    parser = _parser(bugs)
    parsed = parser.parse_args(argv)
    nodes = dict(parsed.nodes)
    if len(nodes) != len(parsed.nodes):
        parser.error("--node names a node twice")
    if parsed.name not in nodes:
        parser.error(f"--name {parsed.name}: no --node is called so (there are {', '.join(nodes)})")
    if parsed.join is not None and (host_of(parsed.join) != parsed.name or parsed.join == parsed.name):
        parser.error(f"--join {parsed.join}: not an identity of {parsed.name}, like {parsed.name}~3.17")
    voters = tuple(nodes) if parsed.voters is None else tuple(dict.fromkeys(parsed.voters.split(",")))
    strangers = [name for name in voters if name not in nodes]
    if strangers:
        parser.error(
            f"--voters names {', '.join(map(repr, strangers))}: no --node is called so (there are {', '.join(nodes)})"
        )
    shortest, longest = parsed.election_timeout_ms
    if parsed.heartbeat_ms >= shortest:
        parser.error(
            f"--heartbeat-ms {parsed.heartbeat_ms} must be below the election time-out of {shortest}-{longest} ms"
        )
    timing = Timing(
        election_ns_min=shortest * MS,
        election_ns_max=longest * MS,
        first_election_ns_min=parsed.first_election_timeout_ms[0] * MS,
        first_election_ns_max=parsed.first_election_timeout_ms[1] * MS,
        heartbeat_ns=parsed.heartbeat_ms * MS,
        adaptive=parsed.adaptive,
        priority=parsed.priority,
        log_tail_entries=parsed.log_tail_entries,
        entries_per_append_max=parsed.append_entries,
        inflight_appends_max=parsed.inflight_appends,
    )
    return Options(
        name=parsed.name,
        nodes=nodes,
        data=parsed.data,
        log=parsed.log,
        timing=timing,
        snapshot_entries=parsed.snapshot_entries,
        health=parsed.health,
        compress_bytes=parsed.compress_bytes,
        seed=parsed.seed,
        voters=voters,
        joins_as=parsed.join,
        bug=parsed.bug,
        announce_bug=parsed.announce_bug,
        hooks=frozenset(parsed.hooks),
        metrics=parsed.metrics,
        otlp=parsed.otlp,
    )
