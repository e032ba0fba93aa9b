"""Random numbers as a value: the i-th draw of a stream is a pure function of the seed, the stream's name and i.

A generator that keeps a count and a stream is immutable and repeatable. Draws are made in blocks by the Mersenne
Twister, seeded with the block's number; the last block is remembered, which changes the cost (0.1 us a draw) and no
answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

_BLOCK_BITS = 10
_BLOCK = 1 << _BLOCK_BITS
_MASK = _BLOCK - 1


@dataclass(frozen=True, slots=True)
class Stream:
    """An endless sequence of numbers in [0, 1). Two streams of one seed with different names are independent."""

    seed: int
    name: str
    _memo: dict[int, tuple[float, ...]] = field(default_factory=dict, compare=False, repr=False)

    def draw(self, index: int) -> float:
        """The number at ``index``, from 0."""
        block = self._memo.get(index >> _BLOCK_BITS)
        return (block or self._block(index >> _BLOCK_BITS))[index & _MASK]

    def _block(self, number: int) -> tuple[float, ...]:
        # Seeding with text goes through SHA-512, so that neighbouring seeds and blocks have nothing in common.
        random = Random(f"{self.seed}/{self.name}/{number}").random
        block = tuple(random() for _ in range(_BLOCK))
        if len(self._memo) > 1:
            self._memo.clear()
        self._memo[number] = block
        return block
