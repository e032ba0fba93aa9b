"""Triggers fire on the lines that they describe, and on no others."""

from __future__ import annotations

from pathlib import Path

from harness.nemesis.triggers import Tail, TriggerWatch, matches
from harness.planning.entries import Trigger


def trigger(**fields: object) -> Trigger:
    """A trigger as a scenario would give it."""
    return Trigger.model_validate(fields)


def test_an_alias_is_spelt_out() -> None:
    """``became_leader`` is a role line with role leader."""
    assert matches(trigger(event="became_leader"), b'{"event":"role","role":"leader","term":3}')
    assert not matches(trigger(event="became_leader"), b'{"event":"role","role":"follower","term":3}')


def test_every_field_must_be_equal() -> None:
    """Further fields of a trigger narrow it."""
    assert matches(trigger(event="vote", term=3), b'{"event":"vote","term":3,"for":"n1"}')
    assert not matches(trigger(event="vote", term=4), b'{"event":"vote","term":3,"for":"n1"}')


def test_logs_are_searched_by_pattern() -> None:
    """A log trigger is a regular expression, found anywhere in the line."""
    assert matches(trigger(log="panic|fatal"), b"12:00 n1 fatal: disk")
    assert not matches(trigger(log="panic|fatal"), b"12:00 n1 fine")


def test_a_torn_line_is_waited_for(tmp_path: Path) -> None:
    """Half a line is no line: it is read when its end is there."""
    file = tmp_path / "trace.jsonl"
    tail = Tail(file)
    assert list(tail.lines()) == []
    file.write_bytes(b'{"event":"vo')
    assert list(tail.lines()) == []
    with file.open("ab") as more:
        more.write(b'te"}\n{"e')
    assert list(tail.lines()) == [b'{"event":"vote"}']


async def test_what_happened_before_is_no_trigger(tmp_path: Path) -> None:
    """A watch begins at the present end of each file and names the node that fired it."""
    for node in ("n1", "n2"):
        (tmp_path / node).mkdir()
        (tmp_path / node / "trace.jsonl").write_bytes(b'{"event":"vote","term":1}\n')
    watch = TriggerWatch(trigger(event="vote"), {node: tmp_path / node for node in ("n1", "n2")})
    with (tmp_path / "n2" / "trace.jsonl").open("ab") as more:
        more.write(b'{"event":"vote","term":2}\n')
    assert (await watch.wait_fired()).node == "n2"
