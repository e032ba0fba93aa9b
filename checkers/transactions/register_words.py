"""Why one transaction on registers came before another, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from checkers.transactions.dependencies import RW, WR
from checkers.transactions.spelling import spell


class Columns(Protocol):
    """The columns that the words need."""

    write_row: list[int]
    write_key: list[int]
    write_value: list[Any]
    read_row: list[int]
    read_key: list[int]
    read_value: list[Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RegisterWords:
    """``because``: why one version comes before another, where the user's assumptions say so."""

    accesses: Columns
    names: list[Any]
    initial: Any
    because: Mapping[tuple[int, int], str]

    def why(self, kind: int, version: int, source: int, target: int) -> tuple[str, tuple[int, ...]]:  # noqa: ARG002
        """See :class:`~checkers.transactions.observations.Words`."""
        key = self.accesses.write_key[version]
        name, value = spell(self.names[key]), spell(self.accesses.write_value[version])
        if kind == WR:
            return f"{{a}} wrote {value} to {name}, and {{b}} read it", ()
        if kind == RW:
            read = self.read(source, key)
            return f"{{a}} read {name} = {spell(read)}{self._order(read, key, version)}, before {{b}} wrote {value}", ()
        before = next(
            (
                self.accesses.write_value[one]
                for one, two in self.because
                if two == version and one < len(self.accesses.write_row) and self.accesses.write_row[one] == source
            ),
            None,
        )
        return f"{{a}} wrote {spell(before)} to {name}, and {{b}} {value}{self._order(before, key, version)}", ()

    def written(self, row: int, key: int) -> Any:
        """What a transaction left in a key."""
        writes = zip(self.accesses.write_row, self.accesses.write_key, self.accesses.write_value, strict=True)
        return [value for writer, number, value in writes if writer == row and number == key][-1]

    def _order(self, value: Any, key: int, version: int) -> str:
        """Why ``value`` comes before a version of the same key."""
        if value == self.initial:
            return " (the initial value)"
        why = (
            why
            for (one, two), why in self.because.items()
            if two == version
            and one < len(self.accesses.write_row)
            and self.accesses.write_value[one] == value
            and self.accesses.write_key[one] == key
        )
        found = next(why, None)
        return "" if found is None else f" ({found})"

    def read(self, row: int, key: int) -> Any:
        """What a transaction read of others of a key."""
        reads = zip(self.accesses.read_row, self.accesses.read_key, self.accesses.read_value, strict=True)
        return next(value for reader, number, value in reads if reader == row and number == key)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DerivedWords:
    """The same, for graphs with edges that follow from others if a serial order is assumed. ``links``: by rows and
    kind, the row of the transaction that links the two (see :class:`~checkers.transactions.saturation.Saturated`)."""

    plain: RegisterWords
    links: Mapping[tuple[int, int, int], int]
    processes: Mapping[int, int]

    def why(self, kind: int, version: int, source: int, target: int) -> tuple[str, tuple[int, ...]]:
        """See :class:`~checkers.transactions.observations.Words`."""
        link = self.links.get((source, target, kind))
        if link is None:
            return self.plain.why(kind, version, source, target)
        key = self.plain.accesses.write_key[version]
        name, value = spell(self.plain.names[key]), spell(self.plain.accesses.write_value[version])
        who = f"the transaction of process {self.processes[link]} (row {link})"
        if kind == RW:
            read = spell(self.plain.read(source, key))
            told = f"{{a}} read {name} = {read}, which {who} wrote"
            return f"{told}; that one must come before {{b}}, which wrote {value}", (link,)
        own = spell(self.plain.written(source, key))
        told = f"{{a}} wrote {own} to {name} and must come before {who}"
        return f"{told}, which read {value} there, written by {{b}}", (link,)
