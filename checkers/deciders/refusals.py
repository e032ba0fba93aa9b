"""What deciders refuse: at most one finding a key, with the operations in their roles and the facts of time.

A decider finds out, all keys at once, which are impossible; then it explains the first of them, each from a few rows.
Sentences state facts of the operations that they name and must be true as they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.deciders.decision import FINDINGS_MAX
from checkers.history import History
from checkers.operation import Operation, Outcome
from checkers.verdict import LINEARIZABILITY, Finding
from checkers.wording import Wording, place

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

OPERATIONS_MAX = 40
"""An argument that counts may rest on any number of operations; so many are kept beside those that have a role: half
of them from its beginning, half from its end, where the count is exceeded.
"""


class Case:
    """The operations of one finding, and the words for them. ``where``: the key, or the data type's noun."""

    def __init__(self, history: History, noun: str, roles: Mapping[str, int], rows: Sequence[int]) -> None:
        self.operations = tuple(history.operation(row) for row in rows)
        by_row = dict(zip(rows, self.operations, strict=True))
        self.roles = {name: by_row[row] for name, row in roles.items()}
        self.key = self.operations[0].key
        self.where = f"the {noun}" if self.key is None else place(self.key)
        self.words = Wording(self.operations)

    def __getitem__(self, role: str) -> Operation:
        return self.roles[role]

    def __contains__(self, role: str) -> bool:
        return role in self.roles

    def by(self, role: str) -> str:
        """Who did it, and when: "by process 3 on n1 (1.002 s to 1.004 s)"."""
        item = self.roles[role]
        ended = "nobody saw it end" if item.return_index is None else f"to {self.words.ended(item)}"
        joint = ", " if item.return_index is None else " "
        return f"by {self.words.who(item)} ({self.words.began(item)}{joint}{ended})"

    def earlier(self, first: str, then: str) -> str:
        """That one was over before the other began: "... which had returned at 1 s, before ... began at 2 s"."""
        return f"at {self.words.ended(self.roles[first])}, before {self.words.began(self.roles[then])}"


Tell = Callable[[Case], str]


class Refusals:
    """Grows while a decider works. ``keys``: codes of the keys refused so far."""

    def __init__(self, history: History, noun: str, initial: Any) -> None:
        self.history = history
        self.noun = noun
        self.initial = initial
        self.keys: set[int] = set()
        self.findings: list[Finding] = []

    def fresh(self, keys: Ids) -> list[int]:
        """Refuses these keys; returns indices into ``keys``: the first entry of each that was not refused before and
        for which there is room to explain it.
        """
        distinct, first = np.unique(keys, return_index=True)
        new = [(int(at), int(key)) for key, at in zip(distinct, first, strict=True) if int(key) not in self.keys]
        self.keys.update(key for _, key in new)
        room = max(0, FINDINGS_MAX - len(self.findings))
        return [at for at, _ in sorted(new)[:room]]

    def standing(self, key: Ids) -> Flags:
        """Which of these keys are not refused."""
        if not self.keys:
            return np.ones(len(key), dtype=np.bool_)
        refused = np.zeros(len(self.history.keys), dtype=np.bool_)
        refused[list(self.keys)] = True
        standing: Flags = ~refused[key]
        return standing

    def add(
        self,
        kind: str,
        roles: Mapping[str, int],
        tell: Tell,
        *,
        before: Sequence[tuple[int, int]] = (),
        also: Sequence[int] = (),
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        """The finding of one key. ``roles``: rows by what they are in the argument; ``before``: pairs of rows where
        the first returned before the second began, on which it stands; ``also``: further rows that it rests on.
        """
        half = OPERATIONS_MAX // 2
        ordered = sorted(also)
        kept = ordered if len(also) <= OPERATIONS_MAX else [*ordered[:half], *ordered[-half:]]
        rows = sorted({*roles.values(), *kept})
        case = Case(self.history, self.noun, roles, rows)
        ended = [
            item.return_ns for item in case.operations if item.outcome is Outcome.OK and item.return_ns is not None
        ]
        self.findings.append(
            Finding(
                checker=LINEARIZABILITY,
                kind=kind,
                message=tell(case),
                key=case.key,
                operations=case.operations,
                nodes=tuple(sorted({item.node for item in case.operations if item.node is not None})),
                time_ns=max(ended, default=None),
                evidence={
                    "before": [list(pair) for pair in before],
                    "roles": dict(roles),
                    "initial": self.initial,
                    **(evidence or {}),
                },
            )
        )


def plural(count: int, noun: str) -> str:
    """ "1 read", "2 reads"."""
    return f"{count} {noun}{'s' * (count != 1)}"
