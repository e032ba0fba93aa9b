"""What the core has decided and the shell has not been told yet: the makings of the next Ready."""

from __future__ import annotations

from node.raft.messages import Adoption, InstallSnapshot, Message, ReadState, Snapshot


class Outbox:
    """Filled by every layer of the core, emptied by :meth:`node.raft.core.Raft.ready`. The fields are those of a
    Ready.
    """

    __slots__ = (
        "chunks",
        "configurations",
        "install",
        "messages_after_persist",
        "messages_now",
        "reads",
        "snapshots_wanted",
    )

    def __init__(self) -> None:
        self.messages_now: list[Message] = []
        self.messages_after_persist: list[Message] = []
        self.reads: list[ReadState] = []
        self.snapshots_wanted: list[str] = []
        self.chunks: list[InstallSnapshot] = []
        self.install: Snapshot | None = None
        self.configurations: list[Adoption] = []

    def __bool__(self) -> bool:
        return bool(
            self.messages_now
            or self.messages_after_persist
            or self.reads
            or self.snapshots_wanted
            or self.chunks
            or self.install
            or self.configurations
        )
