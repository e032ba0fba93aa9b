"""What makes a register's key impossible: one conflict a key, with the operations in their roles and the proofs they
need.

Here also the plainest conflicts: observations of values that nobody wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from checkers.deciders.register.numbering import Ids, Register
from checkers.history import ABSENT, Column

CONFLICTS_MAX = 20
"""So many keys are explained; the others are counted."""

PROOFS_MAX = 8
"""So many compare-and-sets are proved to have happened, in so many steps: longer proofs are not read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """Why one key is refused: rows of the history in their roles, for :mod:`checkers.deciders.register.explanation` to
    put in words.

    ``path`` holds the compare-and-sets that lead from one role's value to the other's, in order; ``before`` the pairs
    (earlier, later) of rows where the first returned before the second was invoked, on which the argument stands;
    ``proofs`` the operations which show that those of the others that nobody saw end did happen.
    """

    kind: str
    key: int
    roles: Mapping[str, int]
    path: tuple[int, ...] = ()
    before: tuple[tuple[int, int], ...] = ()
    proofs: tuple[int, ...] = ()

    @property
    def rows(self) -> tuple[int, ...]:
        """Every operation that the argument needs, in the order of their invocations."""
        return tuple(sorted({*self.roles.values(), *self.path, *self.proofs}))


class Conflicts:
    """At most one conflict a key: the first found, as later ones may only be its consequences."""

    def __init__(self, key_of_row: Column) -> None:
        self.key_of_row = key_of_row
        self.keys: set[int] = set()
        self.found: list[Conflict] = []

    def remaining(self, register: Register) -> Register:
        """Without the keys that are refused already: what they hold could lead astray."""
        if not self.keys:
            return register
        refused = np.fromiter(self.keys, dtype=np.int64)
        return register.keep(
            ~np.isin(self.key_of_row[register.write_row], refused),
            ~np.isin(self.key_of_row[register.read_row], refused),
        )

    def fresh(self, keys: Ids) -> list[int]:
        """Indices into ``keys`` of the first entry of each key that has no conflict yet; counts those keys as
        refused."""
        distinct, first = np.unique(keys, return_index=True)
        fresh = [
            (int(index), int(key)) for key, index in zip(distinct, first, strict=True) if int(key) not in self.keys
        ]
        self.keys.update(key for _, key in fresh)
        room = max(0, CONFLICTS_MAX - len(self.found))
        return [index for index, _ in sorted(fresh)[:room]]

    def add(
        self,
        register: Register,
        kind: str,
        roles: Mapping[str, int],
        path: tuple[int, ...] = (),
        before: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """Adds the conflict of a fresh key."""
        rows = (*roles.values(), *path)
        conflict = Conflict(
            kind=kind,
            key=int(self.key_of_row[rows[0]]),
            roles=roles,
            path=path,
            before=before,
            proofs=_proofs(register, rows),
        )
        self.found.append(conflict)


def _proofs(register: Register, rows: tuple[int, ...]) -> tuple[int, ...]:
    """What shows that the info compare-and-sets among some rows happened, unless the rows show it themselves."""
    writes = np.flatnonzero(np.isin(register.write_row, rows))
    reads = np.flatnonzero(np.isin(register.read_row, rows))
    ok = writes[register.write_ok[writes]]
    shown = {*register.read_seen[reads].tolist(), *register.write_seen[ok].tolist()}
    open_ = [int(place) for place in writes[register.consumers[writes] & ~register.write_ok[writes]]]
    proofs: list[int] = []
    for _ in range(2 * len(open_)):
        proved = [place for place in open_ if int(register.write_new[place]) in shown]
        shown.update(int(register.write_seen[place]) for place in proved)
        open_ = [place for place in open_ if place not in proved]
        if not open_ or len(proofs) > PROOFS_MAX:
            break
        if not proved:
            proofs.extend(_why_happened(register, open_[0]))
            shown.add(int(register.write_new[open_[0]]))
    return tuple(dict.fromkeys(proofs))


def _why_happened(register: Register, place: int) -> tuple[int, ...]:
    """Rows that prove that an info compare-and-set happened: a read of its value, or what consumed it, and so on."""
    rows: list[int] = []
    while not register.write_ok[place] and len(rows) < PROOFS_MAX:
        value = register.write_new[place]
        reads = np.flatnonzero(register.read_seen == value)
        if len(reads):
            return (*rows, int(register.read_row[reads[0]]))
        place = int(np.flatnonzero(register.write_seen == value)[0])
        rows.append(int(register.write_row[place]))
    return tuple(rows)


def unwritten(register: Register, seen: Ids, key: Ids) -> npt.NDArray[np.bool_]:
    """Which of these observations are of values that nobody wrote under their key."""
    written = (register.writer[seen] != ABSENT) & (register.key[seen] == key)
    unwritten: npt.NDArray[np.bool_] = ~(written | register.initial[seen])
    return unwritten


def find_phantom_reads(register: Register, conflicts: Conflicts) -> None:
    reads = np.flatnonzero(unwritten(register, register.read_seen, conflicts.key_of_row[register.read_row]))
    rows = register.read_row[reads]
    for index in conflicts.fresh(conflicts.key_of_row[rows]):
        conflicts.add(register, "phantom read", {"read": int(rows[index])})


def find_phantom_consumers(register: Register, among: npt.NDArray[np.bool_], conflicts: Conflicts) -> None:
    """Compare-and-sets that happened but expect what nobody wrote."""
    cas = np.flatnonzero(register.consumers & among)
    if not len(cas):
        return
    bad = cas[unwritten(register, register.write_seen[cas], register.key[register.write_new[cas]])]
    rows = register.write_row[bad]
    for index in conflicts.fresh(conflicts.key_of_row[rows]):
        conflicts.add(register, "phantom compare-and-set", {"cas": int(rows[index])})
