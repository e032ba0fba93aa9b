"""Messages of NFQUEUE, as the kernel writes them, and as it expects them."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.packets import nfqueue
from faults.packets.nfqueue import ACCEPT, DROP, Packet, Queue


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def message(packet: Packet, *, whole: int | None = None) -> bytes:
    body = struct.pack(">BBH", socket.AF_INET, 0, 5)
    body += attribute(1, struct.pack(">IHB", packet.id, 0x800, 1))
    body += attribute(10 | 0x8000, packet.payload)
    if whole is not None:
        body += attribute(13, struct.pack(">I", whole))
    return struct.pack("=IHHII", 16 + len(body), 0x300, 0, 0, 0) + body


@given(
    st.lists(
        st.builds(
            lambda number, payload: Packet(number, len(payload), payload), st.integers(0, 2**32 - 1), st.binary()
        ),
        max_size=4,
    )
)
def test_packets_are_read_back(packets: list[Packet]) -> None:
    """However many messages come in one datagram."""
    content = b"".join(each + bytes(-len(each) % 4) for each in (message(packet) for packet in packets))
    assert list(nfqueue._packets(content)) == packets


def test_the_length_of_what_was_copied_in_part() -> None:
    """Where only a part is copied the kernel says how long the whole is."""
    [packet] = nfqueue._packets(message(Packet(7, 4, b"head"), whole=1500))
    assert (packet.id, packet.length, packet.payload) == (7, 1500, b"head")


@given(st.binary(max_size=200))
def test_garbage_is_no_packet_and_no_crash(content: bytes) -> None:
    """Whatever comes, reading ends."""
    for _ in nfqueue._packets(content[: len(content) // 4 * 4] if content else content):
        pass


@pytest.fixture
def queue() -> tuple[Queue, socket.socket]:
    """One that speaks to us instead of to the kernel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    made = Queue.__new__(Queue)
    made.number, made.socket, made._sequence = 5, theirs, 0
    return made, ours


def test_verdicts(queue: tuple[Queue, socket.socket]) -> None:
    """One packet, with and without another content; and all up to one."""
    made, ours = queue
    made.decide(9, DROP)
    made.decide(10, ACCEPT, b"other")
    made.accept_up_to(11)
    head = struct.Struct("=IHH")
    verdict = struct.pack(">HH", 0, 0)
    assert verdict == bytes(4)
    for kind, number, decision, payload in (
        (0x301, 9, DROP, b""),
        (0x301, 10, ACCEPT, b"other"),
        (0x303, 11, ACCEPT, b""),
    ):
        content = ours.recv(100)
        length, said, flags = head.unpack_from(content)
        assert (length, said, flags) == (len(content), kind, 1)
        assert struct.unpack_from(">H", content, 18) == (5,)
        assert struct.unpack_from(">II", content, 24) == (decision, number)
        assert payload in content[32:]
    ours.close()
    made.close()


def test_statistics_are_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the queue with that number; without the file nothing is known, and nothing is claimed."""
    made = Queue.__new__(Queue)
    made.number = 5
    path = tmp_path / "nfnetlink_queue"
    monkeypatch.setattr(nfqueue, "STATISTICS", str(path))
    assert (made.dropped(), made.waiting()) == (0, 0)
    path.write_text(
        "    4   100     0 2 65531     1     1        9  1\n    5   101    17 2 65531     3     4       99  1\n"
    )
    assert (made.dropped(), made.waiting()) == (7, 17)
