"""YAML with places: safe loading that remembers the line of every value, so that an error can name it.

Less than YAML: a scenario is read by people and by programs that know no YAML, so what it says stands where it says
it. Aliases, anchors and tags are refused; a date stays the text it is written as, because nothing here is a date; and
nesting has a limit, so that no file can exhaust the stack.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from harness.errors import UsageError

Path = tuple[str | int, ...]

DEPTH_MAX = 30


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


class _RefusedError(Exception):
    """What cannot be read, and its line."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Composes nodes; refuses what this module does not read before it is expanded."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """One node with what is in it."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _RefusedError(
                line, f"aliases and anchors (*{event.anchor}, &{event.anchor}) are not read: write it out"
            )
        if getattr(event, "tag", None) is not None:
            raise _RefusedError(line, f"tags like {event.tag} are not read: write the value without")
        if self.depth >= DEPTH_MAX:
            raise _RefusedError(line, f"nested deeper than {DEPTH_MAX}: nothing here needs that")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_document(text: str, name: str) -> Document:
    """Parses one YAML document.

    Raises:
        UsageError: not YAML, a duplicate key, an alias, a tag, or nesting beyond measure.
    """
    lines: dict[Path, int] = {}
    try:
        data = _parse(text, lines)
    except _RefusedError as error:
        raise UsageError(f"{name}:{error.line}: {error}") from None
    return Document(name=name, data={} if data is None and () not in lines else data, lines=lines)


def load_value(text: str, name: str) -> Any:
    """The value of one YAML text, by the rules of documents; empty text is None.

    Raises:
        UsageError: as for :func:`load_document`, with ``name`` and the text.
    """
    try:
        return _parse(text, {})
    except _RefusedError as error:
        raise UsageError(f"{name}: {text!r} cannot be read: {error}") from None


def nested(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Names with dots (``workload.keys: 5``) as the mappings that they reach into (``workload: {keys: 5}``).

    Raises:
        UsageError: a name with an empty part, or one that reaches into something that is no mapping.
    """
    tree: dict[str, Any] = {}
    for dotted, value in values.items():
        *path, last = dotted.split(".")
        if not all([*path, last]):
            raise UsageError(f"{name} {dotted!r}: a part of the name is empty; write it like workload.keys")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageError(f"{name} {dotted!r}: {part!r} is set to {inner!r} beside it: say it in one place")
        if last not in inner:
            inner[last] = copy.deepcopy(value)
        elif isinstance(inner[last], dict) and isinstance(value, dict):
            inner[last] |= value
        else:
            raise UsageError(f"{name} {dotted!r}: parts of {last!r} are set beside it: say it in one place")
    return tree


def _parse(text: str, lines: dict[Path, int]) -> Any:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return _build(node, (), lines, loader) if node is not None else None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _RefusedError(line, f"this is not YAML: it holds the character {error.character:#x}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise _RefusedError(line, f"this is not YAML: {getattr(error, 'problem', None) or error}") from None


def _build(node: yaml.Node, path: Path, lines: dict[Path, int], loader: _Loader) -> Any:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, path, lines, loader)
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, (*path, position), lines, loader) for position, child in enumerate(node.value)]
    try:
        return loader.construct_object(node)
    except ValueError:  # what looks like a number and is none: 0x_, or thousands of digits
        raise _RefusedError(lines[path], f"{_short(node.value)} is no number: mend it, or put it in quotes") from None


def _build_mapping(node: yaml.MappingNode, path: Path, lines: dict[Path, int], loader: _Loader) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise _RefusedError(line, "a name is a plain word, not a list or a mapping")
        key = str(key_node.value)
        if key in mapping:
            raise _RefusedError(line, f"{key!r} is said twice: keep one of them")
        mapping[key] = _build(value_node, (*path, key), lines, loader)
        lines[(*path, key)] = line
    return mapping


def _short(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}... ({len(text)} characters)"
