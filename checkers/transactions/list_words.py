"""Why one transaction on lists came before another, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from checkers.history import Column
from checkers.transactions.dependencies import RW, WR
from checkers.transactions.flattening import FlatLists
from checkers.transactions.spelling import spell, spell_list


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ListWords:
    """The columns of a list-append history: the longest list of each key (``start``, ``values``, ``writer_row`` with -1
    where unknown), and all reads."""

    flat: FlatLists
    names: list[object]
    start: Column
    writer_row: Column
    values: list[object]

    def why(self, kind: int, version: int, source: int, target: int) -> tuple[str, tuple[int, ...]]:
        """See :class:`~checkers.transactions.observations.Words`."""
        unread = version >= len(self.values)
        append = version - len(self.values)
        key = self.flat.append_key[append] if unread else int(np.searchsorted(self.start, version, side="right")) - 1
        value = spell(self.flat.append_value[append] if unread else self.values[version])
        name = spell(self.names[key])
        if kind == WR:
            seen = self._seen(target, key, version + 1)
            return f"{{a}} appended {value} to {name}, and {{b}} read {name} = {seen}", ()
        if kind == RW:
            seen = self._seen(source, key, None)
            return f"{{a}} read {name} = {seen}, without {value}, which {{b}} appended", ()
        return self._extended(key, name, version, value, source, unread=unread)

    def _extended(
        self, key: int, name: str, version: int, value: str, source: int, *, unread: bool
    ) -> tuple[str, tuple[int, ...]]:
        begin, end = int(self.start[key]), int(self.start[key + 1]) if unread else version
        earlier = next(place for place in range(end - 1, begin - 1, -1) if self.writer_row[place] == source)
        first = spell(self.values[earlier])
        whole = self.values[begin : int(self.start[key + 1])]
        reader = self._reader(key, len(whole))
        if unread:
            told = f"{{b}} appended {value} to {name}, which nobody read: so after all that was read of {name}"
            return f"{told}, in which stands {first}, appended by {{a}}", reader
        return (
            f"{name} was read as {spell_list(whole, version - begin)}: {first} by {{a}}, then {value} by {{b}}",
            reader,
        )

    def _reads(self, row: int, key: int) -> list[tuple[int, tuple[object, ...]]]:
        first = int(np.searchsorted(self.flat.read_row, row))
        found = []
        for read in range(first, len(self.flat.read_row)):
            if self.flat.read_row[read] != row:
                break
            if self.flat.read_key[read] == key:
                found.append((self.flat.read_base[read], self.flat.read_list[read]))
        return found

    def _seen(self, row: int, key: int, base: int | None) -> str:
        """What a transaction read of a key: up to a version, or the least."""
        if base is not None:
            base -= int(self.start[key])
        reads = self._reads(row, key)
        exact = [read for read in reads if read[0] == base] or sorted(reads, key=lambda read: read[0])
        return spell_list(exact[0][1], len(exact[0][1]) - 1)

    def _reader(self, key: int, length: int) -> tuple[int, ...]:
        reads = zip(self.flat.read_row, self.flat.read_key, self.flat.read_list, strict=True)
        return next(((row,) for row, number, read in reads if number == key and len(read) == length), ())
