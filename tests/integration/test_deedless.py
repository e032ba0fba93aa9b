"""Every proof against a lie: a fault whose deed never reaches the kernel must not be able to prove that it bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

CONTROLLER = str(Path(__file__).parent / "deedless_controller.py")


def test_no_family_proves_a_deed_that_was_not_done(tmp_path: Path) -> None:
    """Played on a real cluster with the deed stolen, no proof holds, and healing does; with the deed both hold, so it
    was the deed that was missed. Partitions are also played while another one cuts the same links.
    """
    folder = tmp_path / "it-deedless"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", CONTROLLER, str(folder)],
        capture_output=True,
        text=True,
        timeout=350,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    played: dict[str, Any] = {facts["name"]: facts for facts in said if "name" in facts}
    assert len(played) == 17
    for name, facts in played.items():
        assert not facts["without"]["holds"], (name, facts)
        assert facts["without"]["healed"], (name, facts)
        assert facts["really"]["holds"], (name, facts)
        assert facts["really"]["healed"], (name, facts)
    assert [facts for facts in said if facts.get("undone_by_watchdog")] == []
