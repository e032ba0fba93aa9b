"""The law of the structure: who may import whom, no cycles, packages where they belong."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable, Iterator
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
DOORS = {
    (f"harness/systems/raftkv{part}.py", f"node.{module}")
    for part in ("", "_admin", "_client", "_messages", "_words")
    for module in ("client", "operations", "zoo")
}
"""The one place that speaks to our node, through the client library that it ships, and that lists its bugs."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of ours that is written by hand."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "_pb2" not in path.name:
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


NAMES = frozenset(name for name, _ in modules()) | {
    "node.kv_pb2",
    "node.log_pb2",
    "node.peer_pb2",
    "harness.systems.etcd_pb2",
}


def imported(statements: Iterable[ast.AST]) -> Iterator[str]:
    """What these statements import, in full: ``from a import b`` is ``a.b`` if that is a module, else ``a``."""
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from {name if name in NAMES else node.module for name in full}


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_follow_the_arrows(name: str, path: Path) -> None:
    """A module imports from its own package and from those that the design allows, and from no other of ours."""
    package = name.split(".", maxsplit=1)[0]
    place = str(path.relative_to(ROOT))
    for name_imported in imported(ast.walk(ast.parse(path.read_text()))):
        other = name_imported.split(".", maxsplit=1)[0]
        if (
            other in PACKAGES
            and other != package
            and not any(place == at and name_imported.startswith(door) for at, door in DOORS)
        ):
            assert other in ALLOWED[package], (
                f"{name} imports {name_imported}: {package} may import {sorted(ALLOWED[package]) or 'nothing of ours'}"
            )


def test_no_cycles_between_modules() -> None:
    """The modules can be put in an order in which each imports only earlier ones."""
    names = dict(modules())
    graph = {
        name: set(imported(ast.parse(path.read_text()).body)) & set(names) - {name} for name, path in names.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_the_checkout(package: str) -> None:
    """The bare top-level names are ours: each package's file lies in the repository."""
    file = importlib.import_module(package).__file__
    assert file is not None
    assert Path(file).resolve().is_relative_to(ROOT)
