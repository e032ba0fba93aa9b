"""The command line: a person's mistake ends with exit code 64 and one clear line, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main

BAD = {
    "an unknown scenario": (["run", "defualt"], "did you mean 'default'"),
    "an unknown fault": (["run", "--faults", "kill,splits"], "unknown fault 'splits'"),
    "a wrong unit": (["run", "--time", "30"], "no unit"),
    "an impossible target": (["run", "--set", "faults=[{at: 1s, for: 1s, kill: {target: n9}}]"], "'n9' cannot exist"),
    "an unknown bug": (["run", "--bug", "local-raed"], "did you mean 'local-read'"),
    "an unknown substrate": (["run", "--substrate", "clouds"], "unknown substrate"),
    "an unknown system": (["run", "--system", "etdc"], "unknown system"),
    "a setting without a value": (["run", "--set", "nodes"], "NAME=VALUE"),
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
