"""Bugs of files."""

from __future__ import annotations

from pathlib import Path

from node.durable.storage import Storage
from node.durable.wal import Wal, WalCorruptError
from node.parts import Parts
from node.zoo.bug import Bug


class StrictWal(Wal):
    """A log whose last record has to be whole."""

    def judge_tail(self, path: Path, number: int, data: bytes, end: int, *, last: bool) -> None:  # noqa: ARG002
        """Whatever is no valid record is damage."""
        raise WalCorruptError(f"{path}: bad record at offset {end}")


class TornTailRefused(Storage):
    """torn-tail-refused (D1): a last record that was being written when the power failed stops the node from starting.

    Nobody was told that it is durable, so nothing is lost with it. Published as etcd-io/etcd#6378.
    """

    wal = StrictWal


class TrustingWal(Wal):
    """A log that believes what it reads."""

    def verify(self, checksum: int, segment: int, offset: int, payload: bytes) -> bool:  # noqa: ARG002
        """No checksum is compared."""
        return True


class NoChecksum(Storage):
    """no-checksum (D3): flipped bits in the log go unnoticed, as far as it can still be parsed.

    Published as nats-io/nats-server#7549.
    """

    wal = TrustingWal


ROWS = (
    Bug(
        name="torn-tail-refused",
        row="D1",
        what="a last record of the log that is torn stops the node from starting",
        provoked_by="a write that the power failure tears",
        observer="CRASH",
        source="etcd-io/etcd#6378",
        parts=Parts(storage=TornTailRefused),
    ),
    Bug(
        name="no-checksum",
        row="D3",
        what="flipped bits in the log go unnoticed",
        provoked_by="bit flips on a minority",
        observer="DUR, CONV, INV",
        source="nats-io/nats-server#7549",
        parts=Parts(storage=NoChecksum),
    ),
)
