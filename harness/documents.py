"""YAML with places: safe loading that remembers the line of every value, so that an error can name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from harness.errors import UsageError

Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """Plain data and, for each path in it, its line (from 1)."""

    name: str
    data: Any
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of a path, or of its nearest ancestor that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def error(self, path: Path, problem: str) -> UsageError:
        """``file:line: where: problem``."""
        where = ".".join(str(part) for part in path)
        return UsageError(f"{self.name}:{self.line(path)}: {where + ': ' if where else ''}{problem}")


def load_document(text: str, name: str) -> Document:
    """Parses one YAML document.

    Raises:
        UsageError: not YAML, a duplicate key, or a tag that safe loading refuses.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Path, int] = {}
        data = _build(node, (), lines, name) if node is not None else {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(error, "problem", None) or str(error)
        raise UsageError(f"{name}:{line}: this is not YAML: {problem}") from None
    return Document(name=name, data=data, lines=lines)


def _build(node: yaml.Node, path: Path, lines: dict[Path, int], name: str) -> Any:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, path, lines, name)
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, (*path, position), lines, name) for position, child in enumerate(node.value)]
    constructor = yaml.SafeLoader("")
    return constructor.construct_object(node)


def _build_mapping(node: yaml.MappingNode, path: Path, lines: dict[Path, int], name: str) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        line = key_node.start_mark.line + 1
        if key in mapping:
            raise UsageError(f"{name}:{line}: {key!r} is said twice: keep one of them")
        mapping[key] = _build(value_node, (*path, key), lines, name)
        lines[(*path, key)] = line
    return mapping
