"""``capsize check``: judges a history file of ours or of another tool, or the folder of a run again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from checkers import CHECKS, MODELS, Budget, History, HistoryError, Options, Result, check, witness
from checkers.guessing import guess
from checkers.transactions import TRANSACTIONS
from checkers.transactions.consistency import ALIASES, CONSISTENCY_MODELS
from checkers.verdict import Validity
from harness.commands.answer import headline, models, premises, told
from harness.errors import EXIT_CODES, UsageError, nearest
from harness.progress import output

STATES_MAX = 2_000_000_000
"""Search states of a key, where seconds and memory bound a search."""

INITIAL = {"kv": '""'}
"""What a data type holds before anything was written, where that is not null (porcupine's key-value maps hold "")."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the command line says about a history: texts as typed; None is the default."""

    model: str | None = None
    format_: str | None = None
    initial: str | None = None
    null_read: str = "value"
    consistency_model: str | None = None
    settings: tuple[str, ...] = ()
    witness: Path | None = None
    budget_seconds: float = 300.0
    budget_memory: int = 1500

    def budget(self) -> Budget:
        """Seconds and memory; no other bound on search states."""
        clock = time.monotonic
        return Budget(states=STATES_MAX, bytes=self.budget_memory * 1_000_000, seconds=self.budget_seconds, clock=clock)


def list_models() -> None:
    """``--model list``."""
    say = partial(output().print, markup=False, highlight=False)
    for line in models():
        say(line)


def check_command(path: Path, wishes: Wishes) -> int:
    """Prints the verdict and what was found; returns the exit code."""
    if wishes.model is not None and wishes.model not in CHECKS:
        hint = nearest(wishes.model, CHECKS)
        raise UsageError(f"--model {wishes.model!r}: {hint}; `capsize check --model list` says what they are")
    if path.is_dir():
        if wishes != Wishes():
            asked = [field.name for field in fields(Wishes) if getattr(wishes, field.name) != field.default]
            option = {"settings": "set", "format_": "format"}.get(asked[0], asked[0]).replace("_", "-")
            raise UsageError(
                f"--{option}: {str(path)!r} is a folder, judged as its run says; give the history file in it"
            )
        return _check_folder(path)
    if not path.is_file():
        raise UsageError(f"history {str(path)!r}: no such file; give a history file or the folder of a run")
    try:
        history = History.read(path, wishes.format_)
    except HistoryError as error:
        raise UsageError(str(error)) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"history {str(path)!r} is not text: {error}; give a history file") from None
    except OSError as error:
        raise UsageError(f"history {str(path)!r} cannot be read: {error.strerror}") from None
    return _judge(history, wishes)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"--initial {text!r} is not JSON; write null, 0 or '\"text\"'") from None


def _judge(history: History, wishes: Wishes) -> int:
    if not len(history):
        return _nothing(history)
    chosen = wishes.model or _guessed(history)
    if wishes.witness is not None and chosen not in MODELS:
        raise UsageError(f"--witness: {chosen} has no orders to show; those that have: {', '.join(MODELS)}")
    start = _json(wishes.initial if wishes.initial is not None else INITIAL.get(chosen, "null"))
    settings = dict(map(_setting, wishes.settings))
    options = Options(initial=start, null_read=wishes.null_read, settings=settings, budget=wishes.budget())
    if wishes.consistency_model is not None:
        options = replace(options, consistency_model=_consistency_model(chosen, wishes.consistency_model))
    say = partial(output().print, markup=False, highlight=False)
    say(headline(history, chosen, guessed=wishes.model is None))
    for note in history.notes:
        say(f"note: {note}")
    try:
        result = check(history, model=chosen, options=options)
    except HistoryError as error:
        raise UsageError(str(error)) from None
    except ValueError as error:
        raise UsageError(f"model {str(error).removeprefix(f'{chosen}: ')}") from None
    if given := premises(chosen, options):
        say(given)
    code = _say(result)
    if wishes.witness is not None:
        _write_witness(history, chosen, options, wishes.witness)
    return code


def _nothing(history: History) -> int:
    """An empty file never passes for valid: more likely it is the wrong one."""
    say = partial(output().print, markup=False, highlight=False)
    for note in history.notes:
        say(f"note: {note}")
    say(str(Validity.UNKNOWN).upper())
    say(f"- nothing to judge: {history.source} ({history.format}) has no operations")
    return EXIT_CODES[str(Validity.UNKNOWN)]


def _write_witness(history: History, model: str, options: Options, path: Path) -> None:
    """One line a key: an order in which its operations can have taken effect, by their numbers."""
    say = partial(output().print, markup=False, highlight=False)
    found = witness(history, model=model, initial=options.initial, null_read=options.null_read, budget=options.budget)
    if found is None:
        say("no witness: no order that real time allows was found")
        return
    try:
        path.write_text("".join(f"{json.dumps(line)}\n" for line in found.lines(history)))
    except OSError as error:
        raise UsageError(f"--witness {str(path)!r} cannot be written: {error.strerror}") from None
    say(f"witness (an order of the operations of each key, replayed): {path}")


def _consistency_model(chosen: str, name: str) -> str:
    if chosen not in TRANSACTIONS:
        raise UsageError(
            f"--consistency-model: {chosen} has no transactions; those that have: {', '.join(TRANSACTIONS)}"
        )
    for one in name.split(","):
        if one.strip() not in {*CONSISTENCY_MODELS, *ALIASES}:
            raise UsageError(f"--consistency-model {one.strip()!r}: {nearest(one, [*CONSISTENCY_MODELS, *ALIASES])}")
    return name


def _setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {text!r}: write NAME=VALUE, the value as JSON")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


def _guessed(history: History) -> str:
    name = guess(history)
    if name is None:
        functions = ", ".join(sorted(history.functions)) or "none at all"
        raise UsageError(f"no model has the operations {functions}; say --model NAME (`--model list` shows all)")
    return name


def _say(result: Result) -> int:
    say = partial(output().print, markup=False, highlight=False)
    for line in told(result):
        say(line)
    return EXIT_CODES[str(result.validity)]


def _check_folder(path: Path) -> int:
    from harness.commands.browse import run_folder  # brings all systems
    from harness.judge import judge, write_verdict

    folder = run_folder(path)
    try:
        verdict = judge(folder)
    except (HistoryError, UnicodeDecodeError) as error:
        raise UsageError(f"run {str(path)!r} cannot be judged: {error}") from None
    say = partial(output().print, markup=False, highlight=False)
    try:
        sentence = write_verdict(folder, verdict)
    except OSError as error:
        sentence = f"(verdict.json could not be written: {error.strerror})"
    repeated = any(finding.message == sentence for finding in verdict.findings)
    say(str(verdict.validity).upper() + ("" if repeated else f": {sentence}"))
    for finding in verdict.findings:
        say(f"- {finding.kind} ({finding.blame}): {finding.message}")
    return EXIT_CODES[str(verdict.validity)]
