"""History in, verdict out. Pure, and usable on its own: ``from checkers import History, check``."""

from checkers.checking import CHECKS, Check, Options, check
from checkers.history import History, HistoryBuilder, HistoryError
from checkers.models import MODELS
from checkers.operation import Operation, Outcome
from checkers.search.exploration import Budget
from checkers.verdict import Blame, Finding, Result, Validity, Verdict
from checkers.witness import Witness, witness

__all__ = [
    "CHECKS",
    "MODELS",
    "Blame",
    "Budget",
    "Check",
    "Finding",
    "History",
    "HistoryBuilder",
    "HistoryError",
    "Operation",
    "Options",
    "Outcome",
    "Result",
    "Validity",
    "Verdict",
    "Witness",
    "check",
    "witness",
]
