"""Garbage in: refused with file, line and reason, or read as the history that it is; never a crash, never a flood.

The fuzz tests are short here; ``FUZZ_EXAMPLES=100000 pytest tests/checkers/test_garbage.py`` runs them for minutes.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import CHECKS, History, HistoryError
from checkers.formats import FORMATS
from harness.cli import main
from tests.checkers.histories import register_history

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))

MESSAGE_LIMIT = 700
"""Characters of an error message without the file's name: some lines of a terminal."""

CALL = {"time": 1, "process": 0, "type": "invoke", "f": "write", "value": 1}
DONE = {**CALL, "time": 2, "type": "ok"}
LONG = "x" * 1_000_000


def lines(*events: Any) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


GARBAGE: dict[str, tuple[str, int | None, str]] = {
    # what the file holds, the line that is named, words of the reason
    "a malformed line": (lines(CALL) + "{oops}\n" + lines(DONE), 2, "not JSON"),
    "a line torn in the middle": (lines(CALL) + '{"time":2,"pro\n' + lines(DONE), 2, "not JSON"),
    "another object": (lines(CALL, {"a": 1}), 2, "missing required field"),
    "no object": (lines(CALL, [1]), 2, "Expected `object`"),
    "a text for a time": (lines({**CALL, "time": "1"}), 1, "$.time"),
    "a time beyond 64 bits": (lines({**CALL, "time": 2**64}), 1, "$.time"),
    "a time at the edge of 64 bits": (lines({**CALL, "time": 2**63 - 1}), 1, "$.time"),
    "a time of many digits": (lines(CALL) + '{"time":' + "9" * 5000 + "}\n", 2, "out of range"),
    "a process beyond 64 bits": (lines({**CALL, "process": 2**64}), 1, "$.process"),
    "a process that is a float": (lines({**CALL, "process": 0.0}), 1, "$.process"),
    "a process that is a text": (lines({**CALL, "process": "0"}), 1, "the process is '0'"),
    "an unknown type": (lines({**CALL, "type": "maybe"}), 1, "$.type"),
    "an unknown type of a million characters": (lines({**CALL, "type": LONG}), 1, "$.type"),
    "a function that is no text": (lines({**CALL, "f": None}), 1, "$.f"),
    "ok without invoke": (lines(DONE), 1, "ok without an invocation"),
    "ok twice": (lines(CALL, DONE, {**DONE, "time": 3}), 3, "ok without an invocation"),
    "two invokes of one process": (lines(CALL, {**CALL, "time": 2}), 2, "still open"),
    "time going back": (lines(CALL, {**DONE, "time": 0}), 2, "time goes back from 1 to 0"),
    "another function completes": (lines(CALL, {**DONE, "f": "read"}), 2, "invoked write but 'read' completed"),
    "another key completes": (lines({**CALL, "key": 1}, {**DONE, "key": 2}), 2, "invoked on key 1 but 2 completed"),
    "another key of a million characters": (lines({**CALL, "key": LONG}, {**DONE, "key": LONG + "y"}), 2, "key"),
    "a cas without a pair": (lines({**CALL, "f": "cas"}), 1, "a cas has the value 1"),
    "a cas of a million characters": (lines({**CALL, "f": "cas", "value": LONG}), 1, "a cas has the value"),
    "a function of a million characters": (lines(CALL, {**DONE, "f": LONG}), 2, "completed"),
    "a process of a million characters": (lines({**CALL, "process": LONG}), 1, "the process is"),
    "a line of a million characters": (lines(CALL) + LONG + "\n", 2, "not JSON"),
    "a key of an object of a million characters": (lines(CALL, {LONG: 1}), 2, "missing required field"),
    "a value nested beyond measure": (f'{{"time":1,"value":{deep(100_000)}}}\n', 1, "too deep"),
    "a value nested too deep": (
        lines(CALL).replace('"value": 1', f'"value": {deep(100)}'),
        1,
        "nested deeper than 64",
    ),
    "a key nested too deep": (lines({**CALL, "key": json.loads(deep(100))}), 1, "its key is what JSON cannot say"),
    "an error nested too deep": (
        lines({**CALL, "error": json.loads(deep(100))}),
        1,
        "its error is what JSON cannot say",
    ),
    "a fault nested too deep": (
        lines({**CALL, "process": "nemesis", "value": json.loads(deep(100))}),
        1,
        "nested deeper than 64",
    ),
    "NaN": (lines(CALL, {**DONE, "value": float("nan")}), 2, "not JSON"),
    "a float beyond measure": (lines(CALL) + '{"time":2,"value":1e999}\n', 2, "out of range"),
    "half a character": (lines(CALL) + '{"time":2,"f":"\\ud800"}\n', 2, "not JSON"),
    "a NUL byte": (lines(CALL) + "\x00\n", 2, "not JSON"),
    "a byte order mark": ("\ufeff" + lines(CALL), 1, "byte order mark"),
    "a JSON array": (json.dumps([CALL]), 1, "one object a line"),
    "a page": ("<!DOCTYPE html>\n<html></html>\n", 1, "no history in a known format"),
    "only NUL bytes": ("\x00" * 100, 1, "no history in a known format"),
    "EDN that is not closed": ("[{:process 0, :type :invoke\n", 1, "is not closed"),
    "EDN torn in the middle": ('{:process 0, :type :invoke, :f :read}\n{:process "\n{:a 1}\n', 2, "closed"),
    "EDN with two equal keys": ("{:process 0, :type :invoke, :f :read, :value {1 2, 1 3}}", 1, "two keys '1'"),
    "EDN with a number of many digits": ("{:process 0, :type :invoke, :f :read, :value " + "9" * 5000 + "}", 1, "5000"),
    "EDN with infinity": ("{:process 0, :type :invoke, :f :read, :value ##Inf}", 1, "JSON cannot say"),
    "EDN with a float beyond measure": ("{:process 0, :type :invoke, :f :read, :value 1e999}", 1, "too large"),
    "EDN with half a character": ("{:process 0, :type :invoke, :f :read, :value \\ud800}", 1, "half a character"),
    "EDN nested beyond measure": ("{:process 0 :type :invoke :f :read :value " + deep(100_000) + "}", 1, "too deep"),
    "EDN with a time beyond 64 bits": (f"{{:process 0, :type :invoke, :f :read, :time {2**64}}}", 1, "$.time"),
    "EDN with a time that is a float": ("\n{:process 0, :type :invoke, :f :read, :time 1.5}", 2, "$.time"),
    "EDN without a type": ("{:process 0,\n :f :read}\n{:process 1}", 1, "missing required field `type`"),
    "EDN in a vector, third line": ("[{:process 0, :type :invoke, :f :read}\n\n{:process 0, :f :read}]", 3, "`type`"),
    "EDN with text of a million characters": (f'{{:process "{LONG}", :type :invoke, :f :read}}', 1, "the process is"),
    "EDN with a tuple that is none": (
        "{:process 0, :type :invoke, :f :read, :value #jepsen.independent.Tuple [1]}",
        1,
        "no [key value]",
    ),
    "a log whose value is not EDN": ("INFO 0\t:invoke\t:read\t[1\nmore\n", 1, "not EDN"),
    "a log whose process completes nothing": ("INFO 0\t:ok\t:read\t1\n", 1, "ok without an invocation"),
    "a log of a million blanks": ("INFO 0\t:invoke\t:read\tnil\n" + " " * 1_000_000 + "0 :ok :read }\n", 2, "not EDN"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_with_its_line_and_reason(name: str, tmp_path: Path) -> None:
    """And in few words: the reason, the value cut short, and what to do."""
    text, line, words = GARBAGE[name]
    path = tmp_path / "history"
    path.write_text(text)
    with pytest.raises(HistoryError) as caught:
        History.read(path)
    message = str(caught.value)
    assert caught.value.line == line
    assert message.startswith(f"{path}, line {line}: ")
    assert words in message
    assert len(message) - len(str(path)) < MESSAGE_LIMIT
    assert "\n" not in message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(lines(CALL, DONE).encode(), mtime=0), "compressed by gzip"),
        ("\ufeff".encode("utf-16") + lines(CALL).encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04....", "zip archive"),
        (b"PAR1\x15\x04", "a Parquet file"),
    ],
)
def test_a_file_of_another_kind_is_named(data: bytes, words: str, tmp_path: Path) -> None:
    """With what to do about it."""
    path = tmp_path / "history.jsonl"
    path.write_bytes(data)
    with pytest.raises(HistoryError, match=words):
        History.read(path)


@pytest.mark.parametrize(
    "data",
    [
        lines(CALL).encode() + b'{"f":"\xff"}\n',
        b'{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :value "\xff"}',
        b'INFO \xff something else\nINFO 0\t:invoke\t:write\t"\xe9"\n',
    ],
    ids=["jsonl", "edn", "jepsen-log"],
)
def test_bytes_that_are_no_text_are_refused(data: bytes, tmp_path: Path) -> None:
    """To replace them would make different values equal."""
    path = tmp_path / "history"
    path.write_bytes(data)
    with pytest.raises(HistoryError, match=r"line 2: .*(UTF-8|utf-8)"):
        History.read(path)


GOOD = {
    "an empty file": ("", 0, 0),
    "blank lines": ("\n \n\t\r\n", 0, 0),
    "lines that end as on Windows": (lines(CALL, DONE).replace("\n", "\r\n"), 1, 0),
    "a torn last line": (lines(CALL, DONE) + '{"time":3,"proc', 1, 1),
    "a last line torn within a character": (lines(CALL, DONE) + '{"time":3,"f":"\udce2\udc82', 1, 1),
    "only a torn line": ('{"time":3,"proc', 0, 1),
    "a torn last line of EDN": ('{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :value "a', 1, 1),
    "an empty EDN history": ("[]\n", 0, 0),
    "a value of a million characters": (lines({**CALL, "value": LONG}, {**DONE, "value": LONG}), 1, 0),
    "an integer of a thousand bits": (lines({**CALL, "value": 2**200}, {**DONE, "value": 2**200}), 1, 0),
    "the widest object": (lines({**CALL, "value": {str(at): at for at in range(10_000)}}), 1, 0),
    "a NUL in a text": (lines({**CALL, "value": "\x00"}, {**DONE, "value": "\x00"}), 1, 0),
    "a torn last line of a log": ("INFO 0\t:invoke\t:read\tnil\nINFO 0\t:ok\t:read\t[1", 1, 1),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_looks_odd_but_is_a_history(name: str, tmp_path: Path) -> None:
    """Read, and what was cut is said in few words."""
    text, operations, notes = GOOD[name]
    path = tmp_path / "history"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    history = History.read(path)
    assert (len(history), len(history.notes)) == (operations, notes)
    assert all("torn and was cut" in note and len(note) < MESSAGE_LIMIT + len(str(path)) for note in history.notes)


def valid_files() -> dict[str, bytes]:
    """A small proper history in every format."""
    events = register_history(random.Random(5), keys=1)
    ours = [{**event, "index": at, "key": None} for at, event in enumerate(events)]
    edn = [
        f"{{:index {at}, :time {event['time']}, :type :{event['type']}, :process {event['process']}, "
        f":f :{event['f']}, :value {edn_value(event['value'])}}}"
        for at, event in enumerate(ours)
    ]
    log = [
        f"INFO  jepsen.util - {event['process']}\t:{event['type']}\t:{event['f']}\t{edn_value(event['value'])}"
        for event in ours
    ]
    put = '{{:process {0}, :type :{1}, :f :put, :key "{2}", :value "x {0}"}}'
    kv = [put.format(at // 2, "ok" if at % 2 else "invoke", at // 2 % 3) for at in range(8)]
    return {
        "jsonl": lines(*ours).encode(),
        "edn": "\n".join(edn).encode() + b"\n",
        "edn in a vector": ("[" + "\n ".join(edn) + "]\n").encode(),
        "jepsen-log": "\n".join(log).encode() + b"\n",
        "porcupine-kv": "\n".join(kv).encode() + b"\n",
    }


def edn_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(map(edn_value, value)) + "]"
    return "nil" if value is None else str(value)


def mutated(random_: random.Random, data: bytes) -> bytes:
    """One to four changes: bytes flipped, cut out, repeated or put in; lines repeated, moved or joined; the end cut."""
    for _ in range(random_.randint(1, 4)):
        at, change = random_.randrange(len(data) + 1), random_.randrange(8)
        end = at + random_.choice((1, 2, 10, 100))
        if change == 0:
            data = data[:at] + bytes(byte ^ (1 << random_.randrange(8)) for byte in data[at : at + 1]) + data[at + 1 :]
        elif change == 1:
            data = data[:at] + data[end:]
        elif change == 2:
            data = data[:end] + data[at:end] + data[end:]
        elif change == 3:
            data = data[:at]
        elif change == 4:
            data = data[:at] + random_.choice(TOKENS) + data[at:]
        elif change == 5:
            data = data.replace(
                random_.choice((b"0", b"1", b"invoke", b"read", b"null", b"nil")), random_.choice(TOKENS)
            )
        else:
            rows = data.splitlines(keepends=True)
            random_.shuffle(rows) if change == 6 else rows.insert(random_.randrange(len(rows) + 1), data[at:end])
            data = b"".join(rows)
    return data


TOKENS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b"\n",
        b"\r\n",
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xe2\x82\xac",
        b",",
        b":",
    ),
    *(b"null", b"nil", b"true", b"-0", b"1.0", b"1e999", b"NaN", b"##NaN", b"9" * 400, b"9223372036854775807", b"1/2"),
    *(b"#{", b"#_", b"#", b"(", b")", b";", b"\\newline", b"\\ud800", b'"\\ud83d"', b"{}", b"[" * 80, b"[]", b"[1 2]"),
    *(
        b'{"a":1}',
        b"[[1,2],[3,4]]",
        b":nemesis",
        b'"nemesis"',
        b"cas",
        b"txn",
        b"info",
        b"fail",
        b"#jepsen.independent.Tuple",
    ),
)

FILES = valid_files()


def test_the_fuzzed_files_are_histories(tmp_path: Path) -> None:
    """Mutants of what is refused anyway would prove nothing."""
    for name, data in FILES.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert History.read(path).format == name.split()[0]
        assert len(History.read(path)) > 2


def read_any(path: Path, name: str | None) -> str:
    """The history's length, or the complaint, which is one short line with the file's name."""
    try:
        return f"{len(History.read(path, format=name))} operations"
    except HistoryError as error:
        message = str(error)
        assert message.startswith(str(path))
        assert len(message) - len(str(path)) < MESSAGE_LIMIT
        assert "\n" not in message
        return message


@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**64), name=st.sampled_from(sorted(FILES)))
def test_mutants_of_histories_crash_no_reader(seed: int, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A history or a complaint: by the reader that fits, and by that of another format."""
    random_ = random.Random(seed)
    path = tmp_path_factory.getbasetemp() / "mutant"
    path.write_bytes(mutated(random_, FILES[name]))
    read_any(path, None)
    read_any(path, random_.choice(sorted(FORMATS)))


@settings(max_examples=EXAMPLES)
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_noise_crashes_no_reader(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bytes and texts, for every format."""
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(data)
    for name in (None, *FORMATS):
        read_any(path, name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)
EVENT = st.fixed_dictionaries(
    {"time": st.integers(0, 5) | JSON, "process": st.integers(0, 2) | st.just("nemesis") | JSON},
    optional={
        "type": st.sampled_from(["invoke", "ok", "fail", "info"]) | JSON,
        "f": st.sampled_from(["read", "write", "cas"]) | JSON,
        **dict.fromkeys(("value", "key", "error"), JSON),
        "node": st.just("n1") | JSON,
        "final": st.booleans() | JSON,
        "index": JSON,
    },
)


@settings(max_examples=EXAMPLES)
@given(events=st.lists(EVENT, max_size=5))
def test_random_events_crash_nothing(events: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fields of all sorts of types."""
    path = tmp_path_factory.getbasetemp() / "events"
    path.write_text(lines(*events))
    read_any(path, "jsonl")


def command(arguments: list[str]) -> tuple[int, str]:
    """Exit code and standard error of the command line."""
    errors, before = io.StringIO(), sys.argv
    sys.argv = ["capsize", *arguments]
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as done:
        return int(done.code or 0), errors.getvalue()
    finally:
        sys.argv = before
    return 0, errors.getvalue()


@pytest.mark.parametrize("name", GARBAGE)
def test_the_command_ends_with_64_and_one_line(name: str, tmp_path: Path) -> None:
    """For every sort of garbage, and no traceback."""
    path = tmp_path / "history"
    path.write_text(GARBAGE[name][0])
    code, said = command(["check", str(path)])
    assert code == 64
    assert said.startswith(f"capsize: {path}, line ")
    assert said.count("\n") == 1


@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**64), name=st.sampled_from(sorted(FILES)))
def test_mutants_of_histories_never_crash_the_command(
    seed: int, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A verdict or 64 with one message; never 70, which would be a crash."""
    path = tmp_path_factory.getbasetemp() / "mutant"
    path.write_bytes(mutated(random.Random(seed), FILES[name]))
    code, said = command(["check", str(path)])
    assert code in (0, 1, 2, 64), said
    assert "Traceback" not in said
    assert (code == 64) == said.startswith("capsize: ")
    assert len(said) < 2 * MESSAGE_LIMIT


ODD = (
    *(None, 0, 1, -1, True, False, 1.5, "", "a", [], [1], [1, 2], [1, 2, 3], {}, {"a": 1}, {"0": 10}, 2**70, [None]),
    *([["r", 1, None]], [["append", "x", 3], ["r", "x", [3]]], [["w", 1, 1]], [["r"]], [[]], [["r", {}, 3]], [True, 1]),
    *({"from": 0, "to": 1, "amount": 3}, [["append", None, 1]], [{"a": 1}], {"revision": 1, "type": "put"}),
)
"""Arguments and results that are right for one data type and wrong for most."""


@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**64), model=st.sampled_from(sorted(CHECKS)))
def test_values_of_wrong_types_crash_no_checker(
    seed: int, model: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Proper events with the functions of a data type and values of any: a verdict or 64, by every checker."""
    random_ = random.Random(seed)
    functions, values = sorted(CHECKS[model].functions) or ["read"], random_.sample(ODD, 4)
    open_: dict[int, dict[str, Any]] = {}
    events: list[dict[str, Any]] = []
    for time in range(random_.randint(1, 14)):
        process = random_.randrange(3)
        if process in open_:
            call = open_.pop(process)
            value = random_.choice([*values, call["value"]])
            events.append({**call, "time": time, "type": random_.choice(("ok", "ok", "fail", "info")), "value": value})
        else:
            call = {"process": process, "f": random_.choice(functions), "value": random_.choice(values)}
            open_[process] = call
            events.append({**call, "time": time, "type": "invoke"})
    path = tmp_path_factory.getbasetemp() / "odd"
    path.write_text(lines(*events))
    code, said = command(["check", str(path), "--model", model])
    assert code in (0, 1, 2, 64), said
    assert len(said) < 2 * MESSAGE_LIMIT
