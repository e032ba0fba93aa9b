"""Sample run folders, each made once a session: pages only read them (a test that changes one makes its own)."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.folder import RunFolder
from tests.reports import samples


@pytest.fixture(scope="session")
def runs_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one run of each sample, small ones, and a campaign."""
    root = tmp_path_factory.mktemp("runs")
    samples.valid(root, operations=1200)
    samples.invalid(root, operations=1500)
    for name in ("trace", "unknown", "killed", "nasty"):
        samples.SAMPLES[name](root)
    samples.campaign(root)
    return root


@pytest.fixture(scope="session")
def folders(runs_root: Path) -> dict[str, RunFolder]:
    """The run folders by the names of their samples."""
    seeds = {"valid": "42", "invalid": "7", "trace": "3", "unknown": "11", "killed": "5", "nasty": "99"}
    found = {path.name.rsplit("-", 1)[1]: path for path in runs_root.glob("*/*") if (path / "run.json").exists()}
    return {name: RunFolder(found[seed]) for name, seed in seeds.items()}
