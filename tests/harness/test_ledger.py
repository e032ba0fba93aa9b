"""The undo list on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cleanup.ledger import Entry, Ledger, read_ledger


def entry(name: str) -> Entry:
    return {"id": name, "kind": "remove", "arguments": {"path": f"/nowhere/{name}"}}


def test_what_is_held_can_be_read_by_others_newest_first(tmp_path: Path) -> None:
    """While the watchdog lives, anyone can read whose list it is and what is held."""
    ledger = Ledger(tmp_path / "undo.jsonl", run_id="r", controller="1:2")
    for name in "abc":
        ledger.register(entry(name))
    ledger.discharge("b")
    ledger.discharge("unknown")
    remainder = read_ledger(ledger.path)
    assert remainder is not None
    assert (remainder.run_id, remainder.controller) == ("r", "1:2")
    assert remainder.entries == (entry("c"), entry("a"))
    ledger.close()
    assert ledger.path.exists(), "what is still held must be found by capsize clean"


def test_an_empty_list_leaves_no_file(tmp_path: Path) -> None:
    """A run that ended well leaves nothing to clean."""
    ledger = Ledger(tmp_path / "undo.jsonl", run_id="r", controller="1:2")
    ledger.register(entry("a"))
    ledger.discharge("a")
    ledger.close()
    assert not ledger.path.exists()


@given(cut=st.integers(min_value=0, max_value=400), junk=st.binary(max_size=40))
def test_a_torn_or_spoilt_file_never_raises(tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes) -> None:
    """Reading stops at nothing: a torn end or rubbish costs at most the lines it hits."""
    path = tmp_path_factory.mktemp("ledger") / "undo.jsonl"
    ledger = Ledger(path, run_id="r", controller="1:2")
    for name in "abcd":
        ledger.register(entry(name))
    path.write_bytes(path.read_bytes()[:cut] + junk)
    remainder = read_ledger(path)
    assert remainder is None or {each["id"] for each in remainder.entries} <= set("abcd")
    path.unlink()
    ledger.entries.clear()
    ledger.close()
