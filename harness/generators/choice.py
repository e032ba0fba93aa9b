"""Generators made of several: a weighted mixture, whichever can go first, one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from msgspec import Struct

from harness.generators.protocol import PENDING, Completed, Context, Generator, Pending, Planned, Step, sooner
from harness.generators.stream import Stream


def _replaced(inners: tuple[Generator, ...], place: int, inner: Generator) -> tuple[Generator, ...]:
    return (*inners[:place], inner, *inners[place + 1 :])


def _updated(inners: tuple[Generator, ...], event: Completed) -> tuple[Generator, ...]:
    return tuple(inner.update(event) for inner in inners)


class Mix(Struct, frozen=True, gc=False):
    """Each operation from one of several, drawn by weight. The draw stands until it led to an operation, so that the
    shares are kept.
    """

    inners: tuple[Generator, ...]
    bounds: tuple[float, ...]
    """Running sums of the weights."""
    stream: Stream
    made: int = 0

    def next(self, context: Context) -> tuple[Step, Generator]:
        """A step of the one that is drawn; one that has ended is left out from then on."""
        mix = self
        while mix.inners:
            place = bisect_right(mix.bounds, mix.stream.draw(mix.made) * mix.bounds[-1])
            step, inner = mix.inners[place].next(context)
            if step is not None:
                made = mix.made + (type(step) is Planned)
                return step, Mix(_replaced(mix.inners, place, inner), mix.bounds, mix.stream, made)
            mix = mix._without(place)
        return None, mix

    def update(self, event: Completed) -> Generator:
        """Tells all."""
        return Mix(_updated(self.inners, event), self.bounds, self.stream, self.made)

    def _without(self, place: int) -> Mix:
        weights = [high - low for low, high in zip((0.0, *self.bounds), self.bounds, strict=False)]
        del weights[place]
        inners = self.inners[:place] + self.inners[place + 1 :]
        return Mix(inners, tuple(accumulate(weights)), self.stream, self.made)


class AnyOf(Struct, frozen=True, gc=False):
    """Whichever of several can go first; earlier ones win."""

    inners: tuple[Generator, ...]

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The first operation that any has; else the shortest wait; None when all have ended."""
        wait: Pending | None = None
        for place, inner in enumerate(self.inners):
            step, after = inner.next(context)
            if type(step) is Planned:
                return step, AnyOf(_replaced(self.inners, place, after))
            if type(step) is Pending:
                wait = step if wait is None else sooner(wait, step)
        return wait, self

    def update(self, event: Completed) -> Generator:
        """Tells all."""
        return AnyOf(_updated(self.inners, event))


class Chain(Struct, frozen=True, gc=False):
    """One after the other. With ``idle``, the next begins only when no worker is busy any more (a phase)."""

    inners: tuple[Generator, ...]
    idle: bool
    place: int = 0
    current: Generator | None = None
    """What remains of the one whose turn it is; None if it was not asked yet."""

    def next(self, context: Context) -> tuple[Step, Generator]:
        """A step of the one whose turn it is."""
        inners, idle, place, current = self.inners, self.idle, self.place, self.current
        while place < len(inners):
            if current is None and idle and place and context.busy:
                return PENDING, Chain(inners, idle, place)
            step, current = (inners[place] if current is None else current).next(context)
            if step is not None:
                return step, Chain(inners, idle, place, current)
            place, current = place + 1, None
        return None, Chain(inners, idle, place)

    def update(self, event: Completed) -> Generator:
        """Tells the one whose turn it is."""
        if self.current is None:
            return self
        after = self.current.update(event)
        return self if after is self.current else Chain(self.inners, self.idle, self.place, after)


def mix(inners: Sequence[Generator], weights: Sequence[float] | None = None, *, seed: int = 0) -> Generator:
    """Operations of several in shares given by weights (equal if none are given).

    Raises:
        ValueError: the weights do not fit, or one is not above 0.
    """
    shares = [1.0] * len(inners) if weights is None else list(weights)
    if len(shares) != len(inners) or any(share <= 0 for share in shares):
        raise ValueError(f"weights {shares!r}: one above 0 for each of the {len(inners)} generators")
    return Mix(tuple(inners), tuple(accumulate(shares)), Stream(seed, "mix"))


def any_of(*inners: Generator) -> Generator:
    """Whichever can go first."""
    return AnyOf(inners)


def phases(*inners: Generator) -> Generator:
    """One after the other, each beginning when every worker is idle."""
    return Chain(inners, idle=True)


def chain(inners: Iterable[Generator]) -> Generator:
    """One after the other, without waiting for the last operations of the one before."""
    return Chain(tuple(inners), idle=False)
