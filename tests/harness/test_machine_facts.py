"""What a run records about the checkout that made it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.host import machine


def test_what_a_command_writes_itself_is_no_change_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hunt that writes its page into the checkout can go on; a change of anything else is still told."""
    page, code = tmp_path / "docs" / "zoo.md", tmp_path / "code.py"
    page.parent.mkdir()
    for path in (page, code):
        path.write_text("first\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(machine, "REPOSITORY", tmp_path)
    assert machine.git_facts()["dirty"] is False
    page.write_text("second\n")
    assert machine.git_facts()["dirty"] is True
    assert machine.git_facts(besides=page)["dirty"] is False
    assert machine.git_facts(besides=tmp_path.parent / "elsewhere.md")["dirty"] is True
    code.write_text("second\n")
    assert machine.git_facts(besides=page)["dirty"] is True
