"""Messages and servers in a few words, for the record of a run that went wrong."""

from __future__ import annotations

from dataclasses import fields

from node.raft.core import Raft
from node.raft.messages import Entry, EntryKind, Message

_LEFT_OUT = frozenset({"source", "target", "term"})


def tell_message(message: Message) -> str:
    """Who to whom, what, and every field that says something."""
    told = [_tell_field(field.name, getattr(message, field.name)) for field in fields(message)]
    return " ".join(
        [f"{message.source} -> {message.target}", type(message).__name__, f"term={message.term}", *filter(None, told)]
    )


def _tell_field(name: str, value: object) -> str:
    if name in _LEFT_OUT or value in (None, False, (), b"", 0):
        return ""
    if name == "entries" and isinstance(value, tuple):
        return f"entries={tell_entries(value)}"
    return name if value is True else f"{name}={value}"


def tell_entries(entries: tuple[Entry, ...]) -> str:
    """Index.term of each, with a mark for what is no command."""
    marks = {EntryKind.NOOP: "n", EntryKind.COMMAND: "", EntryKind.CONFIG: "c"}
    shown = [f"{entry.index}.{entry.term}{marks[entry.kind]}" for entry in entries]
    return ",".join(shown if len(shown) <= 6 else [*shown[:3], "...", shown[-1]])


def tell_server(core: Raft | None, name: str) -> str:
    """Where a server stands."""
    if core is None:
        return f"{name} is down"
    last_term = core.term_at(core.last_index)
    return (
        f"{name} {core.role.value} term={core.term} vote={core.vote} leader={core.leader} "
        f"last={core.last_index}.{last_term} commit={core.commit}"
    )
