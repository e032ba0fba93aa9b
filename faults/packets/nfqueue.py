"""Packets held in the kernel until a program decides: NFQUEUE, spoken over a netlink socket, without a library.

Protocol: ``linux/netfilter/nfnetlink.h`` and ``nfnetlink_queue.h``. A firewall rule sends packets to a queue by number
(``-j NFQUEUE --queue-num N --queue-bypass``: if nobody listens, packets pass). The program receives one message a
packet, with its number, and answers with a verdict whenever it likes; what is never answered is never delivered.

Only the standard library is imported here (:mod:`faults.programs`).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

NETLINK_NETFILTER = 12
_SO_RCVBUFFORCE = 33
_SOL_NETLINK, _NETLINK_NO_ENOBUFS = 270, 5
_REQUEST, _ACK = 1, 4
_PACKET, _VERDICT, _CONFIG, _VERDICT_BATCH = 0x300, 0x301, 0x302, 0x303
_ERROR = 2
_CFG_CMD, _CFG_PARAMS, _CFG_QUEUE_MAXLEN, _CFG_MASK, _CFG_FLAGS = 1, 2, 3, 4, 5
_FLAG_WHOLE_SEGMENTS = 4
"""Large segments (GSO) come as one, as they come to a queueing discipline, and are not cut up for us first."""
_COMMAND_BIND = 1
_COPY_META, _COPY_PACKET = 1, 2
_ATTR_HEADER, _ATTR_VERDICT, _ATTR_PAYLOAD, _ATTR_CAP_LEN = 1, 2, 10, 13

DROP, ACCEPT = 0, 1

STATISTICS = "/proc/thread-self/net/netfilter/nfnetlink_queue"
"""A line for each queue of the namespace: number, port, waiting, mode, range, dropped because the queue was full,
dropped because our socket was, last number.
"""
RECEIVE_BUFFER = 32 << 20
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_VERDICT_MESSAGE = struct.Struct("=IHHII BBH HH")
_VERDICT_NUMBERS = struct.Struct(">II")


class QueueError(OSError):
    """The kernel does not give the queue: no right to, or no such feature."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet that waits for its verdict: its number in the queue, its length in bytes, and what of it was copied."""

    id: int
    length: int
    payload: bytes


class Queue:
    """One queue of the network namespace in which it is made."""

    def __init__(self, number: int, *, copy: int = 0, segments: bool = True, packets_max: int = 65_536) -> None:
        """Listens to queue ``number``. ``copy``: so many bytes of each packet are wanted (a packet's length is known
        only if some are). ``segments``: large segments are cut up into packets with checksums, as who reads or changes
        them needs it. More than ``packets_max`` at a time are dropped by the kernel.

        Raises:
            QueueError: somebody else has that queue, or the kernel refuses.
        """
        self.number = number
        self._sequence = 0
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.bind((0, 0))
        self.socket.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        try:
            self._enlarge_buffer()
            self._configure(_CFG_CMD, struct.pack(">BBH", _COMMAND_BIND, 0, socket.AF_INET))
            mode = _COPY_PACKET if copy else _COPY_META
            self._configure(_CFG_PARAMS, struct.pack(">IB", copy, mode))
            self._configure(_CFG_QUEUE_MAXLEN, struct.pack(">I", packets_max))
            if not segments:
                self._set_flag(_FLAG_WHOLE_SEGMENTS)
        except OSError as error:
            self.socket.close()
            raise QueueError(error.errno, f"queue {number}: {error.strerror}") from None
        self.socket.setblocking(False)

    def fileno(self) -> int:
        """For selectors."""
        return self.socket.fileno()

    def receive(self) -> Iterator[Packet]:
        """All packets that have arrived."""
        while True:
            try:
                content = self.socket.recv(1 << 17)
            except BlockingIOError:
                return
            yield from _packets(content)

    def decide(self, packet: int, verdict: int, payload: bytes | None = None) -> None:
        """Delivers a packet (perhaps with another content) or drops it. No error if it is not there any more."""
        attribute = b"" if payload is None else _attribute(_ATTR_PAYLOAD, payload)
        length = 32 + len(attribute)
        head = _VERDICT_MESSAGE.pack(
            length, _VERDICT, _REQUEST, 0, 0, 0, 0, socket.htons(self.number), 12, _ATTR_VERDICT
        )
        self.socket.send(head + _VERDICT_NUMBERS.pack(verdict, packet) + attribute)

    def accept_up_to(self, packet: int) -> None:
        """Delivers a packet and all that wait and came before it, in one call."""
        head = _VERDICT_MESSAGE.pack(
            32, _VERDICT_BATCH, _REQUEST, 0, 0, 0, 0, socket.htons(self.number), 12, _ATTR_VERDICT
        )
        self.socket.send(head + _VERDICT_NUMBERS.pack(ACCEPT, packet))

    def dropped(self) -> int:
        """Packets that the kernel dropped because nobody decided in time."""
        row = self._statistics()
        return row[5] + row[6] if row else 0

    def waiting(self) -> int:
        """Packets that wait for a verdict."""
        row = self._statistics()
        return row[2] if row else 0

    def _statistics(self) -> list[int]:
        try:
            with open(STATISTICS, encoding="ascii") as file:
                rows = [[int(word) for word in line.split()] for line in file]
        except OSError:
            return []
        return next((row for row in rows if row[0] == self.number and len(row) > 6), [])

    def close(self) -> None:
        """Gives the queue up; the kernel drops what it holds, and lets later packets pass."""
        self.socket.close()

    def _enlarge_buffer(self) -> None:
        """Beyond the machine's limit, if we are root of the machine and not only of a user namespace."""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def _set_flag(self, flag: int) -> None:
        flags = _attribute(_CFG_MASK, struct.pack(">I", flag))
        try:
            self._configure(_CFG_FLAGS, struct.pack(">I", flag), flags)
        except OSError:
            return  # kernels before 3.10 cut large segments up for everybody

    def _configure(self, kind: int, content: bytes, more: bytes = b"") -> None:
        self._sequence += 1
        body = struct.pack(">BBH", 0, 0, self.number) + _attribute(kind, content) + more
        head = _HEADER.pack(16 + len(body), _CONFIG, _REQUEST | _ACK, self._sequence, 0)
        self.socket.send(head + body)
        answer = self.socket.recv(1 << 16)
        _, kind_of_answer, *_ = _HEADER.unpack_from(answer)
        if kind_of_answer == _ERROR:
            (code,) = struct.unpack_from("=i", answer, 16)
            if code:
                raise OSError(-code, os.strerror(-code))


def _attribute(kind: int, content: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(content), kind) + content + b"\0" * (-len(content) % 4)


def _packets(content: bytes) -> Iterator[Packet]:
    """The packets of one datagram of messages."""
    place, end = 0, len(content)
    while place + 16 <= end:
        length, kind, *_ = _HEADER.unpack_from(content, place)
        if length < 16:
            return
        if kind == _PACKET:
            yield _packet(content, place + 20, place + length)
        place += (length + 3) & ~3


def _packet(content: bytes, place: int, end: int) -> Packet:
    number, payload, whole = 0, b"", None
    while place + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(content, place)
        kind &= 0x7FFF
        if kind == _ATTR_HEADER:
            (number,) = struct.unpack_from(">I", content, place + 4)
        elif kind == _ATTR_PAYLOAD:
            payload = content[place + 4 : place + length]
        elif kind == _ATTR_CAP_LEN:
            (whole,) = struct.unpack_from(">I", content, place + 4)
        place += (max(length, 4) + 3) & ~3
    return Packet(number, len(payload) if whole is None else whole, payload)
