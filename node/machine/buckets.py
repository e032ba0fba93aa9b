"""A dictionary that can be copied at once: many small dictionaries, each copied only when it is next written to.

A snapshot needs the state of one moment while the node goes on. A million keys in one dictionary take tens of
milliseconds to copy, and the event loop stands still meanwhile; here a copy shares all buckets and costs microseconds,
and whoever first writes to a shared bucket clones it (a thousand keys: microseconds again). A key's bucket is its
CRC-32, which is the same on every node, as Python's own hash is not; so the order of everything is a function of the
log, and nothing is ever sorted.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Generic, TypeVar

COUNT = 1024
"""Part of the format of snapshots."""

V = TypeVar("V")


class Buckets(Generic[V]):
    """A mapping from keys to values, of which :meth:`share` hands out a frozen copy."""

    def __init__(self, buckets: list[dict[str, V]] | None = None) -> None:
        """``buckets``: what :meth:`share` gave, which is not changed."""
        self._buckets: list[dict[str, V]] = [{} for _ in range(COUNT)] if buckets is None else list(buckets)
        self._shared = bytearray(b"\0" if buckets is None else b"\1") * COUNT

    def __len__(self) -> int:
        """How many keys there are; costs a look at each bucket."""
        return sum(map(len, self._buckets))

    def get(self, key: str) -> V | None:
        """The value of a key, if there is one."""
        return self._buckets[zlib.crc32(key.encode()) & (COUNT - 1)].get(key)

    def put(self, key: str, value: V) -> None:
        """Sets a key."""
        self.owned(key)[key] = value

    def pop(self, key: str) -> None:
        """Removes a key, if it is there."""
        self.owned(key).pop(key, None)

    def owned(self, key: str) -> dict[str, V]:
        """The key's bucket, that may be written to until the next :meth:`share`."""
        place = zlib.crc32(key.encode()) & (COUNT - 1)
        if self._shared[place]:
            self._shared[place] = 0
            self._buckets[place] = self._buckets[place].copy()
        return self._buckets[place]

    def share(self) -> Sequence[dict[str, V]]:
        """Everything as it is now, never to be changed by anybody."""
        self._shared = bytearray(b"\1") * COUNT
        return tuple(self._buckets)
