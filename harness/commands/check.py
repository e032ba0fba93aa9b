"""``capsize check``: judges a history file of ours or of another tool, or the folder of a run again."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from checkers import MODELS, History, HistoryError, Result, check
from harness.errors import EXIT_CODES, UsageError, nearest
from harness.progress import output
from reports.folder import RunFolder

FUNCTIONS = {
    "cas-register": {"read", "write", "cas"},
    "multi-register": {"read", "write", "txn"},
    "kv": {"get", "put", "append", "delete"},
    "mutex": {"acquire", "release"},
}
"""The operations by which a model is guessed, in this order."""

NULL_READS = {"value": "that there was none", "unknown": "nothing"}

INITIAL = {"kv": '""'}
"""What a data type holds before anything was written, where that is not null (porcupine's key-value maps hold "")."""


def check_command(path: Path, *, model: str | None, initial: str | None, null_read: str) -> int:
    """Prints the verdict and every finding; returns the exit code."""
    if path.is_dir():
        return _check_folder(path)
    if not path.is_file():
        raise UsageError(f"history {str(path)!r}: no such file; give a history file or the folder of a run")
    if model is not None and model not in MODELS:
        raise UsageError(f"--model {model!r}: {nearest(model, MODELS)}")
    try:
        history = History.read(path)
    except HistoryError as error:
        raise UsageError(str(error)) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"history {str(path)!r} is not text: {error}; give a history file") from None
    except OSError as error:
        raise UsageError(f"history {str(path)!r} cannot be read: {error.strerror}") from None
    return _judge(history, model, initial, null_read)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"--initial {text!r} is not JSON; write null, 0 or '\"text\"'") from None


def _judge(history: History, model: str | None, initial: str | None, null_read: str) -> int:
    chosen = model or guess_model(history)
    start = _json(initial if initial is not None else INITIAL.get(chosen, "null"))
    say = output().print
    say(
        f"{len(history):,} operations ({history.format}), model {chosen}"
        + ("" if model else " (guessed; --model says otherwise)"),
        highlight=False,
    )
    for note in history.notes:
        say(f"note: {note}", markup=False, highlight=False)
    say(
        f"initial value {json.dumps(start)}, a read of null says {NULL_READS[null_read]}", markup=False, highlight=False
    )
    try:
        result = check(history, model=chosen, initial=start, null_read=null_read)
    except HistoryError as error:
        raise UsageError(str(error)) from None
    return _say(result)


def guess_model(history: History) -> str:
    """The model whose operations these are.

    Raises:
        UsageError: no model has them.
    """
    functions = set(history.functions)
    for name, known in FUNCTIONS.items():
        if functions <= known:
            return name
    raise UsageError(
        f"no model has the operations {', '.join(sorted(functions))}; say --model, one of: {', '.join(sorted(MODELS))}"
    )


def _say(result: Result) -> int:
    say = output().print
    say(str(result.validity).upper(), markup=False, highlight=False)
    for finding in result.findings:
        say(f"- {finding.kind}: {finding.message}", markup=False, highlight=False)
    return EXIT_CODES[str(result.validity)]


def _check_folder(path: Path) -> int:
    from harness.judge import judge, write_verdict

    folder = RunFolder(path.resolve())
    try:
        verdict = judge(folder)
    except (HistoryError, UnicodeDecodeError) as error:
        raise UsageError(f"run {str(path)!r} cannot be judged: {error}") from None
    say = partial(output().print, markup=False, highlight=False)
    try:
        sentence = write_verdict(folder, verdict)
    except OSError as error:
        sentence = f"(verdict.json could not be written: {error.strerror})"
    say(f"{str(verdict.validity).upper()}: {sentence}")
    for finding in verdict.findings:
        say(f"- {finding.kind} ({finding.blame}): {finding.message}")
    return EXIT_CODES[str(verdict.validity)]
