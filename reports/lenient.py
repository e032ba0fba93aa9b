"""Reading JSON that may be anything: a run can be killed while it writes, and an old folder can hold what nobody
expects any more.

Pages must be built from whatever is there, so each of these takes any value and gives the wanted type, empty when it is
something else. What is lost that way is said by the caller, in the place where it would have stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def integer(value: Any) -> int | None:
    """The value as a whole number, or None. A boolean is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return int(value)
    except (OverflowError, ValueError):  # infinities and NaN
        return None


def text(value: Any, default: str = "") -> str:
    """The value if it is a string; any other value (but None) in JSON's words."""
    if value is None:
        return default
    return value if isinstance(value, str) else plain(value)


def texts(value: Any) -> tuple[str, ...]:
    """The items of a list as strings."""
    return tuple(text(item) for item in sequence(value))


def plain(value: Any, limit: int = 400) -> str:
    """A value in JSON's words, cut at ``limit`` characters."""
    try:
        words = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        words = str(value)
    return words if len(words) <= limit else f"{words[:limit]}… ({len(words)} characters)"


def read_object(path: Path) -> tuple[Mapping[str, Any] | None, str | None]:
    """A JSON object from a file and None; or None and why not (the file is missing, torn, or holds something else)."""
    try:
        value = orjson.loads(path.read_bytes())
    except OSError as error:
        return None, f"{path.name}: {_reason(error)}"
    except orjson.JSONDecodeError as error:
        return None, f"{path.name} is not JSON: {error}"
    return (value, None) if isinstance(value, dict) else (None, f"{path.name} holds no JSON object")


def read_yaml(path: Path) -> tuple[Mapping[str, Any] | None, str | None]:
    """A YAML mapping from a file and None; or None and why not."""
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML)
    except OSError as error:
        return None, f"{path.name}: {_reason(error)}"
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        return None, f"{path.name} is not YAML: {str(error).splitlines()[0]}"
    return (value, None) if isinstance(value, dict) else (None, f"{path.name} holds no mapping")


# libyaml's loader is ten times faster, and as safe; not every build of PyYAML has it.
_YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_lines(path: Path) -> tuple[tuple[Mapping[str, Any], ...], str | None]:
    """The JSON objects of a file, one a line, and what is to be said about it (None if nothing). Lines that are none
    are left out and counted; a missing file is no lines.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        return (), f"{path.name}: {_reason(error)}"
    found = [value for line in lines if line.strip() and (value := _object(line)) is not None]
    lost = sum(1 for line in lines if line.strip()) - len(found)
    return tuple(found), f"{path.name}: {lost} torn or unreadable line(s) left out" if lost else None


def _object(line: bytes) -> Mapping[str, Any] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _reason(error: OSError) -> str:
    return "there is no such file" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
