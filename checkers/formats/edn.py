"""EDN, the notation of Jepsen's and Knossos's histories and of porcupine's kv logs: values in and out.

JSON has less to say, so what is read becomes JSON: keywords, symbols and characters text, vectors, lists and sets lists
(a set's in the order in which it is written), tagged values their value (a tag such as ``#jepsen.history.Op`` says
nothing that the map does not). Maps become objects: a key that is no text becomes the text of its JSON, so a bank's
``{0 10, 1 10}`` is ``{"0": 10, "1": 10}``. What would lose something (two keys with one text, ``##NaN``) is refused.

Written, texts that look like integers become integers again as keys of maps, and keys that can be keywords keywords;
other texts are texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from checkers.event import shorten

_TOKEN = re.compile(
    r"""[\s,]*(?:;[^\n]*[\s,]*)*
    (?P<token>
      "[^"\\]*(?:\\.[^"\\]*)*"  # text
    | \\(?:newline|space|tab|return|formfeed|backspace|u[0-9a-fA-F]{4}|.)   # character
    | \#\{ | \#_ | \#[^\s,()\[\]{}"]*   # set, discard, tag
    | [()\[\]{}]
    | [^\s,()\[\]{}";]+            # number, keyword, symbol, nil, true, false
    )?""",
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_WORDS = {"nil": None, "true": True, "false": False}
_CHARACTERS = {"newline": "\n", "space": " ", "tab": "\t", "return": "\r", "formfeed": "\f", "backspace": "\b"}
_NUMBER = re.compile(r"[+-]?\d[\d_]*(?P<float>\.\d*)?(?P<exponent>[eE][+-]?\d+)?[NM]?$", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TUPLE = "#jepsen.independent.Tuple"

DEPTH_MAX = 64
"""Nesting beyond this is no history."""

DIGITS_MAX = 1000
"""Digits of a number beyond these are no history."""


class KeyedValue(list[Any]):
    """``[key value]`` that says of itself that it is one of Jepsen's independent keys with its value."""


class EdnError(ValueError):
    """Text that is not EDN, or that JSON cannot say.

    ``position`` counts characters; ``at_end``: all is well but for the end, which comes too early.
    """

    def __init__(self, problem: str, position: int, *, at_end: bool = False) -> None:
        super().__init__(problem)
        self.position = position
        self.at_end = at_end


class _End(Exception):  # noqa: N818 (not an error: there is no further value)
    pass


class Reader:
    """Reads one value after another from a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.position = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """The values, each with the position where it starts.

        Raises:
            EdnError: the text is not EDN.
        """
        return self._values(flat=False)

    def items(self) -> Iterator[tuple[int, Any]]:
        """The same, but of a vector or list at the top its items: histories are written either way.

        Raises:
            EdnError: the text is not EDN.
        """
        return self._values(flat=True)

    def _values(self, *, flat: bool) -> Iterator[tuple[int, Any]]:
        closes, opened = "", 0
        while True:
            try:
                token, start = self._next()
            except _End:
                if closes:
                    raise EdnError("a sequence that is not closed", opened) from None
                return
            if token == "#_":
                self._required(start, 0)
            elif closes and token == closes:
                closes = ""
            elif flat and not closes and token in "[(":
                closes, opened = _CLOSES[token], start
            else:
                yield start, self._value(token, start, 0)

    def _next(self) -> tuple[str, int]:
        match = _TOKEN.match(self._text, self.position)
        token = match and match["token"]
        if match is None or not token:
            if match is not None and match.end() < len(self._text):
                raise EdnError("a text that is not closed", match.end(), at_end=True)
            raise _End
        self.position = match.end()
        return token, match.start("token")

    def _value(self, token: str, start: int, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise EdnError("nesting that is too deep", start)
        if token in _CLOSES:
            return self._collection(token, start, depth)
        if token[0] == "#":
            return self._tagged(token, start, depth)
        if token in ")]}":
            raise EdnError(f"a {token} that closes nothing", start)
        return _atom(token, start)

    def _tagged(self, tag: str, start: int, depth: int) -> Any:
        if tag.startswith("##"):
            raise EdnError(f"{shorten(tag)}, which JSON cannot say,", start)
        value = self._required(start, depth + 1)
        if tag != _TUPLE:
            return value
        pair = [value["key"], value["value"]] if isinstance(value, dict) and value.keys() == {"key", "value"} else value
        if not isinstance(pair, list) or len(pair) != 2:
            raise EdnError(f"a tuple that is no [key value]: {shorten(value)}", start)
        return KeyedValue(pair)

    def _required(self, start: int, depth: int) -> Any:
        try:
            return self._value(*self._next(), depth)
        except _End:
            raise EdnError("a value that is missing at the end", start, at_end=True) from None

    def _collection(self, opening: str, start: int, depth: int) -> Any:
        items: list[Any] = []
        while True:
            try:
                token, place = self._next()
            except _End:
                raise EdnError(f"a {opening} that is not closed", start, at_end=True) from None
            if token == _CLOSES[opening]:
                return items if opening != "{" else _map(items, start)
            if token == "#_":
                self._required(place, depth + 1)
            else:
                items.append(self._value(token, place, depth + 1))


def _map(items: list[Any], start: int) -> dict[str, Any]:
    if len(items) % 2:
        raise EdnError("a map with a key that has no value", start)
    names = [name if isinstance(name, str) else msgspec.json.encode(name).decode() for name in items[::2]]
    entries = dict(zip(names, items[1::2], strict=True))
    if len(entries) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise EdnError(f"a map with two keys {shorten(twice)}", start)
    return entries


def _atom(token: str, start: int) -> Any:
    first = token[0]
    if first == ":":
        return token[1:]
    if token in _WORDS:
        return _WORDS[token]
    if first == '"':
        return _text(token, start)
    if first == "\\":
        return _character(token, start)
    number = _NUMBER.match(token) if first in "+-0123456789" else None
    if number:
        return _number(token, start, exact=not (number["float"] or number["exponent"]))
    if _CONTROL.search(token):
        raise EdnError(f"what is no text: {shorten(token)}", start)
    return token


def _number(token: str, start: int, *, exact: bool) -> int | float:
    if len(token) > DIGITS_MAX:
        raise EdnError(f"a number of {len(token)} digits", start)
    digits = token.rstrip("NM").replace("_", "")
    number = int(digits) if exact else float(digits)
    if not exact and math.isinf(number):
        raise EdnError(f"the number {shorten(token)}, which is too large,", start)
    return number


def _character(token: str, start: int) -> str:
    name = token[1:]
    if len(name) != 5:
        return _CHARACTERS.get(name, name)
    code = int(name[1:], 16) if name[0] == "u" else -1
    if 0xD800 <= code < 0xE000:
        raise EdnError(f"half a character: {token}", start)
    return chr(code) if code >= 0 else _CHARACTERS.get(name, name)


def _text(token: str, start: int) -> str:
    try:
        text: str = msgspec.json.decode(_CONTROL.sub(_escaped, token))
    except (msgspec.DecodeError, UnicodeError):
        raise EdnError(f"a text with an escape that does not exist: {shorten(token)}", start) from None
    return text


def _escaped(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"


_KEYWORD = re.compile(r"[A-Za-z*!_?$%&=<>][\w*!?$%&=<>.+'#-]*(/[A-Za-z*!_?$%&=<>][\w*!?$%&=<>.+'#-]*)?$", re.ASCII)
_INTEGER = re.compile(r"(0|-?[1-9]\d{0,17})$", re.ASCII)


def keyword(text: str) -> str:
    """A text as a keyword if it can be one, else as text."""
    return f":{text}" if _KEYWORD.match(text) and "\n" not in text else written(text)


def written(value: Any) -> str:
    """A JSON value in EDN. Integers beyond 64 bits are marked ``N``."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -(2**63) <= value < 2**63 else f"{value}N"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_name(name)} {written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(written(item) for item in value) + "]"
    return repr(float(value))


def _name(name: str) -> str:
    return name if _INTEGER.match(name) and name[-1:] != "\n" else keyword(name)
