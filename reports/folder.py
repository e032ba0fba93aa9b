"""The folder that a run leaves behind: where everything is. docs/run-folder.md says what every file means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside one run's folder ``runs/<scenario>/<start time>-<seed>/``. Asking for a path creates nothing."""

    path: Path

    @property
    def run(self) -> Path:
        """Versions, command line, machine, seed, phases: ``run.json``."""
        return self.path / "run.json"

    @property
    def scenario(self) -> Path:
        """The scenario, fully resolved."""
        return self.path / "scenario.yaml"

    @property
    def schedule(self) -> Path:
        """Faults as executed, one a line."""
        return self.path / "schedule.jsonl"

    @property
    def history(self) -> Path:
        """Every event, one a line, appended as it happens."""
        return self.path / "history.jsonl"

    @property
    def verdict(self) -> Path:
        """Verdict, findings, statistics."""
        return self.path / "verdict.json"

    @property
    def page(self) -> Path:
        """The self-contained page."""
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """The harness's own log."""
        return self.path / "harness.log"

    @property
    def nodes(self) -> Path:
        """One folder a node."""
        return self.path / "nodes"

    def node(self, name: str) -> Path:
        """The folder of one node: logs, ``trace.jsonl``, the data if the scenario keeps it."""
        return self.nodes / name

    def trace(self, name: str) -> Path:
        """The trace of one node."""
        return self.node(name) / "trace.jsonl"

    def node_names(self) -> tuple[str, ...]:
        """Names of the nodes that left something, sorted."""
        return (
            tuple(sorted(entry.name for entry in self.nodes.iterdir() if entry.is_dir())) if self.nodes.is_dir() else ()
        )
