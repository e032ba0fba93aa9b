"""EDN, the notation of Jepsen's and Knossos's histories and of porcupine's kv logs: values, and histories made of them.

Keywords and symbols become text, vectors and lists lists, sets lists, maps dictionaries, tagged values their value (a
tag such as ``#jepsen.history.Op`` says nothing that the map does not). A history is a sequence of maps, one a line or
all in one vector, with ``:process``, ``:type``, ``:f``, ``:value`` and perhaps ``:time``, ``:key``, ``:error``,
``:node``.

Where events have no time their number is taken, so that the order of the file is the order. Jepsen's independent keys
are values ``[key value]`` of every operation; they are recognised if all reads are invoked with such pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from checkers.event import NEMESIS, Event, HistoryError, shorten

_TOKEN = re.compile(
    r"""[\s,]*(?:;[^\n]*[\s,]*)*
    (?P<token>
      "(?:[^"\\]|\\.)*"            # text
    | \\(?:newline|space|tab|return|u[0-9a-fA-F]{4}|.)   # character
    | \#\{ | \#_ | \#[^\s,()\[\]{}"]*   # set, discard, tag
    | [()\[\]{}]
    | [^\s,()\[\]{}";]+            # number, keyword, symbol, nil, true, false
    )?""",
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_WORDS = {"nil": None, "true": True, "false": False}
_NUMBER = re.compile(r"[+-]?\d[\d_]*(?P<float>\.\d*)?(?P<exponent>[eE][+-]?\d+)?[NM]?$")

DEPTH_MAX = 64
"""Nesting beyond this is no history."""


class EdnError(ValueError):
    """Text that is not EDN; ``position`` counts characters."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem)
        self.position = position


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
        while True:
            try:
                token, start = self._next()
                if token == "#_":
                    self._value(*self._next(), 0)
                    continue
                value = self._value(token, start, 0)
            except _End:
                return
            yield start, value

    def _next(self) -> tuple[str, int]:
        match = _TOKEN.match(self._text, self.position)
        token = match and match["token"]
        if match is None or not token:
            if match is not None and match.end() < len(self._text):
                raise EdnError("a text that is not closed", match.end())
            raise _End
        self.position = match.end()
        return token, match.start("token")

    def _value(self, token: str, start: int, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise EdnError("nesting that is too deep", start)
        if token in _CLOSES:
            return self._collection(token, start, depth)
        if token[0] == "#":
            return self._required(start, depth + 1)
        if token in (")", "]", "}"):
            raise EdnError(f"a {token} that closes nothing", start)
        return _atom(token, start)

    def _required(self, start: int, depth: int) -> Any:
        try:
            return self._value(*self._next(), depth)
        except _End:
            raise EdnError("a value that is missing at the end", start) from None

    def _collection(self, opening: str, start: int, depth: int) -> Any:
        items: list[Any] = []
        while True:
            try:
                token, place = self._next()
                if token == _CLOSES[opening]:
                    return _collected(opening, items, start)
                item = self._value(token if token != "#_" else "#", place, depth + 1)
            except _End:
                raise EdnError(f"a {opening} that is not closed", start) from None
            if token != "#_":
                items.append(item)


def _collected(opening: str, items: list[Any], start: int) -> Any:
    if opening != "{":
        return items
    if len(items) % 2:
        raise EdnError("a map with a key that has no value", start)
    return {
        name if isinstance(name, str) else str(name): value for name, value in zip(items[::2], items[1::2], strict=True)
    }


def _atom(token: str, start: int) -> Any:
    if token in _WORDS:
        return _WORDS[token]
    if token[0] == '"':
        return _text(token, start)
    if token[0] == ":":
        return token[1:]
    number = _NUMBER.match(token)
    if number:
        digits = token.rstrip("NM").replace("_", "")
        return float(digits) if number["float"] or number["exponent"] else int(digits)
    return token[1:] if token[0] == "\\" else token


def _text(token: str, start: int) -> str:
    try:
        text: str = msgspec.json.decode(token.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r"))
    except msgspec.DecodeError:
        raise EdnError(f"a text with an escape that does not exist: {shorten(token)}", start) from None
    return text


def events(source: str, notes: list[str]) -> Iterator[tuple[int, Event]]:
    """The events of a file with the lines on which they start.

    Raises:
        HistoryError: the file is not EDN, or something in it is not an event.
    """
    with open(source, encoding="utf-8", errors="replace") as file:
        text = file.read()
    maps = [(line, value) for line, value in _maps(source, text)]
    parsed = [(line, _event(source, line, number, value)) for number, (line, value) in enumerate(maps)]
    if _independent([event for _, event in parsed]):
        notes.append(f"{source}: every value is a pair [key value]: read as Jepsen's independent keys")
        for _, event in parsed:
            if event.process != NEMESIS and isinstance(event.value, list) and len(event.value) == 2:
                event.key, event.value = event.value
    yield from parsed


def _maps(source: str, text: str) -> Iterator[tuple[int, Any]]:
    line, counted = 1, 0
    try:
        for start, value in Reader(text):
            line += text.count("\n", counted, start)
            counted = start
            for item in value if isinstance(value, list) else [value]:
                yield line, item
    except EdnError as error:
        line = 1 + text.count("\n", 0, error.position)
        raise HistoryError(source, line, f"{error} in EDN", "Mend the file, or say its format.") from None


def _event(source: str, line: int, number: int, value: Any) -> Event:
    if not isinstance(value, dict):
        raise HistoryError(
            source, line, f"not a map: {shorten(value)}", "An event is {:process 0, :type :invoke, :f :read, ...}."
        )
    fields = {name: value[name] for name in ("process", "type", "f", "value", "key", "error", "node") if name in value}
    fields["time"] = value["time"] if value.get("time") is not None else number
    try:
        event = msgspec.convert(fields, Event)
    except msgspec.ValidationError as error:
        problem = f"{error} in {shorten(value)}"
        raise HistoryError(source, line, problem, "An event has :process, :type, :f and :value.") from None
    return event


def _independent(parsed: list[Event]) -> bool:
    calls = [event for event in parsed if event.type == "invoke" and event.process != NEMESIS]
    reads = [event for event in calls if event.f == "read"]
    pairs = all(isinstance(event.value, list) and len(event.value) == 2 for event in calls)
    return bool(reads) and pairs
