"""Histories as Parquet, for pandas and its like: one row an operation, in the order of their invocations.

Values have no type of their own (a result may be a number, a list or null), so ``key``, ``value``, ``expected`` and
``result`` are texts of JSON: ``7`` and ``"7"`` stay apart. What is missing is Parquet's null: a key that there is none,
the result of what is not known to have happened, the return of what nobody saw end. The fault events are in the
schema's metadata, as JSON under ``capsize``, with what the history was read from.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from checkers.columns import INFO, NEVER, Column
from checkers.history import History
from checkers.operation import Outcome
from checkers.values import ABSENT, ValueTable

VERSION = 1
"""Of this schema; in the metadata."""

_OUTCOMES = [Outcome.OK.value, Outcome.FAIL.value, Outcome.INFO.value]


def table(history: History) -> pyarrow.Table:
    """The operations: ``index``, ``process``, ``f``, ``key``, ``value`` (argument; of a compare-and-set the new value),
    ``expected`` (of a compare-and-set), ``result``, ``outcome``, ``call_index``, ``return_index`` (places in the order
    that decides), ``call_ns``, ``return_ns``, ``node``, ``error``, ``final``.
    """
    ended = (history.outcome != INFO) | (history.return_ns != ABSENT)
    columns = {
        "index": pyarrow.array(np.arange(len(history))),
        "process": pyarrow.array(history.process),
        "f": _coded(history.f, history.functions),
        "key": _values(history.key, history.keys, null_is_missing=True),
        "value": _values(history.value, history.values),
        "expected": _values(history.expected, history.values),
        "result": _values(history.result, history.values),
        "outcome": _coded(history.outcome, _OUTCOMES),
        "call_index": pyarrow.array(history.call),
        "return_index": pyarrow.array(history.return_, mask=history.return_ == NEVER),
        "call_ns": pyarrow.array(history.call_ns),
        "return_ns": pyarrow.array(history.return_ns, mask=~ended),
        "node": _coded(history.node, history.nodes),
        "error": _coded(history.error, history.errors),
        "final": pyarrow.array(history.final),
    }
    about = {"version": VERSION, "format": history.format, "events": history.events, "nemesis": list(history.nemesis)}
    metadata = {"capsize": msgspec.json.encode(about), "pandas": _pandas_metadata(list(columns))}
    return pyarrow.table(columns, metadata=metadata)


def _pandas_metadata(names: Sequence[str]) -> bytes:
    """What keeps pandas from reading whole numbers as floats where some are missing."""
    kinds = {"process": "int64", "call_ns": "int64", "return_ns": "Int64", "final": "bool"}
    kinds |= {"index": "int64", "call_index": "int64", "return_index": "Int64"}
    like = pd.DataFrame({name: pd.Series(dtype=kinds.get(name, "object")) for name in names})
    metadata: bytes = pyarrow.Schema.from_pandas(like, preserve_index=False).metadata[b"pandas"]
    return metadata


def write(history: History, path: str | os.PathLike[str]) -> None:
    """Writes :func:`table`.

    Raises:
        OSError: the file cannot be written.
    """
    pyarrow.parquet.write_table(table(history), os.fspath(path), compression="zstd")


def _values(codes: Column, values: ValueTable, *, null_is_missing: bool = False) -> Any:
    missing = null_is_missing and values.codes.get(None)
    known = codes if missing is False or missing is None else np.where(codes == missing, ABSENT, codes)
    return _coded(known, [msgspec.json.encode(value).decode() for value in values.values])


def _coded(codes: Column, texts: Sequence[str]) -> Any:
    """The texts that codes stand for."""
    indices = pyarrow.array(codes.astype(np.int32), mask=codes == ABSENT)
    dictionary = pyarrow.array(list(texts), type=pyarrow.string())
    return pyarrow.DictionaryArray.from_arrays(indices, dictionary).dictionary_decode()
