"""The law of the structure: who may import whom, no cycles, packages where they belong, no addresses in what is committed."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("checkers", "faults", "harness", "node", "reports")
ALLOWED = {
    "harness": {"faults", "checkers", "reports"},
    "reports": {"checkers"},
    "faults": set(),
    "checkers": set(),
    "node": set(),
}
DOORS = {("harness/systems/raftkv.py", "node.client"), ("harness/systems/raftkv.py", "node.bugs")}
"""The one place that speaks to our own node through the client library that it ships, and lists the bugs it can be started with."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of ours that is written by hand."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "_pb2" not in path.name:
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a module imports from our packages when it is loaded or later."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level_imports(path: Path) -> Iterator[str]:
    """What a module imports when it is loaded: not inside functions, not only for types."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_follow_the_arrows(name: str, path: Path) -> None:
    """A module imports from its own package and from those that the design allows, and from no other of ours."""
    package = name.split(".", maxsplit=1)[0]
    place = str(path.relative_to(ROOT))
    for imported in imports(path):
        other = imported.split(".", maxsplit=1)[0]
        if other in PACKAGES and other != package and not any(place == at and imported.startswith(door) for at, door in DOORS):
            assert other in ALLOWED[package], f"{name} imports {imported}: {package} may import {sorted(ALLOWED[package]) or 'nothing of ours'}"


def test_no_cycles_between_modules() -> None:
    """The modules can be put in an order in which each imports only earlier ones."""
    names = dict(modules())
    graph = {name: {found for found in top_level_imports(path) if found in names and found != name} for name, path in names.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_the_checkout(package: str) -> None:
    """The bare top-level names are ours: each package's file lies in the repository, not in somebody's site-packages."""
    file = importlib.import_module(package).__file__
    assert file is not None
    assert Path(file).resolve().is_relative_to(ROOT)
