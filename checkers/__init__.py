"""History in, verdict out. Pure, and usable on its own: ``from checkers import History, check``."""

from checkers.history import History, HistoryBuilder, HistoryError
from checkers.linearizability import check
from checkers.models import MODELS
from checkers.operation import Operation, Outcome
from checkers.search import Budget
from checkers.verdict import Blame, Finding, Result, Validity, Verdict

__all__ = [
    "MODELS",
    "Blame",
    "Budget",
    "Finding",
    "History",
    "HistoryBuilder",
    "HistoryError",
    "Operation",
    "Outcome",
    "Result",
    "Validity",
    "Verdict",
    "check",
]
