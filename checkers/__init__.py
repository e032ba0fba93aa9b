"""History in, verdict out. Pure, and usable on its own: ``from checkers import History, check``."""

from checkers.history import History, HistoryBuilder, HistoryError
from checkers.operation import Operation, Outcome
from checkers.verdict import Blame, Finding, Result, Validity, Verdict

__all__ = [
    "Blame",
    "Finding",
    "History",
    "HistoryBuilder",
    "HistoryError",
    "Operation",
    "Outcome",
    "Result",
    "Validity",
    "Verdict",
]
