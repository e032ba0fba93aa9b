"""What `capsize check` prints: a person who never saw the tool understands what broke and why, in few lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from checkers import CHECKS, formats
from harness import cli
from harness.commands.answer import FINDINGS_MAX, OPERATIONS_MAX
from harness.commands.check import Wishes, check_command, list_models
from harness.errors import UsageError

MS = 1_000_000


def written(folder: Path, *operations: Sequence[Any]) -> Path:
    """A history of operations (process, f, argument, result, key), one after another, a millisecond each."""
    lines: list[Mapping[str, Any]] = []
    for place, (process, f, value, result, key) in enumerate(operations):
        call = {"process": process, "type": "invoke", "f": f, "value": value, "key": key, "time": 2 * place * MS}
        lines += [call, {**call, "type": "ok", "value": result, "time": (2 * place + 1) * MS}]
    path = folder / "history.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def judged(capsys: pytest.CaptureFixture[str], path: Path, **wishes: Any) -> tuple[int, list[str]]:
    code = check_command(path, Wishes(**wishes))
    return code, capsys.readouterr().out.splitlines()


def test_a_refusal_shows_its_operations_and_the_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sentence, the operations with numbers and times, and how it was judged."""
    path = written(tmp_path, (0, "write", 1, 1, None), (1, "read", None, None, None))
    code, lines = judged(capsys, path)
    assert code == 1
    assert lines[:3] == [
        "2 operations (jsonl), model cas-register (guessed; --model NAME overrides, --model list shows all)",
        "begins with null; null is a value like any other",
        "INVALID",
    ]
    assert lines[3].startswith("- stale read: ")
    assert lines[4:] == [
        "    operation 0: the write of 1 by process 0, 0.000 s to 0.001 s",
        "    operation 1: the read of null by process 1, 0.002 s to 0.003 s",
        "judged by the polynomial method",
    ]


def test_why_it_was_searched_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that the polynomial methods hand over says so in the answer."""
    takes = [(1, "dequeue", None, 1, None)] * 3
    path = written(tmp_path, *[(0, "enqueue", 1, 1, None)] * 2, *takes)
    code, lines = judged(capsys, path)
    assert code == 1
    assert lines[-2].startswith("judged by search (")
    assert lines[-1] == "  searched because a value is put in more than once"


def test_many_findings_and_operations_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page of text at most, whatever broke."""
    broken = [(0, "read", None, 7, f"k{key}") for key in range(FINDINGS_MAX + 4)]
    code, lines = judged(capsys, written(tmp_path, *broken))
    assert code == 1
    assert sum(line.startswith("- phantom read") for line in lines) == FINDINGS_MAX
    assert "- and 4 more findings" in lines
    assert f"judged {FINDINGS_MAX + 4} keys by the polynomial method: {FINDINGS_MAX + 4} refused" in lines
    assert max(map(len, lines)) < 300
    assert OPERATIONS_MAX < 20


def test_transactions_are_named_as_in_the_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """T1 of the sentence is told which operation it is."""
    append, read = [["append", "x", 1]], [["r", "x", []]]
    path = written(tmp_path, (0, "txn", append, append, None), (1, "txn", [["r", "x", None]], read, None))
    code, lines = judged(capsys, path)
    assert code == 1
    assert lines[1] == "begins with {}; transactions must be strict-serializable"
    assert any(line.startswith("    T2, operation 0: ") for line in lines)
    assert lines[-1].startswith("figures: transactions 2, ok 2")


def test_figures_of_what_only_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that measures says what it measured, also when nothing is wrong."""
    path = written(tmp_path, (0, "write", 1, 1, None), (1, "read", None, 1, None))
    code, lines = judged(capsys, path, model="staleness")
    assert code == 0
    assert lines[-1].startswith("figures: reads 1, reads judged 1")


def test_an_empty_history_is_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing proved never passes for valid."""
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    code, lines = judged(capsys, path)
    assert code == 2
    assert lines == ["UNKNOWN", f"- nothing to judge: {path} (jsonl) has no operations"]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"model": "cas-registr"}, "did you mean 'cas-register'"),
        ({"settings": ("x=1",)}, "cas-register has no setting 'x'; it has: none"),
        ({"settings": ("x=1",), "model": "staleness"}, "model staleness has no setting 'x'; it has: bound_ms"),
        ({"consistency_model": "serializable"}, "cas-register has no transactions; those that have: "),
        ({"initial": "abc"}, "--initial 'abc' is not JSON"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(tmp_path: Path, wishes: Mapping[str, Any], words: str) -> None:
    """No setting is ever silently ignored."""
    path = written(tmp_path, (0, "write", 1, 1, None))
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        check_command(path, Wishes(**wishes))


def test_an_unknown_consistency_model_names_the_nearest(tmp_path: Path) -> None:
    """With Elle's names and their aliases."""
    path = written(tmp_path, (0, "txn", [["r", "x", None]], [["r", "x", []]], None))
    with pytest.raises(UsageError, match="did you mean 'serializable'"):
        check_command(path, Wishes(model="list-append", consistency_model="snapshot-isolation, serialisable"))
    assert check_command(path, Wishes(consistency_model="snapshot-isolation,PL-3", model="list-append")) == 0


def test_every_model_and_setting_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--model list` leaves nothing out."""
    list_models()
    lines = capsys.readouterr().out
    for name, check in CHECKS.items():
        assert f"\n{name} " in f"\n{lines}"
        assert all(f"--set {setting}=" in lines for setting in check.settings)


def test_a_folder_is_judged_as_its_run_says(tmp_path: Path) -> None:
    """What only a history file can be asked is refused, and so is a folder that is no run's."""
    with pytest.raises(UsageError, match=r"--set: .* is a folder, judged as its run says"):
        check_command(tmp_path, Wishes(settings=("x=1",)))
    with pytest.raises(UsageError, match="is not a run's folder"):
        check_command(tmp_path, Wishes())


def test_a_format_can_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every format that is known, by the names that errors give; a wrong one is refused with the line."""
    assert set(cli.FORMATS) == set(formats.FORMATS)
    path = written(tmp_path, (0, "write", 1, 1, None))
    assert judged(capsys, path, format_="jsonl")[0] == 0
    with pytest.raises(UsageError, match="line 1"):
        check_command(path, Wishes(format_="porcupine-kv"))


def test_a_search_that_gave_up_says_what_would_help(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The data type by its name, the prefix that was checked, and the options."""
    adds = [{"process": n, "type": "invoke", "f": "enqueue", "value": n % 9, "time": n} for n in range(18)]
    adds += [{**event, "type": "ok", "time": 18 + n} for n, event in enumerate(adds)]
    path = tmp_path / "history.jsonl"
    takes = [
        {"process": 0, "type": type_, "f": "dequeue", "value": value, "time": 100 + 2 * n + later}
        for n, value in enumerate([8, 7, 6, 5, 4, 3, 2, 1, 0, 8, 7, 6, 5, 4, 3, 2, 8, 8])
        for later, type_ in enumerate(("invoke", "ok"))
    ]
    path.write_text("".join(f"{json.dumps(event)}\n" for event in [*adds, *takes]))
    code, lines = judged(capsys, path, budget_seconds=0.001)
    assert code == 2
    assert lines[3].startswith("- budget used up: The search on the queue gave up: 0.001 s were not enough")
    assert lines[4] == "    (--budget-seconds and --budget-memory give it more)"
