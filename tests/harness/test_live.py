"""The streaming verdict beside a run: what the judging process does, and what the controller makes of its words."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from checkers.streaming import Stream
from harness.live import LiveCheck
from harness.live_process import REST_S_MIN, WITHIN_S, Follower, Judging, rest_s


def line(process: int, type_: str, f: str, value: object, time: int) -> bytes:
    """An event of the history, as the recorder writes it."""
    return orjson.dumps(
        {"process": process, "type": type_, "f": f, "key": "k", "value": value, "time": time},
        option=orjson.OPT_APPEND_NEWLINE,
    )


STALE = [
    line(0, "invoke", "write", 1, 1),
    line(0, "ok", "write", 1, 2),
    line(1, "invoke", "read", None, 3),
    line(1, "ok", "read", None, 4),
]


def test_only_whole_lines_are_followed(tmp_path: Path) -> None:
    """Half a line waits for its other half; nothing is read twice."""
    path = tmp_path / "history.jsonl"
    path.write_bytes(STALE[0] + STALE[1][:10])
    follower = Follower(path)
    assert [event.type for events in follower.read() for event in events] == ["invoke"]
    with path.open("ab") as file:
        file.write(STALE[1][10:] + STALE[2])
    assert [event.type for events in follower.read() for event in events] == ["ok", "invoke"]
    assert [event for events in follower.read() for event in events] == []
    follower.close()


def test_a_completion_that_arrives_late_is_judged_when_it_is_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Up to then the operation may not have happened, and nothing is claimed."""
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"".join(STALE[:3]))
    follower = Follower(path)
    judging = Judging(Stream(model="cas-register"), follower)
    judging.follow()
    assert not judging.stream.due
    with path.open("ab") as file:
        file.write(STALE[3])
    judging.follow()
    assert judging.round()
    follower.close()
    said = orjson.loads(capfd.readouterr().out.splitlines()[-1])
    assert (said["violation"]["kind"], said["violation"]["events"]) == ("stale read", 4)


@pytest.mark.parametrize("round_s", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("shards", [1, 16])
def test_a_round_a_rest_and_a_look_take_less_than_a_second(round_s: float, shards: int) -> None:
    """As long as that is possible at all; and while there is room, at most half of the time is spent looking."""
    look_s = round_s / shards
    rest = rest_s(round_s, look_s)
    assert rest >= REST_S_MIN
    if round_s + look_s + REST_S_MIN <= WITHIN_S:
        assert round_s + rest + look_s <= WITHIN_S + 1e-9
    if 2 * round_s + look_s <= WITHIN_S:
        assert rest >= round_s


def live(tmp_path: Path) -> LiveCheck:
    """A check on a history of its own."""
    history = tmp_path / "history.jsonl"
    history.touch()
    return LiveCheck(history=history, model="cas-register", log=tmp_path / "log", run_id="r")


async def test_the_process_is_told_and_tells(tmp_path: Path) -> None:
    """Settled means judged: valid so far, then the violation, by the real process."""
    check = live(tmp_path)
    check.start()
    try:
        check.history.write_bytes(b"".join(STALE[:3]))
        check.feed([])
        await check.settle(30)
        assert (check.verdict, check.violation) == ("valid", None)
        with check.history.open("ab") as file:
            file.write(STALE[3])
        check.feed([])
        seen = await check.wait_violation()
        assert (seen.kind, seen.events, seen.exact) == ("stale read", 4, True)
        assert check.verdict == "invalid (stale read)"
        await check.settle(30)
    finally:
        await check.close()
        await check.close()


async def test_a_process_that_fails_is_said_and_waits_for_nobody(tmp_path: Path) -> None:
    """A line that is no event ends the looking, not the run; the reason is in the log."""
    check = live(tmp_path)
    check.start()
    check.history.write_bytes(b"nonsense\n")
    check.feed([])
    await check.settle(30)
    assert check.verdict.startswith("gave up")
    assert check.violation is None
    await check.settle(30)
    await check.close()
    assert "nonsense" in check.log.read_text() or "DecodeError" in check.log.read_text()


def test_a_history_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """The process starts before the recorder does."""
    follower = Follower(tmp_path / "history.jsonl")
    assert list(follower.read()) == []
    (tmp_path / "history.jsonl").write_bytes(STALE[0])
    assert len([event for events in follower.read() for event in events]) == 1
    follower.close()


async def test_what_is_judged_at_the_end_is_said(tmp_path: Path) -> None:
    """A check that does not stream starts nothing."""
    check = live(tmp_path)
    check.model = "bank"
    check.start()
    check.feed([])
    await check.settle(30)
    await check.close()
    assert check.verdict == "judged at the end only"


async def test_a_check_that_was_never_started_is_no_trouble(tmp_path: Path) -> None:
    """Nothing to settle, nothing to close."""
    check = live(tmp_path)
    check.feed([])
    await check.settle(30)
    await check.close()
