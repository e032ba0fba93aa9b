"""The register that counts its versions, as etcd does for a key."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from checkers.models.model import REFUSED, Call, Model, Refused, Unvalued, hashable, visible


@dataclass(frozen=True, kw_only=True)
class VersionedRegister(Unvalued):
    """read, write and cas of a value whose version grows by one with every write and every cas that took effect.

    - ``read`` returns ``[version, value]``. A version of null was not told. With ``null_read="unknown"`` a value of
      null says nothing either (the version still does), and so does a result of null; with ``"value"`` a value of null
      is the value null, and a result of null is ``[0, null]``: nothing was ever written.
    - ``write`` v: the completion carries v, or ``[version, v]`` if the version that it made was told.
    - ``cas`` ``[expected, new]``: takes effect where the value is ``expected``; written ``[[version, expected], new]``
      where both are.

    Lists of two, the first an integer or null, are therefore no values of their own. The initial value is null (version
    0 of null), a value (its version is 0), or ``[version, value]``.
    """

    functions: ClassVar[frozenset[str]] = frozenset({"read", "write", "cas"})
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """Version and value."""
        version, value = _split(initial)
        return (version or 0), hashable(value)

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """A read must return version and value, a write the next version, a cas must find what it expects."""
        version, value = state
        if call.f == "read":
            return state if not call.known or self._matches(state, call.result) else REFUSED
        if call.f == "write":
            told = _split(call.result)[0] if call.known else None
            return (version + 1, hashable(call.value)) if told in (None, version + 1) else REFUSED
        expected_version, expected = _split(call.value[0])
        if expected_version not in (None, version) or hashable(expected) != value:
            return REFUSED
        return version + 1, hashable(call.value[1])

    def _matches(self, state: Any, result: Any) -> bool:
        if result is None:
            return self.null_read == "unknown" or bool(state == (0, None))
        version, value = _split(result)
        says_nothing = value is None and self.null_read == "unknown"
        return version in (None, state[0]) and (says_nothing or hashable(value) == state[1])

    def observation(self, call: Call) -> bool:
        """Reads."""
        return call.f == "read"

    def shown(self, state: Any) -> Any:
        """``[version, value]``."""
        return [state[0], visible(state[1])]

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """Itself, after looking at the shape of the results."""
        for call in calls:
            if call.f == "read" and call.known and call.result is not None and not _is_pair(call.result):
                raise ValueError(f"a read returned {call.result!r}; a versioned register returns [version, value]")
            told = call.result if call.f == "write" and call.known and _is_pair(call.result) else (None, call.value)
            if hashable(told[1]) != hashable(call.value):
                raise ValueError(f"a write of {call.value!r} completed as one of {told[1]!r}")
        return cast(Model, self)


def _is_pair(value: Any) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    return value[0] is None or type(value[0]) is int


def _split(value: Any) -> tuple[int | None, Any]:
    """Version (None: not told) and value."""
    return (value[0], value[1]) if _is_pair(value) else (None, value)
