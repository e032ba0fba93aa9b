"""From a mapping in a file to a model: what is wrong is named with its line, its value as it was written, the nearest
valid one, and the next step, in words of the file and not of the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from faults.durations import format_duration
from harness.errors import UsageError, nearest
from harness.planning.documents import Document, Path

_WANTED: Mapping[str, str] = {
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "model_type": "a mapping of names to values",
    "dict_type": "a mapping of names to values",
}
"""What is wanted instead, by pydantic's type of the error."""

_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def validated(model: type[Any], data: Any, document: Document, place: Path) -> Any:
    """The model's object.

    Raises:
        UsageError: with the place in the file.
    """
    if not isinstance(data, dict):
        raise document.error(place, f"{data!r} is not a mapping of names to values")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _readable(error, model, document, data, place) from None


def _readable(error: ValidationError, model: type[BaseModel], document: Document, data: Any, place: Path) -> UsageError:
    every = error.errors(include_url=False)
    first = every[0]
    name = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        problem = f"unknown name {name!r}: {nearest(name, _names(model, first['loc'][:-1]))}"
        return document.error((*place, *first["loc"]), problem)
    if first["type"] == "missing":
        return document.error((*place, *first["loc"]), f"{name!r} is missing: add it")
    field = first["loc"][:1]
    where = max((_written(data, each["loc"])[0] for each in every if each["loc"][:1] == field), key=len)
    same = [each for each in every if each["loc"][:1] == field and _written(data, each["loc"])[0] == where]
    return document.error((*place, *where), _problem(same, _written(data, where)[1]))


def _written(data: Any, loc: Sequence[str | int]) -> tuple[Path, Any]:
    """The part of a location that is in the file (a union adds the names of its branches), and what is there."""
    path: Path = ()
    for part in loc:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if inside:
            path, data = (*path, part), data[part]
    return path, data


def _names(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The fields of the model at a location."""
    for part in loc:
        field = model.model_fields.get(str(part))
        inner = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        model = next((each for each in inner if isinstance(each, type) and issubclass(each, BaseModel)), model)
    return list(model.model_fields)


def _problem(errors: Sequence[Any], value: Any) -> str:
    """One sentence about a value and everything that it failed to be."""
    names = [name for each in errors if each["type"] == "literal_error" for name in _literals(each)]
    wanted = list(dict.fromkeys(_WANTED[each["type"]] for each in errors if each["type"] in _WANTED))
    if names and not isinstance(value, list):
        return f"unknown value {value!r}: {nearest(str(value), names)}"
    if any(each["type"] == "too_short" for each in errors):
        return f"{value!r} is an empty list: name at least one, or leave it out"
    if any(each["type"] == "string_too_short" for each in errors):
        return f"{value!r} is empty: write something, or leave it out"
    if wanted:
        return f"{value!r}: write {_share(value) if wanted == ['a number'] else ' or '.join(wanted)}"
    return _own_words(errors[0], value)


def _literals(error: Mapping[str, Any]) -> list[str]:
    return re.findall(r"'([^']*)'", error["ctx"]["expected"])


def _share(value: Any) -> str:
    """A number is wanted; somebody who wrote a percentage is told which."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*", str(value))
    return "a number" if match is None else f"a number: {float(match[1]) / 100:g}"


def _own_words(error: Mapping[str, Any], value: Any) -> str:
    if error["type"] in _BOUNDS:
        key, words = _BOUNDS[error["type"]]
        bound = error["ctx"][key]
        # What is written as text and has a bound is a duration: the bound is in nanoseconds.
        return f"{value!r} must be {words} {format_duration(bound) if isinstance(value, str) else f'{bound:g}'}"
    words = error["msg"].removeprefix("Value error, ")
    return str(words) if words.startswith((repr(value), repr(str(value)))) else f"{value!r}: {words}"
