"""Watches: events in order, none lost, none twice, whatever the connection does; clear ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from node import kv_pb2
from node.machine import Machine
from node.operation_codec import event_from_proto
from node.operations import (
    Acquire,
    CompareAndSet,
    Delete,
    Increment,
    ListAppend,
    Operation,
    Put,
    Read,
    Release,
    SetAdd,
    SetRemove,
    Transaction,
    Value,
)
from node.serving.events import Event, EventKind
from node.serving.watch import PROGRESS_NS, SERVED_MAX, WATCHES_MAX, History, Watches
from tests.node.machine_model import KEYS, OPERATIONS, Model, command, opened
from tests.node.test_machine_types import Client


@dataclass
class Ears:
    """A listener that keeps everything."""

    wanted: bool = True
    writable: bool = True
    replies: list[kv_pb2.Reply] = field(default_factory=list)

    def __call__(self, reply: kv_pb2.Reply) -> None:
        assert self.writable or not reply.more, "a watch waits while its connection takes nothing"
        self.replies.append(reply)

    @property
    def events(self) -> list[tuple[int, str]]:
        return [(event.revision, event.key) for reply in self.replies for event in reply.events]

    @property
    def last(self) -> kv_pb2.Reply:
        return self.replies[-1]


def put(revision: int, *keys: str) -> list[Event]:
    return [Event(revision, EventKind.PUT, key, b"v") for key in keys]


class Node:
    """Watches, and how far the node is."""

    def __init__(self, **limits: int) -> None:
        self.watches = Watches(History(1, **limits))
        self.applied = self.now_ns = 0

    def watch(self, key: str, *, prefix: bool = False, start: int = 0) -> Ears:
        ears = Ears()
        request = kv_pb2.WatchRequest(key=key, prefix=prefix, start=start)
        self.watches.watch(request, ears, self.applied, self.now_ns)
        return ears

    def apply(self, *keys: str) -> None:
        self.applied += 1
        if keys:
            self.watches.applied(put(self.applied, *keys))

    def flush(self, after_ns: int = 0) -> None:
        self.now_ns += after_ns
        self.watches.flush(self.applied, self.now_ns)


def test_a_watch_follows_its_key_from_now_on() -> None:
    """The first reply says that it is there; then what happens to the key, all of a turn in one reply."""
    node = Node()
    node.apply("k")
    ears = node.watch("k")
    assert (ears.last.outcome, ears.last.index, ears.last.more) == (kv_pb2.OK, 1, True)
    node.apply("k", "other")
    node.apply("k")
    node.flush()
    assert ears.events == [(2, "k"), (3, "k")]
    assert (len(ears.replies), ears.last.index) == (2, 3)


def test_a_prefix_follows_all_its_keys() -> None:
    """The empty one all there are."""
    node = Node()
    some, every = node.watch("a/", prefix=True), node.watch("", prefix=True)
    node.apply("a/1", "b/1", "a")
    node.flush()
    assert (some.events, len(every.events)) == ([(1, "a/1")], 3)


def test_a_watch_from_the_past_or_the_future() -> None:
    """What is asked for comes, nothing before it."""
    node = Node()
    for _ in range(5):
        node.apply("k")
    past, future = node.watch("k", start=4), node.watch("k", start=8)
    node.flush()
    assert past.events == [(4, "k"), (5, "k")]
    for _ in range(4):
        node.apply("k")
        node.flush()
    assert [revision for revision, _ in past.events] == [4, 5, 6, 7, 8, 9]
    assert [revision for revision, _ in future.events] == [8, 9]


def test_a_long_past_comes_in_pieces() -> None:
    """A turn serves so much of it and no more; new events wait behind."""
    node = Node()
    for _ in range(2 * SERVED_MAX + 10):
        node.apply("k")
    ears = node.watch("k", start=1)
    node.flush()
    assert (len(ears.events), ears.last.index) == (SERVED_MAX, SERVED_MAX)
    node.apply("k")
    node.flush()
    node.flush()
    assert [revision for revision, _ in ears.events] == list(range(1, 2 * SERVED_MAX + 12))
    assert ears.last.index == node.applied


def test_what_is_compacted_is_said() -> None:
    """At once, with the first revision that can be had; also behind a snapshot that was received."""
    node = Node(events_max=3)
    for _ in range(5):
        node.apply("k")
    late = node.watch("k", start=2)
    assert (late.last.outcome, late.last.index, late.last.more) == (kv_pb2.COMPACTED, 3, False)
    assert node.watch("k", start=3).last.outcome == kv_pb2.OK
    following = node.watch("k")
    node.watches.reset(20)
    node.applied = 20
    assert (following.last.outcome, following.last.index) == (kv_pb2.COMPACTED, 21)
    assert node.watch("k", start=20).last.outcome == kv_pb2.COMPACTED
    assert node.watch("k", start=21).last.outcome == kv_pb2.OK
    assert len(node.watches) == 1


def test_bytes_are_bounded_too() -> None:
    """Long values push out more of the past."""
    node = Node(bytes_max=300)
    for _ in range(10):
        node.apply("k")
    assert node.watch("k", start=1).last.outcome == kv_pb2.COMPACTED


def test_a_slow_watch_is_served_later_or_ended() -> None:
    """While its connection takes nothing it is sent nothing and holds no memory; later it gets what it missed; behind
    the history, it is ended.
    """
    node = Node(events_max=4)
    ears = node.watch("k")
    ears.writable = False
    node.apply("k")
    node.flush()
    node.apply("k")
    node.flush(2 * PROGRESS_NS)
    assert ears.events == []
    ears.writable = True
    node.flush()
    assert ears.events == [(1, "k"), (2, "k")]
    ears.writable = False
    for _ in range(7):
        node.apply("k")
        node.flush()
    assert (ears.last.outcome, ears.last.more) == (kv_pb2.COMPACTED, False)
    assert len(node.watches) == 0


def test_a_quiet_watch_is_told_how_far_it_is() -> None:
    """So that it can go on from there, although nothing of it is in any history."""
    node = Node()
    ears = node.watch("k")
    for _ in range(9):
        node.apply("other")
    node.flush(PROGRESS_NS - 1)
    assert len(ears.replies) == 1
    node.flush(PROGRESS_NS)
    assert (ears.last.index, list(ears.last.events), ears.last.more) == (9, [], True)


def test_a_watch_is_not_ended_for_what_others_did() -> None:
    """It kept up until its connection took no more, though nothing was sent for so long that the history has moved
    on.
    """
    node = Node(events_max=4)
    ears = node.watch("k")
    for _ in range(9):
        node.apply("other")
        node.flush()
    ears.writable = False
    node.apply("k")
    node.flush()
    ears.writable = True
    node.flush()
    assert ears.events == [(10, "k")]


def test_whoever_left_is_forgotten() -> None:
    """Within a second."""
    node = Node()
    ears = node.watch("k")
    ears.wanted = False
    node.flush(2 * PROGRESS_NS)
    assert len(node.watches) == 0


def test_watches_are_bounded() -> None:
    """Further ones are refused."""
    node = Node()
    for _ in range(WATCHES_MAX):
        node.watch("k")
    assert node.watch("k").last.outcome == kv_pb2.BUSY


def test_a_node_that_stops_says_so() -> None:
    """To all that watch."""
    node = Node()
    ears = node.watch("k")
    node.watches.stop()
    assert (ears.last.outcome, ears.last.more) == (kv_pb2.STOPPING, False)


@settings(max_examples=50)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["apply k", "apply k", "apply other", "apply both", "flush", "flush", "pause", "resume"]),
        ),
        max_size=60,
    ),
    st.integers(1, 8),
)
def test_nothing_is_lost_and_nothing_comes_twice(steps: list[str], events_max: int) -> None:
    """A client that, whenever it is ended, goes on behind what it was told, sees every event that it can have: gaps
    are where it was told "compacted", and nowhere else.
    """
    node = Node(events_max=events_max)
    ears = node.watch("k", start=1)
    happened: list[int] = []
    seen: list[int] = []
    begin = 1

    def collect() -> None:
        nonlocal ears, begin
        for reply in ears.replies:
            if reply.outcome == kv_pb2.COMPACTED:
                begin = reply.index
            else:
                revisions = [event.revision for event in reply.events]
                assert revisions == [revision for revision in happened if begin <= revision <= reply.index]
                seen.extend(revisions)
                begin = max(begin, reply.index + 1)
        over = ears.replies and not ears.last.more
        ears.replies.clear()
        if over:
            ears = node.watch("k", start=begin)

    for step in [*steps, "resume", "flush", "flush", "wait"]:
        if step.startswith("apply"):
            keys = {"k": ["k"], "other": ["other"], "both": ["other", "k"]}[step.removeprefix("apply ")]
            node.apply(*keys)
            if "k" in keys:
                happened.append(node.applied)
        elif step in ("flush", "wait"):
            node.flush(PROGRESS_NS if step == "wait" else 0)
        else:
            ears.writable = step == "resume"
        collect()
    assert begin == node.applied + 1
    assert seen == sorted(set(seen))


def test_every_change_is_an_event() -> None:
    """And what changes nothing is none: refusals, elements that were there, deletes of nothing."""
    client = Client()
    told: list[tuple[Operation, list[tuple[EventKind, str, Value]]]] = [
        (Put("r", b"x"), [(EventKind.PUT, "r", b"x")]),
        (CompareAndSet("r", b"y", b"z"), []),
        (SetAdd("s", b"e"), [(EventKind.ADD, "s", frozenset({b"e"}))]),
        (SetAdd("s", b"e"), []),
        (SetRemove("s", b"e"), [(EventKind.REMOVE, "s", frozenset({b"e"}))]),
        (SetRemove("s", b"e"), []),
        (Increment("c", 2), [(EventKind.PUT, "c", 2)]),
        (Increment("r"), []),
        (Acquire("l", "me"), [(EventKind.PUT, "l", 18)]),
        (Acquire("l", "you"), []),
        (Release("l", "me"), [(EventKind.PUT, "l", 0)]),
        (
            Transaction((ListAppend("t", b"1"), Read("t"), Put("r", b"1"), Put("r", b"2"), ListAppend("t", b"2"))),
            [(EventKind.PUT, "r", b"2"), (EventKind.ADD, "t", (b"1", b"2"))],
        ),
        (Delete("t"), [(EventKind.DELETE, "t", None)]),
        (Delete("t"), []),
    ]
    for sequence, (operation, expected) in enumerate(told, start=1):
        client.machine.apply(2 * sequence, command(operation, 1, sequence))
        events = client.machine.events
        assert [(event.kind, event.key, event.value) for event in events] == expected
        assert {event.revision for event in events} <= {2 * sequence}
        client.machine.apply(2 * sequence + 1, command(operation, 1, sequence))
        assert not client.machine.events, "a retry changes nothing"


@settings(max_examples=50)
@given(st.lists(OPERATIONS, max_size=25))
def test_events_tell_the_whole_story(operations: list[Operation]) -> None:
    """Whoever replays them has what the keys hold (but for leases, which end without a command)."""
    machine, model, replayed = Machine(), Model(), dict.fromkeys(KEYS)
    machine.apply(1, opened())
    story: dict[str, Value] = {**replayed}
    for sequence, operation in enumerate(operations, start=1):
        machine.apply(sequence + 1, command(operation, 1, sequence))
        model.apply(operation, sequence + 1, 0)
        for event in machine.events:
            story[event.key] = replay(story[event.key], event)
        assert story == {key: model.get(key) for key in KEYS}


def replay(before: Value, event: Event) -> Value:
    value = event.value
    if event.kind is EventKind.ADD:
        if isinstance(value, frozenset):
            return (before if isinstance(before, frozenset) else frozenset()) | value
        assert isinstance(value, tuple)
        return (*(before if isinstance(before, tuple) else ()), *value)
    if event.kind is EventKind.REMOVE:
        assert isinstance(before, frozenset)
        assert isinstance(value, frozenset)
        return before - value
    return value


def test_events_come_through_protobuf() -> None:
    """As they went in."""
    node = Node()
    ears = node.watch("", prefix=True)
    events = [
        Event(1, EventKind.PUT, "r", b""),
        Event(1, EventKind.DELETE, "d", None),
        Event(1, EventKind.ADD, "s", frozenset({b"x"})),
        Event(1, EventKind.REMOVE, "t", frozenset({b"x"})),
    ]
    node.applied = 1
    node.watches.applied(events)
    node.flush()
    read = kv_pb2.Reply.FromString(ears.last.SerializeToString())
    assert list(map(event_from_proto, read.events)) == events
