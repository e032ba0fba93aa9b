"""The history is on disk as it happens, whole line by whole line, and says exactly what the formats page says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from checkers import History
from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.errors import HarnessError
from harness.fakes import VirtualLoop, run_virtual
from harness.recorder import FLUSH_EVENTS, FLUSH_S, Recorder

CAS = Invocation("cas", "k7", (41, 57))


def lines(path: Path) -> list[dict[str, Any]]:
    """What is in the file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_the_example_of_the_formats_page(tmp_path: Path) -> None:
    """Fields as in docs/formats.md; the example there is what is written here."""
    times = iter([1201443, 3310021, 5000120443])
    recorder = Recorder(tmp_path / "h", lambda: next(times))
    assert recorder.invoke(3, CAS) == 1201443
    recorder.complete(3, CAS, Completion(Outcome.OK, (41, 57), extra={"node": "n2"}))
    intent = {"id": 1, "family": "partition", "summary": "n1 cut from n2, n3, n4, n5", "targets": ["n1"]}
    recorder.nemesis("invoke", "inject", intent)
    recorder.close()
    formats = Path(__file__).parents[2] / "docs" / "formats.md"
    examples = [orjson.loads(line) for line in formats.read_text().splitlines() if line.startswith('{"index"')]
    assert lines(tmp_path / "h") == examples[:3]


def test_what_did_not_happen_for_sure_keeps_its_argument(tmp_path: Path) -> None:
    """A checker needs the value of an operation that may have happened, whatever the client made of it."""
    recorder = Recorder(tmp_path / "h", count().__next__)
    recorder.invoke(0, CAS, final=True)
    recorder.complete(0, CAS, Completion(Outcome.INFO, None, error="timed out after 5 s"), final=True)
    recorder.close()
    event = lines(tmp_path / "h")[1]
    assert event["value"] == [41, 57]
    assert event["error"] == "timed out after 5 s"
    assert event["final"] is True


def test_a_client_cannot_overwrite_what_the_recorder_knows(tmp_path: Path) -> None:
    """Extras named like fields of the format are dropped in favour of the fields."""
    recorder = Recorder(tmp_path / "h", count().__next__)
    recorder.complete(4, CAS, Completion(Outcome.FAIL, extra={"index": 99, "process": 99, "attempts": 2}))
    recorder.close()
    event = lines(tmp_path / "h")[0]
    assert (event["index"], event["process"], event["attempts"]) == (0, 4, 2)


def test_times_rise_even_where_the_clock_does_not(tmp_path: Path) -> None:
    """A clock that stands still or goes back gives neither ties nor steps back."""
    clock = iter([100, 100, 50, 101, 1000])
    recorder = Recorder(tmp_path / "h", lambda: next(clock))
    assert [recorder.nemesis("info", "x", None) for _ in range(5)] == [100, 101, 102, 103, 1000]
    recorder.close()


def test_events_reach_the_file_in_time(tmp_path: Path) -> None:
    """One twentieth of a second after an event its line is readable, with no further event and no close."""

    async def main(loop: VirtualLoop) -> None:
        recorder = Recorder(tmp_path / "h", loop.clock)
        for _ in range(3):
            recorder.invoke(0, CAS)
            assert not lines(tmp_path / "h")[recorder.events - 1 :]
            await asyncio.sleep(FLUSH_S + 0.001)
            assert len(lines(tmp_path / "h")) == recorder.events
        recorder.close()

    run_virtual(main)


def test_many_events_do_not_wait(tmp_path: Path) -> None:
    """A full batch goes to the file and to the subscribers at once."""
    batches: list[int] = []
    recorder = Recorder(tmp_path / "h", count().__next__)
    recorder.subscribe(lambda events: batches.append(len(events)))
    for process in range(FLUSH_EVENTS + 5):
        recorder.invoke(process, CAS)
    assert batches == [FLUSH_EVENTS]
    assert len(lines(tmp_path / "h")) == FLUSH_EVENTS
    recorder.close()
    assert batches == [FLUSH_EVENTS, 5]


def test_subscribers_see_what_is_in_the_file(tmp_path: Path) -> None:
    """The same events in the same order, nemesis events included, and only once they are on disk."""
    seen: list[Mapping[str, Any]] = []

    def subscriber(events: list[Mapping[str, Any]]) -> None:
        seen.extend(events)
        assert len(lines(tmp_path / "h")) >= len(seen)

    recorder = Recorder(tmp_path / "h", count().__next__)
    recorder.subscribe(subscriber)
    recorder.nemesis("info", "heal", {"id": 1})
    recorder.invoke(1, CAS)
    recorder.complete(1, CAS, Completion(Outcome.FAIL, error="no"))
    recorder.close()
    assert orjson.loads(orjson.dumps(seen)) == lines(tmp_path / "h")
    assert History.of(seen).operations[0].error == "no"


def test_what_json_cannot_say_is_refused(tmp_path: Path) -> None:
    """With the event, at once; the events before it are kept."""
    recorder = Recorder(tmp_path / "h", count().__next__)
    recorder.invoke(0, CAS)
    with pytest.raises(HarnessError, match=r"JSON cannot say.*frozenset"):
        recorder.invoke(1, Invocation("write", "k", frozenset()))
    recorder.close()
    assert [event["index"] for event in lines(tmp_path / "h")] == [0]


def test_disk_errors_are_raised() -> None:
    """A full disk is an error at the next event and on close, never a silent gap."""

    async def main(loop: VirtualLoop) -> None:
        recorder = Recorder(Path("/dev/full"), loop.clock, create=False)
        recorder.invoke(0, CAS)
        await asyncio.sleep(1)
        with pytest.raises(HarnessError, match="No space left"):
            recorder.invoke(1, CAS)
        with pytest.raises(HarnessError, match="No space left"):
            recorder.close()
        recorder.close()

    run_virtual(main)


def test_a_history_is_never_written_over(tmp_path: Path) -> None:
    """Evidence of another run is not destroyed; nor is a folder that is missing made up."""
    (tmp_path / "h").write_text("precious")
    with pytest.raises(HarnessError, match="cannot be created: File exists"):
        Recorder(tmp_path / "h", count().__next__)
    with pytest.raises(HarnessError, match="No such file"):
        Recorder(tmp_path / "missing" / "h", count().__next__)


def test_a_killed_controller_leaves_a_readable_history(tmp_path: Path) -> None:
    """Killed without warning, what was flushed is there, and nothing is torn."""
    pid = os.fork()
    if pid == 0:
        recorder = Recorder(tmp_path / "h", count().__next__)
        for process in range(2 * FLUSH_EVENTS + 7):
            recorder.invoke(process, CAS)
        os._exit(9)
    os.waitpid(pid, 0)
    assert len(History.read(tmp_path / "h")) == 2 * FLUSH_EVENTS
