"""What can be run: `capsize scenarios`, `systems`, `workloads`, `faults`, `bugs`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table

from faults import FAMILIES
from harness.durations import format_duration
from harness.planning.examples import EXAMPLES
from harness.planning.scenario import load_scenario, shipped_scenarios, zoo_scenarios
from harness.planning.targets import SELECTORS
from harness.progress import Output
from harness.systems import SYSTEMS
from harness.workloads import WORKLOADS

WIDE = 160

OVERLAP = (
    "Faults may overlap. Two that take the same for themselves never hold one node at a time: a node that is held is "
    "passed over. Over a run, faults that destroy data hit a minority at most, unless a scenario names more."
)


def wide_console() -> Output:
    """A terminal as wide as it is; a pipe or a file is not cut at 80 characters."""
    console = Output()
    return console if console.is_terminal else Output(width=WIDE)


def _show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*row)
    wide_console().print(table)


def show_scenarios() -> None:
    """Shipped scenarios."""
    _show("Scenarios (capsize run NAME)", _SCENARIO, _scenario_rows(shipped_scenarios()))
    _show("\nEach made for one planted bug (capsize hunt BUG)", _SCENARIO, _scenario_rows(zoo_scenarios()))


_SCENARIO = ("name", "time", "nodes", "about")


def _scenario_rows(names: Sequence[str]) -> list[tuple[str, ...]]:
    return [
        (scenario.name, format_duration(scenario.head.time), str(scenario.head.nodes), scenario.head.about.strip())
        for scenario in map(load_scenario, names)
    ]


def show_systems() -> None:
    """Systems and what they promise."""
    _show("Systems (--system NAME)", ("name", "what"), [(system.name, system.title) for system in SYSTEMS.values()])
    for system in SYSTEMS.values():
        rows = [(family, system.promises[family].words) for family in FAMILIES if family in system.promises]
        _show(f"\nWhat {system.name} promises to survive", ("fault", "up to which bound"), rows)
        beyond = [family for family in FAMILIES if family not in system.promises]
        wide_console().print(f"Beyond its promises: {', '.join(beyond) or 'nothing'}", highlight=False)


def show_workloads() -> None:
    """Workloads and their parameters."""
    rows = [(name, workload.title, ", ".join(workload.Parameters.model_fields)) for name, workload in WORKLOADS.items()]
    _show("Workloads (--workload NAME)", ("name", "what", "parameters"), rows)


def show_faults() -> None:
    """Fault families, their parameters, what they take for themselves, and the selectors of targets."""
    rows = [
        (
            name,
            family.description,
            ", ".join(family.Parameters.model_fields),
            ", ".join(sorted(family.claims)) or "-",
            EXAMPLES[name],
        )
        for name, family in FAMILIES.items()
    ]
    _show("Faults", ("family", "what", "parameters", "takes for itself", "example"), rows)
    wide_console().print(f"\n{OVERLAP}", highlight=False)
    _show("\nTargets", ("target", "who"), [*SELECTORS.items(), ("n1, n2, ...", "by name; a list is allowed")])


def show_bugs() -> None:
    """Planted bugs of every system."""
    rows = [
        (bug.name, system.name, bug.what, bug.provoked_by, bug.observer, bug.source)
        for system in SYSTEMS.values()
        for bug in system.bugs.values()
    ]
    _show(
        "Planted bugs (--bug NAME; capsize hunt NAME)",
        ("name", "system", "what is wrong", "provoked by", "expected of", "published as"),
        rows,
    )
    _show("\nWho is expected to see it first", ("", ""), OBSERVERS.items())


OBSERVERS = {
    "LIN": "the judge of what clients saw: linearizability, or what the workload's checker asks",
    "DUR": "the same, by what was acknowledged and is gone",
    "INV": "an invariant of Raft, in the traces of the nodes",
    "CONV": "hashes of the replicas' states that differ",
    "LIVE": "after healing, a majority does not serve, or a node does not catch up",
    "CRASH": "a node that ends by itself",
}
