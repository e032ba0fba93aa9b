"""Reading other people's histories."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from checkers import History, HistoryError, check
from checkers.formats import FORMATS, detect
from checkers.formats.edn import EdnError, Reader

LINES = [
    {"index": 0, "time": 1, "process": 0, "type": "invoke", "f": "write", "key": "a", "value": 1},
    {"index": 1, "time": 2, "process": 0, "type": "ok", "f": "write", "key": "a", "value": 1},
]


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def jsonl(lines: list[dict[str, object]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_a_torn_last_line_is_cut_and_said(tmp_path: Path) -> None:
    """The run was killed while it wrote; what it wrote before counts."""
    history = History.read(write(tmp_path / "h.jsonl", jsonl(LINES) + '{"index":2,"time":3,"proc'))
    assert len(history) == 1
    assert len(history.notes) == 1
    assert "line 3: the last line is torn and was cut" in history.notes[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{oops}\n", "line 2: not JSON"),
        ('{"time":1}\n', "missing required field"),
        ("[1,2]\n", "Expected `object`, got `array`"),
        ('{"time":1.5,"process":0,"type":"invoke","f":"read"}\n', "Expected `int`, got `float`"),
        ('{"time":1,"process":0,"type":"invoke","f":"read","final":"yes"}\n', "$.final"),
    ],
)
def test_any_other_malformed_line_is_an_error(tmp_path: Path, line: str, words: str) -> None:
    """Skipping it would judge another history than the one that happened."""
    text = jsonl(LINES[:1]) + line + jsonl(LINES[1:])
    with pytest.raises(HistoryError) as caught:
        History.read(write(tmp_path / "h.jsonl", text))
    assert caught.value.line == 2
    assert words in str(caught.value)


def test_a_complete_last_line_without_newline_counts(tmp_path: Path) -> None:
    """Only a line that is no JSON is torn."""
    history = History.read(write(tmp_path / "h.jsonl", jsonl(LINES).rstrip("\n")))
    assert history.outcome.tolist() == [0]
    assert history.notes == ()


def test_an_empty_file_is_an_empty_history(tmp_path: Path) -> None:
    """A run killed before its first operation."""
    assert len(History.read(write(tmp_path / "h.jsonl", ""))) == 0


JEPSEN_LOG = """\
INFO  jepsen.core - Running test
INFO  jepsen.util - 0\t:invoke\t:write\t3
2019-06-04 11:02:55,013{GMT}\tINFO\t[jepsen worker 1] jepsen.util: 1\t:invoke\t:cas\t[3 4]
INFO  jepsen.util - 0\t:ok\t:write\t3
INFO  jepsen.util - :nemesis\t:info\t:start\tnil
INFO  jepsen.util - 1\t:info\t:cas\t:timed-out
WARN  some.thing - else
INFO  jepsen.util - 2\t:invoke\t:read\tnil
INFO  jepsen.util - 2\t:fail\t:read\t:timed-out
"""


def test_jepsen_log(tmp_path: Path) -> None:
    """Operations are found among other lines; the value of an info is its error, and the argument is kept."""
    path = write(tmp_path / "jepsen.log", JEPSEN_LOG)
    assert detect(path) == "jepsen-log"
    history = History.read(path)
    write_, cas, read = history.operations
    assert (write_.f, write_.value, str(write_.outcome)) == ("write", 3, "ok")
    assert (cas.value, str(cas.outcome), cas.error, cas.return_index) == ((3, 4), "info", "timed-out", None)
    assert (str(read.outcome), read.error) == ("fail", "timed-out")
    assert len(history.nemesis) == 1


def test_edn_of_jepsen(tmp_path: Path) -> None:
    """Records, keywords, nil, sets and comments; independent keys are recognised."""
    text = """[{:type :invoke, :f :read, :value [7 nil], :process 0, :time 5, :index 0} ; a comment
      #jepsen.history.Op{:type :ok, :f :read, :value [7 #{1}], :process 0, :time 9, :index 1}
      #_ {:ignored true}
      {:type :info, :f :start, :process :nemesis, :time 10, :value {:a-key [:n1 "n2"]}}]"""
    history = History.read(write(tmp_path / "history.edn", text))
    (read,) = history.operations
    assert history.format == "edn"
    assert (read.key, read.value, read.result, read.call_ns) == (7, None, (1,), 5)
    assert history.nemesis[0]["value"] == {"a-key": ["n1", "n2"]}
    assert "independent" in history.notes[0]


def test_compare_and_set_pairs_are_no_independent_keys(tmp_path: Path) -> None:
    """Values that are pairs only for cas stay values."""
    text = """{:type :invoke :f :cas :value [1 2] :process 0}
    {:type :invoke :f :read :value nil :process 1}
    {:type :ok :f :read :value 1 :process 1}"""
    history = History.read(write(tmp_path / "history.edn", text))
    assert [item.key for item in history.operations] == [None, None]
    assert history.operations[0].value == (1, 2)


def test_tuples_say_that_they_are_independent_keys(tmp_path: Path) -> None:
    """Also where no operation without an argument would show it."""
    text = """{:type :invoke, :f :write, :value #jepsen.independent.Tuple[:x 1], :process 0}
    {:type :ok, :f :write, :value #jepsen.independent.Tuple{:key :x, :value 1}, :process 0}"""
    (write_,) = History.read(write(tmp_path / "history.edn", text)).operations
    assert (write_.key, write_.value, write_.result) == ("x", 1, 1)


def test_a_key_that_is_said_leaves_values_alone(tmp_path: Path) -> None:
    """Even nil: the file knows what keys are."""
    text = "{:type :invoke, :f :read, :value [1 nil], :process 0, :key nil}"
    history = History.read(write(tmp_path / "history.edn", text))
    assert [(item.key, item.value) for item in history.operations] == [(None, (1, None))]
    assert history.notes == ()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("(", ")"), ("", ""), ("; of Knossos\n[\n", "\n]")])
def test_edn_of_knossos(opening: str, closing: str, tmp_path: Path) -> None:
    """A sequence of maps without times, in brackets or not: the order is the order."""
    text = """{:process 1, :type :invoke, :f :acquire, :value nil}
    {:process 1, :type :ok, :f :acquire, :value nil}, {:process 2, :type :invoke, :f :acquire}
    {:process 2, :type :info, :f :acquire, :value nil, :error [:timed-out "after 5 s"]}"""
    path = write(tmp_path / "history.edn", opening + text + closing)
    first, second = History.read(path).operations
    assert (first.call_index, first.return_index, first.return_ns) == (0, 1, 1)
    assert (second.return_index, second.error) == (None, '["timed-out","after 5 s"]')
    assert str(check(History.read(path), model="mutex").validity) == "valid"


def test_text_of_knossos(tmp_path: Path) -> None:
    """Nothing stands before the operations."""
    path = write(tmp_path / "history.txt", "0\t:invoke\t:write\t3\n0\t:ok\t:write\t3\n")
    assert detect(path) == "jepsen-log"
    assert [item.value for item in History.read(path).operations] == [3]


def test_times_that_not_every_event_has_are_not_taken(tmp_path: Path) -> None:
    """Numbers and nanoseconds don't mix; that is said."""
    text = """{:process 1, :type :invoke, :f :read, :time 500}
    {:process 1, :type :ok, :f :read, :value 1}"""
    history = History.read(write(tmp_path / "history.edn", text))
    assert (history.call_ns.tolist(), history.return_ns.tolist()) == ([0], [1])
    assert "not every event has a time" in history.notes[0]


def test_maps_with_numbers_as_keys(tmp_path: Path) -> None:
    """A bank's balances: keys are text, as in JSON; every other key is the text of its JSON."""
    text = (
        "{:process 1, :type :invoke, :f :read} {:process 1, :type :ok, :f :read, :value {0 10, [1 :a] 2, nil 3, #{} 4}}"
    )
    (read,) = History.read(write(tmp_path / "history.edn", text)).operations
    assert read.result == {"0": 10, '[1,"a"]': 2, "null": 3, "[]": 4}


def test_porcupine_kv(tmp_path: Path) -> None:
    """One map a line with a key and no time: the order of the lines is the order."""
    text = """{:process 0, :type :invoke, :f :append, :key "5", :value "x \\"q\\" y"}
{:process 0, :type :ok, :f :append, :key "5", :value "x \\"q\\" y"}
"""
    path = write(tmp_path / "c01.txt", text)
    assert detect(path) == "porcupine-kv"
    (append,) = History.read(path).operations
    assert (append.f, append.key, append.value, append.return_index) == ("append", "5", 'x "q" y', 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[{:process 0 :type :invoke", "is not closed"),
        ("{:process 0 :type}", "a key that has no value"),
        ("{:process 0 :type :invoke :f :read} ]", "closes nothing"),
        ('{:process 0 :type :invoke :f :read :value "x', "not closed"),
        ("{:process 0 :type :invoke :f :read}\n42", "line 2: not a map"),
        ("{:process 0.5 :type :invoke :f :read}", "$.process"),
        ("{:process 0 :type :invoke :f :read :value " + "[" * 100 + "]" * 100 + "}", "too deep"),
    ],
)
def test_bad_edn_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """With the line and what to do."""
    with pytest.raises(HistoryError, match=r"line \d+: ") as caught:
        History.read(write(tmp_path / "history.edn", text), format="edn")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["<html>", "a,b,c\n1,2,3\n", "\x00\x01\x02"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    """The error names the formats."""
    with pytest.raises(HistoryError, match="no history in a known format") as caught:
        History.read(write(tmp_path / "page", text))
    assert all(name in str(caught.value) for name in FORMATS)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """The error names the known ones."""
    with pytest.raises(HistoryError, match="no history format 'csv'"):
        History.read(write(tmp_path / "h", ""), format="csv")


def test_edn_values() -> None:
    """The notation, value by value."""
    text = r'nil true -3 1_000N 2.5 1e3 "a\nb" \x \newline :k/w sym (1, 2) #inst "2020" #{3} {1 [2]} #_ 9'
    values = [value for _, value in Reader(text)]
    assert values == [
        None,
        True,
        -3,
        1000,
        2.5,
        1000.0,
        "a\nb",
        "x",
        "\n",
        "k/w",
        "sym",
        [1, 2],
        "2020",
        [3],
        {"1": [2]},
    ]


@settings(max_examples=200)
@given(text=st.text(alphabet='{}[]()#_:"\\ ;\n,aN0.-+e', max_size=40))
@example('#"')
@example("#_")
@example("#")
def test_no_text_crashes_the_edn_reader(text: str) -> None:
    """Values, or an EdnError; nothing else, and it ends."""
    with contextlib.suppress(EdnError):
        list(Reader(text))


@settings(max_examples=100)
@given(data=st.binary(max_size=60), prefix=st.sampled_from([b"", b'{"', b"{:", b"[{:", b"INFO - 0 :invoke :read "]))
def test_no_file_crashes_the_readers(data: bytes, prefix: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A history, or a HistoryError."""
    path = tmp_path_factory.mktemp("fuzz") / "file"
    path.write_bytes(prefix + data)
    with contextlib.suppress(HistoryError):
        History.read(path)
