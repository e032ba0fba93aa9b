"""Histories out: what goes out comes in again as the same operations, and other tools find what they expect."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History, check
from checkers.formats import FORMATS, WRITERS, detect
from checkers.formats.edn import Reader, written
from checkers.formats.parquet import write
from tests.checkers.histories import register_history
from tests.checkers.test_blocks import assert_same, random_events


def exported(path: Path, to: str) -> Path:
    """The file in another format, as the command writes it."""
    source = str(path)
    events = [event for _, event in FORMATS[detect(source)](source, [])]
    target = path.with_name(f"exported.{to}")
    target.write_bytes(b"".join(WRITERS[to](events)))
    return target


def saved(path: Path, events: list[Any]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def operations(path: Path, *, notes: bool = False) -> list[Any]:
    history = History.read(path)
    assert notes or history.notes == () or "independent keys" in history.notes[0]
    return list(history.operations)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_there_and_back_again(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Our lines to EDN to our lines: the same operations, faults, values and order of events."""
    folder = tmp_path_factory.mktemp("export")
    ours = saved(folder / "history.jsonl", random_events(random.Random(seed)))
    edn = exported(ours, "edn")
    again = exported(edn, "jsonl") if edn.stat().st_size else ours
    first, last = History.read(ours), History.read(again)
    assert operations(edn) == operations(again)
    assert_same(replace(first, nemesis=(), notes=()), replace(last, nemesis=(), notes=()))
    assert [fault.get("value") for fault in first.nemesis] == [fault.get("value") for fault in last.nemesis]


@pytest.mark.parametrize("keys", [1, 3])
def test_the_verdict_is_the_same_after_a_round_trip(keys: int, tmp_path: Path) -> None:
    """Both verdicts are frequent here."""
    seen = set()
    for seed in range(30):
        events = register_history(random.Random(seed), keys=keys)
        ours = saved(tmp_path / "history.jsonl", list(events))
        edn = exported(ours, "edn")
        verdicts = {str(check(History.read(path), model="cas-register").validity) for path in (ours, edn)}
        assert len(verdicts) == 1
        seen |= verdicts
    assert seen == {"valid", "invalid"}


def event(time: int, process: Any, type_: str, f: str, value: Any = None, **more: Any) -> dict[str, Any]:
    return {"time": time, "process": process, "type": type_, "f": f, "value": value, **more}


def edn_of(tmp_path: Path, events: list[Any]) -> list[str]:
    return exported(saved(tmp_path / "history.jsonl", events), "edn").read_text().splitlines()


def test_edn_is_written_as_jepsen_reads_it(tmp_path: Path) -> None:
    """Keywords for types and functions, `:nemesis`, keys in the values, and nothing that JSON alone would say."""
    events = [
        event(5, 0, "invoke", "read", key=7),
        event(6, "nemesis", "info", "inject", {"id": 1, "two words": None}),
        event(7, 0, "ok", "read", 3, node="n1", final=True),
        event(8, 1, "invoke", "cas", [1, 2], key=7),
        event(9, 1, "info", "cas", [1, 2], key=7, error="timed out", attempts=2),
    ]
    assert edn_of(tmp_path, events) == [
        "{:index 0, :time 5, :type :invoke, :process 0, :f :read, :value [7 nil]}",
        '{:index 1, :time 6, :type :info, :process :nemesis, :f :inject, :value {:id 1, "two words" nil}}',
        '{:index 2, :time 7, :type :ok, :process 0, :f :read, :value [7 3], :node "n1", :final true}',
        "{:index 3, :time 8, :type :invoke, :process 1, :f :cas, :value [7 [1 2]]}",
        '{:index 4, :time 9, :type :info, :process 1, :f :cas, :value [7 [1 2]], :error "timed out", :attempts 2}',
    ]


def test_transactions_are_written_as_elle_reads_them(tmp_path: Path) -> None:
    """Functions of micro-operations are keywords; keys and values stay what they are."""
    events = [
        event(1, 0, "invoke", "txn", [["append", "x", 1], ["r", 3, None]]),
        event(2, 0, "ok", "txn", [["append", "x", 1], ["r", 3, [1, True, 1.0]]]),
    ]
    lines = edn_of(tmp_path, events)
    assert ':value [[:append "x" 1] [:r 3 nil]]' in lines[0]
    assert ':value [[:append "x" 1] [:r 3 [1 true 1.0]]]' in lines[1]


def test_maps_of_a_bank_have_numbers_as_keys(tmp_path: Path) -> None:
    """As Jepsen's have; here they are text, as JSON knows no other keys."""
    events = [event(1, 0, "invoke", "read"), event(2, 0, "ok", "read", {"0": 10, "-1": 20, "01": 5, "a": 1})]
    assert edn_of(tmp_path, events)[1].endswith(':value {0 10, -1 20, "01" 5, :a 1}}')
    assert operations(tmp_path / "exported.edn") == operations(tmp_path / "history.jsonl")


def test_keys_that_would_not_be_recognised_are_said(tmp_path: Path) -> None:
    """Pairs of key and value are only written where readers can tell them from values that are pairs."""
    writes = [event(1, 0, "invoke", "write", 1, key="a"), event(2, 0, "ok", "write", 1, key="a")]
    assert edn_of(tmp_path, writes)[0].endswith(':value 1, :key "a"}')
    assert operations(tmp_path / "exported.edn") == operations(tmp_path / "history.jsonl")
    pairs = [event(1, 0, "invoke", "read", [1, None]), event(2, 0, "ok", "read", [1, 2])]
    assert edn_of(tmp_path, pairs)[0].endswith(":value [1 nil], :key nil}")
    assert operations(tmp_path / "exported.edn") == operations(tmp_path / "history.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150)
@given(value=JSON)
def test_any_value_is_the_same_after_edn(value: Any) -> None:
    """Types too: 1, 1.0, true and "1" stay apart; line breaks and quotes survive."""
    [(_, again)] = list(Reader(written(value)))
    assert repr(again) == repr(value)


def test_parquet_is_read_by_pandas(tmp_path: Path) -> None:
    """One row an operation, whole numbers whole, values as JSON, faults in the metadata."""
    events = [
        event(5, 0, "invoke", "write", "7", key="a"),
        event(6, "nemesis", "info", "inject", {"id": 1}),
        event(7, 1, "invoke", "cas", [[1], True], key="a"),
        event(8, 2, "invoke", "read", key="a", final=True),
        event(2**55 + 1, 2, "ok", "read", 7, key="a", node="n1"),
        event(2**55 + 2, 1, "info", "cas", [[1], True], key="a", error="timeout"),
    ]
    path = tmp_path / "history.parquet"
    write(History.of(events), path)
    frame = pd.read_parquet(path)
    assert frame["f"].tolist() == ["write", "cas", "read"]
    assert frame["key"].tolist() == ['"a"'] * 3
    assert frame["value"].tolist() == ['"7"', "true", "null"]
    assert frame["expected"].fillna("-").tolist() == ["-", "[1]", "-"]
    assert frame["result"].fillna("-").tolist() == ["-", "-", "7"]
    assert frame["outcome"].tolist() == ["info", "info", "ok"]
    assert frame["call_index"].tolist() == [0, 2, 3]
    assert frame["return_index"].fillna(-1).tolist() == [-1, -1, 4]
    assert frame["return_ns"].fillna(-1).tolist() == [-1, 2**55 + 2, 2**55 + 1]
    assert frame["node"].fillna("-").tolist() == ["-", "-", "n1"]
    assert frame["error"].fillna("-").tolist() == ["-", "timeout", "-"]
    assert frame["final"].tolist() == [False, False, True]
    assert {name: str(kind) for name, kind in frame.dtypes.items() if str(kind) in ("int64", "Int64", "bool")} == {
        **dict.fromkeys(("index", "process", "call_index", "call_ns"), "int64"),
        **dict.fromkeys(("return_index", "return_ns"), "Int64"),
        "final": "bool",
    }
    about = msgspec.json.decode(pyarrow.parquet.read_schema(path).metadata[b"capsize"])
    assert [fault["value"] for fault in about["nemesis"]] == [{"id": 1}]


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32))
def test_parquet_says_what_the_operations_say(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Column by column, for anything that there can be, and for nothing at all."""
    history = History.of(random_events(random.Random(seed)))
    path = tmp_path_factory.mktemp("export") / "history.parquet"
    write(history, path)
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert len(rows) == len(history)
    for row, item in zip(rows, history.operations, strict=True):
        value = msgspec.json.decode(row["value"])
        argument = value if row["expected"] is None else [msgspec.json.decode(row["expected"]), value]
        assert msgspec.json.encode(argument) == msgspec.json.encode(item.value)
        assert (row["process"], row["f"], row["outcome"]) == (item.process, item.f, str(item.outcome))
        assert (row["call_index"], row["return_index"], row["call_ns"]) == (
            item.call_index,
            item.return_index,
            item.call_ns,
        )
        assert (row["node"], row["error"]) == (item.node, item.error)
        assert row["key"] == (None if item.key is None else msgspec.json.encode(item.key).decode())
        if row["result"] is not None:
            assert msgspec.json.encode(item.result) == row["result"].encode()
