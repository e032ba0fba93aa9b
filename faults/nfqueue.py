"""Packets held in the kernel until a program decides: NFQUEUE, spoken over a netlink socket, without a library.

Protocol: ``linux/netfilter/nfnetlink.h`` and ``nfnetlink_queue.h``. A firewall rule sends packets to a queue by number
(``-j NFQUEUE --queue-num N --queue-bypass``: if nobody listens, packets pass). The program receives one message a
packet, with its number, and answers with a verdict whenever it likes; what is never answered is never delivered.
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
_PACKET, _VERDICT, _CONFIG = 0x300, 0x301, 0x302
_ERROR = 2
_CFG_CMD, _CFG_PARAMS, _CFG_QUEUE_MAXLEN = 1, 2, 3
_COMMAND_BIND = 1
_COPY_META, _COPY_PACKET = 1, 2
_ATTR_HEADER, _ATTR_VERDICT, _ATTR_PAYLOAD, _ATTR_CAP_LEN = 1, 2, 10, 13

DROP, ACCEPT = 0, 1

PACKETS_MAX = 65_536
"""Packets that a queue may hold: at 50 ms of delay that is 1.3 million a second; more are dropped by the kernel."""
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

    def __init__(self, number: int, *, copy: int = 0) -> None:
        """Listens to queue ``number``; ``copy``: so many bytes of each packet are wanted (a packet's length is known
        only if some are).

        Raises:
            QueueError: somebody else has that queue, or the kernel refuses.
        """
        self.number = number
        self._sequence = 0
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.bind((0, 0))
        self.socket.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
            self._configure(_CFG_CMD, struct.pack(">BBH", _COMMAND_BIND, 0, socket.AF_INET))
            mode = _COPY_PACKET if copy else _COPY_META
            self._configure(_CFG_PARAMS, struct.pack(">IB", copy, mode))
            self._configure(_CFG_QUEUE_MAXLEN, struct.pack(">I", PACKETS_MAX))
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

    def close(self) -> None:
        """Gives the queue up; the kernel drops what it holds, and lets later packets pass."""
        self.socket.close()

    def _configure(self, kind: int, content: bytes) -> None:
        self._sequence += 1
        body = struct.pack(">BBH", 0, 0, self.number) + _attribute(kind, content)
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
