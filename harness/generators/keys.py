"""Independent keys: one generator a key, over many keys.

Short histories a key are cheap to judge and many keys cover much (Jepsen ``independent.clj``). Either all keys live at
once and every worker visits any of them, or groups of workers take one key after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from harness.clients import Invocation
from harness.generators.choice import Mix
from harness.generators.choice import mix as mixture
from harness.generators.groups import OnWorkers, Reserve, worker_set
from harness.generators.protocol import PENDING, Completed, Context, Generator, Planned, Step

MakeForKey = Callable[[Hashable], Generator]
"""The generator of one key. It need not put the key into its operations."""


class Keyed(Struct, frozen=True, gc=False):
    """Another's operations, said of one key; learns of that key only."""

    inner: Generator
    key: Hashable

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The inner one's step with the key put in."""
        step, inner = self.inner.next(context)
        if type(step) is Planned:
            invocation = step.invocation
            step = Planned(step.worker, Invocation(invocation.f, self.key, invocation.value, invocation.reads))
        return step, Keyed(inner, self.key)

    def update(self, event: Completed) -> Generator:
        """Passes on what happened to its key."""
        if event.invocation.key != self.key:
            return self
        inner = self.inner.update(event)
        return self if inner is self.inner else Keyed(inner, self.key)


class KeyAfterKey(Struct, frozen=True, gc=False):
    """One group of workers: every ``stride``-th key from ``place`` on, one after the other, each when the one before is
    idle.
    """

    keys: Sequence[Hashable]
    make: MakeForKey
    place: int
    stride: int
    current: Keyed | None = None

    def next(self, context: Context) -> tuple[Step, Generator]:
        """A step of the current key; the next key when it has ended."""
        group = self
        while group.place < len(group.keys):
            key = group.keys[group.place]
            current = group.current or Keyed(group.make(key), key)
            step, after = current.next(context)
            if step is not None:
                assert isinstance(after, Keyed)
                return step, replace(group, current=after)
            if context.busy:
                return PENDING, replace(group, current=current)
            group = replace(group, place=group.place + group.stride, current=None)
        return None, group

    def update(self, event: Completed) -> Generator:
        """Tells the current key."""
        if self.current is None:
            return self
        after = self.current.update(event)
        assert isinstance(after, Keyed)
        return self if after is self.current else replace(self, current=after)


def all_keys(keys: Sequence[Hashable], make: MakeForKey, *, seed: int = 0) -> Generator:
    """Every worker over all keys, drawn evenly."""
    generator = mixture([Keyed(make(key), key) for key in keys], seed=seed)
    assert isinstance(generator, Mix)
    return generator


def key_after_key(keys: Sequence[Hashable], make: MakeForKey, *, workers: int, workers_per_key: int) -> Generator:
    """Groups of so many workers, each taking one key after the other; workers that fill no group stay idle.

    Raises:
        ValueError: a group needs more workers than there are.
    """
    groups = workers // workers_per_key if workers_per_key > 0 else 0
    if not groups:
        raise ValueError(f"workers_per_key {workers_per_key}: must be from 1 to the number of workers, {workers}")
    members = [worker_set(range(group * workers_per_key, (group + 1) * workers_per_key)) for group in range(groups)]
    return Reserve(tuple(OnWorkers(KeyAfterKey(keys, make, group, groups), bits) for group, bits in enumerate(members)))
