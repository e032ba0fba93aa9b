"""The command line: a person's mistake ends with exit code 64 and one clear line, never a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from checkers import HistoryError
from checkers.verdict import Validity, Verdict
from harness import cli
from harness.cli import main
from harness.commands import run as run_commands
from harness.commands.possible import reduced
from harness.commands.run import _faults, accounted, laid_over, read_settings, usable_substrate
from harness.errors import CapsizeError, HarnessError, UsageError
from harness.planning.scenario import load_scenario, parse_scenario
from harness.progress import LiveProgress, Output, PlainProgress, Sight
from harness.record import RunRecord
from harness.running import Run
from harness.substrates.process import ProcessSubstrate
from reports.folder import RunFolder

BAD = {
    "an unknown scenario": (["run", "defualt"], "did you mean 'default'"),
    "an unknown fault": (["run", "--faults", "kill,splits"], "unknown fault 'splits'"),
    "a wrong unit": (["run", "--time", "30"], "no unit"),
    "an impossible target": (["run", "--set", "faults=[{at: 1s, for: 1s, kill: {target: n9}}]"], "'n9' cannot exist"),
    "an unknown bug": (["run", "--bug", "local-raed"], "did you mean 'local-read'"),
    "an unknown substrate": (["run", "--substrate", "clouds"], "unknown substrate"),
    "an unknown system": (["run", "--system", "etdc"], "unknown system"),
    "a setting without a value": (["run", "--set", "nodes"], "NAME=VALUE"),
    "a setting that is no YAML": (["run", "--set", "time=!!int abc"], "tags like"),
    "a date that does not exist": (["run", "--set", "time=2020-13-45"], "2020-13-45"),
    "a setting that reaches nowhere": (["run", "--set", "workload..keys=5"], "workload..keys"),
    "an unknown option": (["run", "--sede", "4"], "--sede"),
    "an unknown command": (["rum"], "rum"),
    "a wrong number": (["run", "--nodes", "many"], "many"),
    "no such history": (["check", "nothing.jsonl"], "no such file"),
    "an unknown model": (["check", "{history}", "--model", "cas-registr"], "did you mean 'cas-register'"),
    "a malformed line": (["check", "{malformed}"], "2"),
    "a wrong type of file": (["check", "{binary}"], "binary"),
    "no such run": (["report", "nothing"], "no such folder"),
    "a folder that is no run": (["report", "{folder}"], "not a run's folder"),
    "an unknown suite": (["campaign", "defualt"], "did you mean 'default'"),
    "a report below a file": (["campaign", "smoke", "--junit", "{history}/junit.xml"], "--junit"),
    "a report that is a folder": (["campaign", "smoke", "--junit", "{folder}"], "--junit"),
    "a budget without a unit": (["campaign", "smoke", "--budget", "10"], "no unit"),
    "an address of others": (["serve", "--host", "0.0.0.0"], "not a loopback address"),
}


@pytest.fixture(name="files", scope="module")
def make_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files to be refused, and one that is fine."""
    folder = tmp_path_factory.mktemp("files")
    fine = '{"index":0,"time":1,"process":0,"type":"invoke","f":"read","key":"x","value":null}\n'
    (folder / "history.jsonl").write_text(fine)
    (folder / "malformed.jsonl").write_text(fine + '{"index":1,"time":2,"process":0,"type":"okay"}\n' + fine)
    (folder / "binary.jsonl").write_bytes(b"\x7fELF\x00\x01\x02" * 50)
    names = {"history": "history.jsonl", "malformed": "malformed.jsonl", "binary": "binary.jsonl"}
    (folder / "empty").mkdir()
    return {name: str(folder / file) for name, file in names.items()} | {"folder": str(folder / "empty")}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_end_with_64_and_a_clear_line(
    case: str,
    files: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The value and the next step are said; nothing is created."""
    words, message = BAD[case]
    filled = [word.format(**files) if word.startswith("{") else word for word in words]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["capsize", *filled])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 64
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_itself_shows_no_traceback(tmp_path: Path) -> None:
    """The same through a real process: exit code, one line on standard error, nothing else."""
    command = [sys.executable, "-m", "harness", "run", "--time", "30"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 64
    assert done.stdout == ""
    assert done.stderr.startswith("capsize: default:")
    assert len(done.stderr.splitlines()) == 1


def ended_with(monkeypatch: pytest.MonkeyPatch, words: Sequence[str]) -> object:
    """The exit code of a command."""
    monkeypatch.setattr(sys, "argv", ["capsize", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("by nought"), BrokenPipeError(32, "by nought"), ExceptionGroup("x", [OSError("by nought")])],
)
def test_an_error_of_ours_is_never_a_verdict(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python would end with 1, which means invalid; the traceback is for those who ask for it."""

    def fail(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr("harness.commands.check.check_command", fail)
    assert ended_with(monkeypatch, ["check", "x"]) == 70
    shown = capsys.readouterr().err
    assert shown.startswith("capsize: an error of Capsize itself: ")
    assert "by nought" in shown
    assert len(shown.splitlines()) == 1
    monkeypatch.setenv("CAPSIZE_TRACEBACK", "1")
    assert ended_with(monkeypatch, ["check", "x"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_the_group_is_what_is_shipped() -> None:
    """The commands above are those of the console script."""
    assert "check" in cli.cli.commands


INVALID = [
    {"index": 0, "time": 1, "process": 0, "type": "invoke", "f": "read", "key": "x", "value": None},
    {"index": 1, "time": 2, "process": 0, "type": "ok", "f": "read", "key": "x", "value": 7},
]


@pytest.mark.parametrize(("value", "code"), [(7, 1), (None, 0)])
def test_a_reader_that_leaves_does_not_change_a_verdict(tmp_path: Path, value: int | None, code: int) -> None:
    """`capsize check FILE | true` ends by its verdict, for valid as for invalid."""
    INVALID[1]["value"] = value
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in INVALID))
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "harness", "check", str(path)]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (code, b"")


class Unheard:
    """A terminal that is gone."""

    encoding = "utf-8"

    def __init__(self, error: OSError) -> None:
        self.error = error
        self.writes = 0

    def write(self, _: str) -> int:
        """Never succeeds."""
        self.writes += 1
        raise self.error

    def flush(self) -> None:
        """Nothing to flush."""

    def isatty(self) -> bool:
        """Looks like a terminal."""
        return True


@pytest.mark.parametrize("error", [BrokenPipeError(32, "gone"), OSError(5, "hung up"), OSError(28, "disk full")])
def test_progress_goes_on_when_nobody_listens(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither kind of progress lets an error of the output out; they fall silent."""
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    sight = Sight(
        phase="load",
        elapsed_ns=1,
        total_ns=2,
        ok=0,
        rate=0,
        failed=0,
        unknown=0,
        leader=None,
        faults={},
        verdict="valid",
    )
    for kind in (PlainProgress, LiveProgress):
        stream = Unheard(error)
        progress = kind(console=Output(file=stream, force_terminal=True))  # type: ignore[arg-type]
        for _ in range(3):
            progress.say("a line")
            progress.show(sight)
        progress.close()
        assert 1 <= stream.writes < 4


@pytest.fixture(name="folder")
def make_folder(tmp_path: Path) -> RunFolder:
    """A run's folder."""
    return RunFolder(tmp_path)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ZeroDivisionError("by nought"), HarnessError, 70),
        (SystemExit(1), HarnessError, 70),
        (HistoryError("history.jsonl", 3, "by nought", "Mend it."), HarnessError, 70),
        (ExceptionGroup("x", [UsageError("by nought")]), UsageError, 64),
        (HarnessError("by nought"), HarnessError, 70),
        (KeyboardInterrupt(), KeyboardInterrupt, 130),
    ],
)
def test_a_run_that_ends_by_an_error_is_closed(
    error: BaseException, kind: type[BaseException], code: int, folder: RunFolder
) -> None:
    """run.json says that there is no verdict, with which exit code it ended, and why."""
    record = RunRecord(folder.run, lambda: 0)
    with pytest.raises(kind) as caught, accounted(record, folder):
        raise error
    facts = json.loads(folder.run.read_bytes())
    assert (facts["validity"], facts["exit_code"]) == (None, code)
    assert len(facts["notes"]) == 1
    if isinstance(caught.value, CapsizeError) and not isinstance(error, CapsizeError | ExceptionGroup):
        assert "harness.log" in str(caught.value)


def test_a_run_is_closed_as_far_as_possible(tmp_path: Path) -> None:
    """A disk that takes nothing any more changes neither the error nor its exit code."""
    gone = RunFolder(tmp_path / "gone")
    with pytest.raises(HarnessError, match="by nought"), accounted(RunRecord(gone.run, lambda: 0), gone):
        raise ZeroDivisionError("by nought")


def test_the_second_interruption_closes_the_record(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """run.json says 130 and why before the process leaves all to its watchdog, also when the output is closed."""
    left: list[tuple[int, object]] = []
    done = asyncio.Event()

    def leave(code: int) -> None:
        left.append((code, json.loads(folder.run.read_bytes())))
        done.set()

    async def execute(run: Run) -> tuple[Verdict, str]:
        os.kill(os.getpid(), signal.SIGINT)
        await run.stop.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await done.wait()
        return Verdict(results=()), ""

    class Rest:
        """The parts of a run that an interruption needs."""

        record = RunRecord(folder.run, lambda: 0)
        progress = PlainProgress(Output(file=Unheard(OSError(5, "hung up"))))  # type: ignore[arg-type]
        stop = asyncio.Event()

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    monkeypatch.setattr(run_commands, "execute", execute)
    asyncio.run(run_commands._interruptible(cast(Run, Rest())))
    note = "interrupted twice: there is no verdict, the watchdog cleans up"
    assert left == [(130, {"validity": None, "exit_code": 130, "notes": [note]})]


def test_what_fails_after_the_verdict_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """run.json on a full disk, a page that is interrupted, an output that is closed: the exit code is the verdict's."""

    def interrupt(_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr("reports.page.build", interrupt)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    progress = PlainProgress(Output(file=Unheard(OSError(5, "hung up"))))  # type: ignore[arg-type]
    folder = RunFolder(tmp_path / "gone")

    class Rest:
        """The parts of a run that its end needs."""

        record = RunRecord(folder.run, lambda: 0)

    rest = Rest()
    rest.folder, rest.progress = folder, progress  # type: ignore[attr-defined]
    verdict = Verdict(results=())
    code = {Validity.VALID: 0, Validity.INVALID: 1, Validity.UNKNOWN: 2}[verdict.validity]
    assert run_commands._conclude(cast(Run, rest), verdict, "s") == code


def test_settings_reach_into_mappings() -> None:
    """And an option that names the workload leaves the rest of its settings alone."""
    settings = read_settings(["workload.keys=5", "nodes=3", "workload.rate=7"])
    assert settings == {"nodes": 3, "workload": {"keys": 5, "rate": 7}}
    assert laid_over(settings, {"workload": "register", "nodes": 5}) == {
        "nodes": 5,
        "workload": {"keys": 5, "rate": 7, "name": "register"},
    }
    scenario = parse_scenario("name: x", "x", {"workload": {"keys": 5}})
    assert scenario.parameters.model_dump()["keys"] == 5


class NoKills(ProcessSubstrate):
    """A substrate that cannot inject everything."""

    def refused(self) -> Mapping[str, str]:
        """No kill."""
        return {**super().refused(), "kill": "nobody may die here"}


RANDOM = "name: x\nfaults:\n  - {at: 1s, for: 1s, pause: {target: n1}}\n  - {random: [kill, pause], interval: 3s}\n"


def test_random_families_that_cannot_be_injected_are_left_out_and_said() -> None:
    """The run's own scenario says the same, because it is judged by it."""
    whole = parse_scenario(RANDOM, "x")
    smaller, notes = reduced(whole, NoKills())
    assert [entry.families for entry in smaller.faults] == [("pause",), ("pause",)]
    assert ["kill" in note for note in notes] == [True]
    assert parse_scenario(smaller.to_yaml(), "x").faults == smaller.faults
    assert reduced(whole, ProcessSubstrate()) == (whole, ())


@pytest.mark.parametrize(
    "fault",
    ["{at: 1s, for: 1s, kill: {target: n1}}", "{random: [kill], interval: 3s}"],
    ids=["by name", "nothing left"],
)
def test_faults_that_cannot_be_injected_are_refused(fault: str) -> None:
    """One that was asked for by name, or a list of which nothing is left."""
    with pytest.raises(UsageError, match="cannot inject kill"):
        reduced(parse_scenario(f"name: x\nfaults: [{fault}]", "x"), NoKills())


@pytest.mark.parametrize("keep", [False, True])
def test_a_scenario_decides_whether_data_is_kept(keep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`keep_data` reaches the substrate."""
    monkeypatch.setattr(ProcessSubstrate, "missing", lambda _: ())
    substrate = usable_substrate(parse_scenario(f"name: x\nkeep_data: {str(keep).lower()}", "x"))
    assert isinstance(substrate, ProcessSubstrate)
    assert substrate.keep_data is keep


def test_faults_on_the_command_line_fit_a_short_load() -> None:
    """Their pace is the scenario language's own, which is as long as the load allows."""
    (entry,) = load_scenario("default", {**_faults({"faults": "kill,pause"}), "time": "6s"}).faults
    assert (entry.interval_ns, entry.for_ns) == (2_000_000_000, 1_000_000_000)


def test_what_no_machine_could_inject_is_refused_before_one_is_asked() -> None:
    """Faults that a kind of substrate never has: no host is connected to for that."""
    hosts = "hosts: [{address: 192.0.2.1}]\nnodes: 1\nsubstrate: ssh\n"
    fault = "faults: [{at: 1s, for: 1s, disk: {target: n1}}]\n"
    with pytest.raises(UsageError, match=r"x: faults\.0: substrate 'ssh' .* cannot inject disk"):
        usable_substrate(parse_scenario(f"name: x\n{hosts}{fault}", "x"))
