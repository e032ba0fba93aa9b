"""Rules of nf_tables, spoken over a netlink socket, without a command: a partition in the time of a system call.

Protocol: ``linux/netfilter/nfnetlink.h`` and ``nf_tables.h``. Every fault has a *table* of its own in the namespace
that the socket was made in, with base chains that come before any other filter: tables add up, one is installed and
deleted as a whole (a batch is a transaction), and deleting it needs nothing but its name. A process of an iptables
command costs 3-6 ms of an idle machine and several times that of a busy one; a batch costs 0.1 ms (measured).

This file is also a program, for whoever has to undo a fault after the controller is dead: ``python3 nftables.py TABLE``
deletes that table where it runs. So it imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Literal

NETLINK_NETFILTER = 12
RECEIVE_BYTES = 1 << 16
ANSWER_TIMEOUT_S = 2.0
_PRIORITY = -150
"""Before the filters of anybody else (0), after the tracking of connections is set up (-200)."""
_LOCAL_IN, _LOCAL_OUT = 1, 3
_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _GET_TABLE, _DEL_TABLE, _NEW_CHAIN, _NEW_RULE, _GET_RULE = 0, 1, 2, 3, 6, 7
_REQUEST, _ACK, _DUMP, _EXCLUSIVE, _CREATE, _APPEND = 1, 4, 0x300, 0x200, 0x400, 0x800
_ERROR, _DONE = 2, 3
_FAMILY = socket.AF_INET
_NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_FAMILY_HEADER = struct.Struct(">BBH")
_DROP, _ACCEPT = 0, 1
_SOURCE_OFFSET, _TARGET_OFFSET, _PROTOCOL_OFFSET = 12, 16, 9
_TCP_FLAGS_OFFSET, _TCP_RESET = 13, 4
_NETWORK, _TRANSPORT = 1, 2
_LOOPBACK = 1
"""The loopback device is the first of every network namespace."""
_META_DEVICE_IN = 4

Hook = Literal["INPUT", "OUTPUT"]
Verdict = Literal["drop", "reject", "answers"]
"""``answers``: what a rejection itself sends (resets, ICMP errors) passes."""


class FilterError(OSError):
    """The kernel refuses: no right to, or no such feature."""


def _attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def _nested(kind: int, *attributes: bytes) -> bytes:
    return _attribute(kind | _NESTED, b"".join(attributes))


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return _attribute(kind, struct.pack(">i", number))


def _expression(name: str, *attributes: bytes) -> bytes:
    return _nested(1, _text(1, name), _nested(2, *attributes))


def _load(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _number(1, 1), _number(2, base), _number(3, offset), _number(4, length))


def _compare(value: bytes, *, unequal: bool = False) -> bytes:
    return _expression("cmp", _number(1, 1), _number(2, int(unequal)), _nested(3, _attribute(1, value)))


def _verdict(code: int) -> bytes:
    return _expression("immediate", _number(1, 0), _nested(2, _nested(2, _number(1, code))))


def _protocol(number: int) -> list[bytes]:
    return [_load(_NETWORK, _PROTOCOL_OFFSET, 1), _compare(bytes([number]))]


def _from_outside() -> list[bytes]:
    """A rejection's answer to a local sender comes by the loopback, with the address of the node that is cut off."""
    device = _expression("meta", _number(1, 1), _number(2, _META_DEVICE_IN))
    return [device, _compare(struct.pack("=I", _LOOPBACK), unequal=True)]


def _reset_flag() -> list[bytes]:
    mask = _nested(4, _attribute(1, bytes([_TCP_RESET])))
    none = _nested(5, _attribute(1, b"\0"))
    masked = _expression("bitwise", _number(1, 1), _number(2, 1), _number(3, 1), mask, none)
    return [_load(_TRANSPORT, _TCP_FLAGS_OFFSET, 1), masked, _compare(b"\0", unequal=True)]


def rule_expressions(hook: Hook, peer: str, verdict: Verdict) -> list[list[bytes]]:
    """What happens to packets from (INPUT) or to (OUTPUT) a peer's address: the expressions of one or two rules."""
    offset = _SOURCE_OFFSET if hook == "INPUT" else _TARGET_OFFSET
    match = [_load(_NETWORK, offset, 4), _compare(socket.inet_aton(peer))]
    outside = _from_outside() if hook == "INPUT" else []
    counter = _expression("counter")
    if verdict == "drop":
        return [[*outside, *match, counter, _verdict(_DROP)]]
    if verdict == "answers":
        tcp = [*match, *_protocol(socket.IPPROTO_TCP), *_reset_flag(), _verdict(_ACCEPT)]
        return [tcp, [*match, *_protocol(socket.IPPROTO_ICMP), _verdict(_ACCEPT)]]
    reset = _expression("reject", _number(1, 1), _attribute(2, b"\0"))
    unreachable = _expression("reject", _number(1, 0), _attribute(2, b"\3"))
    return [
        [*outside, *match, *_protocol(socket.IPPROTO_TCP), counter, reset],
        [*outside, *match, counter, unreachable],
    ]


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    head = _FAMILY_HEADER.pack(_FAMILY, 0, 0)
    size = _HEADER.size + len(head) + len(body)
    return _HEADER.pack(size, _SUBSYSTEM << 8 | kind, _REQUEST | flags, number, 0) + head + body


def _batch(*messages: bytes) -> bytes:
    head = _FAMILY_HEADER.pack(socket.AF_UNSPEC, 0, _SUBSYSTEM)
    size = _HEADER.size + len(head)
    ends = (_HEADER.pack(size, kind, _REQUEST, 0, 0) + head for kind in (_BATCH_BEGIN, _BATCH_END))
    return next(ends) + b"".join(messages) + next(ends)


def _chain(table: str, hook: Hook, number: int) -> bytes:
    place = _nested(4, _number(1, _LOCAL_IN if hook == "INPUT" else _LOCAL_OUT), _number(2, _PRIORITY))
    body = _text(1, table) + _text(3, hook) + place + _number(5, _ACCEPT) + _text(7, "filter")
    return _message(_NEW_CHAIN, _CREATE, number, body)


def installation(table: str, rules: Sequence[tuple[Hook, str, Verdict]]) -> bytes:
    """A batch that makes a new table of these rules (hook, peer's address, what happens); the last message is answered.

    Fails as a whole if there is a table of that name.
    """
    messages = [_message(_NEW_TABLE, _CREATE | _EXCLUSIVE, 1, _text(1, table))]
    messages += [_chain(table, hook, 1) for hook in dict.fromkeys(hook for hook, _, _ in rules)]
    bodies = [
        _text(1, table) + _text(2, hook) + _nested(4, *expressions)
        for hook, peer, verdict in rules
        for expressions in rule_expressions(hook, peer, verdict)
    ]
    for place, body in enumerate(bodies, start=1):
        last = _ACK if place == len(bodies) else 0
        messages.append(_message(_NEW_RULE, _CREATE | _APPEND | last, 1, body))
    return _batch(*messages)


def deletion(table: str) -> bytes:
    """A batch that deletes a table with all that is in it."""
    return _batch(_message(_DEL_TABLE, _ACK, 1, _text(1, table)))


def send(line: socket.socket, batch: bytes) -> None:
    """Hands a batch to the kernel, which carries it out before this returns.

    Raises:
        FilterError: it was refused, and nothing of it was done.
    """
    _forget_answers(line)
    line.send(batch)
    for kind, payload in _answers(line):
        if kind == _ERROR:
            number = -struct.unpack_from("=i", payload)[0]
            if number:
                raise FilterError(number, os.strerror(number))
            return
    raise FilterError(errno.ETIMEDOUT, "the kernel does not answer")


def remove(line: socket.socket, table: str) -> None:
    """Deletes a table; no error if there is none.

    Raises:
        FilterError: the kernel refuses.
    """
    try:
        send(line, deletion(table))
    except FilterError as error:
        if error.errno != errno.ENOENT:
            raise


def packets(line: socket.socket, table: str) -> int:
    """How many packets the rules of a table have stopped; 0 if there is none."""
    return sum(_counted(element) for rule in _rules(line, table) for _, element in _attributes(rule.get(4, b"")))


def count_rules(line: socket.socket, table: str) -> int:
    """How many rules the kernel has in a table; 0 if there is none."""
    return len(_rules(line, table))


def _rules(line: socket.socket, table: str) -> list[dict[int, bytes]]:
    """The rules of a table, as the kernel tells them."""
    _forget_answers(line)
    line.send(_message(_GET_RULE, _DUMP, 1, _text(1, table)))
    found = []
    for kind, payload in _answers(line):
        if kind in (_ERROR, _DONE):
            break
        rule = dict(_attributes(payload[_FAMILY_HEADER.size :]))
        if rule.get(1, b"").rstrip(b"\0").decode() == table:
            found.append(rule)
    return found


def tables(line: socket.socket) -> list[str]:
    """The names of all tables in the namespace: what is left of faults."""
    _forget_answers(line)
    line.send(_message(_GET_TABLE, _DUMP, 1, b""))
    found = []
    for kind, payload in _answers(line):
        if kind in (_ERROR, _DONE):
            break
        found.append(dict(_attributes(payload[_FAMILY_HEADER.size :])).get(1, b"").rstrip(b"\0").decode())
    return found


def _counted(element: bytes) -> int:
    parts = dict(_attributes(element))
    if parts.get(1) != b"counter\0":
        return 0
    (count,) = struct.unpack(">Q", dict(_attributes(parts[2]))[2])
    return int(count)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, offset)
        if size < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + size]
        offset += size + -size % 4


def _answers(line: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Type and payload of every message, as they come."""
    line.settimeout(ANSWER_TIMEOUT_S)
    while True:
        try:
            data = line.recv(RECEIVE_BYTES)
        except TimeoutError:
            return
        offset = 0
        while offset + _HEADER.size <= len(data):
            size, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            yield kind, data[offset + _HEADER.size : offset + size]
            offset += size + -size % 4


def _forget_answers(line: socket.socket) -> None:
    """What a request that failed half-way left unread."""
    line.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while line.recv(RECEIVE_BYTES):
            pass


def usable(line: socket.socket) -> bool:
    """Whether the kernel does rules by netlink in the namespace of this socket: one is made and taken away."""
    try:
        send(line, installation("capsize-trial", [("OUTPUT", "192.0.2.1", "reject")]))
        remove(line, "capsize-trial")
    except OSError:
        return False
    return True


def removal_command(table: str) -> list[str]:
    """A command that deletes the table where it runs; succeeds if it is gone afterwards."""
    return [sys.executable, "-S", "-E", os.path.abspath(__file__), table]


def main() -> None:
    """Deletes the table that is named on the command line."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as line:
        line.bind((0, 0))
        remove(line, sys.argv[1])


if __name__ == "__main__":
    main()
