"""From a mapping in a file to a model: what is wrong is named with its line, its value and the next step."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import UsageError, nearest
from harness.planning.documents import Document, Path


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
        raise _readable(error, model, document, place) from None


def _readable(error: ValidationError, model: type[BaseModel], document: Document, place: Path) -> UsageError:
    first = error.errors(include_url=False)[0]
    where = (*place, *first["loc"])
    if first["type"] == "extra_forbidden":
        return document.error(
            where, f"unknown name {first['loc'][-1]!r}: {nearest(str(first['loc'][-1]), model.model_fields)}"
        )
    if first["type"] == "missing":
        return document.error(where, f"{first['loc'][-1]!r} is missing: add it")
    return document.error(where, f"{first['input']!r}: {first['msg'].removeprefix('Value error, ')}")
