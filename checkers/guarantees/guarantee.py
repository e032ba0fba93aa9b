"""What a guarantee is: a promise that a history keeps or breaks, told by one pass over its operations.

None of them is a linearizability search: each looks for what its promise forbids, and finds either operations that
prove it broken, or nothing. A history in which nothing could have broken it (nothing was read) is ``unknown``, never
``valid``. An ``info`` operation may have happened at any later time, or never: only what holds either way is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.guarantees.settings import Settings
from checkers.history import History, HistoryError
from checkers.verdict import Result


@dataclass(frozen=True, kw_only=True, slots=True)
class Guarantee:
    """A check: how it judges, which functions a history may have, its settings (name: what it does), one line of what
    it is; ``has_initial``: whether it asks for an initial value."""

    name: str
    judge: Callable[[History, Settings], Result]
    functions: frozenset[str]
    summary: str
    settings: Mapping[str, str] = field(default_factory=dict)
    has_initial: bool = False

    def check(
        self,
        history: History,
        settings: Mapping[str, Any] | None = None,
        *,
        initial: Any = None,
        null_read: str = "value",
    ) -> Result:
        """Judges a history.

        Raises:
            ValueError: a setting is unknown or has a value that it can't have.
            HistoryError: the history has functions or values that the check does not know.
        """
        values = dict(settings or {})
        unknown = [name for name in values if name not in self.settings]
        if unknown:
            known = ", ".join(self.settings) or "none"
            raise ValueError(f"{self.name} has no setting {unknown[0]!r}; it has: {known}")
        if null_read not in ("value", "unknown"):
            raise ValueError(
                f"null_read is {null_read!r}; use 'value' (null is a value) or 'unknown' (it says nothing)"
            )
        if initial is not None and not self.has_initial:
            raise ValueError(f"{self.name} begins with nothing: there is no initial value to be {initial!r}")
        self._validate(history)
        return self.judge(history, Settings(check=self.name, values=values, initial=initial, null_read=null_read))

    def _validate(self, history: History) -> None:
        strange = [code for code, function in enumerate(history.functions) if function not in self.functions]
        rows = np.flatnonzero(np.isin(history.f, strange)) if strange else np.empty(0, np.int64)
        if len(rows):
            row = int(rows[0])
            f, line = history.functions[int(history.f[row])], int(history.call[row]) + 1
            known = ", ".join(sorted(self.functions))
            raise HistoryError(history.source, line, f"{self.name} has no function {f!r}", f"It has: {known}.")
