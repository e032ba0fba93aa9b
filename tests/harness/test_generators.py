"""Generators are values that keep their promises, whatever workers and completions do."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.generators import (
    PENDING,
    Completed,
    Context,
    Generator,
    Pending,
    Planned,
    Stream,
    all_keys,
    any_of,
    chain,
    delay,
    each,
    each_worker,
    key_after_key,
    limit,
    listed,
    mix,
    on_workers,
    once,
    phases,
    rate,
    repeat,
    reserve,
    stagger,
    time_limit,
    until_ok,
)
from harness.generators.pace import CATCH_UP_NS
from harness.generators.simulation import Simulated, respond_ok, simulate

MS = 1_000_000
S = 1_000 * MS
READ = Invocation("read")
WORKERS = st.integers(min_value=1, max_value=70)
LATENCIES = st.integers(min_value=1, max_value=50 * MS)
SEEDS = st.integers(min_value=0, max_value=2**64)
busy_machine = settings(max_examples=40)  # a deadline would assert a time


def numbered(i: int) -> Invocation:
    """The i-th write."""
    return Invocation("write", None, i)


def named(f: str) -> Generator:
    """One function for ever."""
    return repeat(Invocation(f))


def functions(operations: list[Simulated]) -> list[str]:
    """What was done, in order."""
    return [operation.invocation.f for operation in operations]


def context(time_ns: int = 0, free: int = 0b111, busy: int = 0, cursor: int = 0) -> Context:
    """Three workers at one moment."""
    return Context(time_ns, free, busy, 0b111, cursor, [0, 1, 2], ["n1", "n2", "n3"])


@busy_machine
@given(WORKERS, SEEDS)
def test_every_free_worker_is_taken_from_somewhere(workers: int, cursor: int) -> None:
    """The worker taken is free, and it is the next one from the cursor on."""
    free = cursor % ((1 << workers) - 1) + 1
    chosen = Context(0, free, 0, free, cursor % workers, [], []).worker()
    assert free >> chosen & 1
    between = [(cursor + step) % workers for step in range((chosen - cursor) % workers)]
    assert not any(free >> worker & 1 for worker in between)


@busy_machine
@given(st.integers(min_value=0, max_value=300), WORKERS, LATENCIES)
def test_limit_gives_exactly_so_many(operations: int, workers: int, latency_ns: int) -> None:
    """Neither one more while others are in flight, nor one less."""
    done = simulate(limit(operations, each(numbered)), workers=workers, respond=respond_ok(latency_ns))
    assert [operation.invocation.value for operation in done] == list(range(operations))


@busy_machine
@given(WORKERS, LATENCIES, st.integers(min_value=1, max_value=100 * MS))
def test_time_limit_begins_nothing_after_its_end(workers: int, latency_ns: int, for_ns: int) -> None:
    """Invocations lie in the time; the generator ends although its inner one never does."""
    done = simulate(time_limit(for_ns, rate(2000, each(numbered))), workers=workers, respond=respond_ok(latency_ns))
    assert done
    assert all(operation.call_ns < for_ns for operation in done)


def test_time_limit_is_noticed_when_nothing_else_happens() -> None:
    """A generator that waits for ever under a time limit waits until the limit only."""
    step, after = time_limit(5 * S, rate(0.001, each(numbered))).next(context())
    assert isinstance(step, Planned)
    step, _ = after.next(context(time_ns=1))
    assert step == Pending(5 * S)


@busy_machine
@given(
    st.floats(min_value=50, max_value=5000),
    SEEDS,
    st.sampled_from(["exponential", "uniform", "fixed"]),
    st.integers(min_value=1, max_value=2 * MS),
)
def test_rate_is_the_total_of_all_workers(per_s: float, seed: int, law: str, latency_ns: int) -> None:
    """With workers enough, 600 operations take 600 gaps, give or take five standard deviations."""
    done = simulate(
        limit(600, rate(per_s, each(numbered), seed=seed, law=law)), workers=60, respond=respond_ok(latency_ns)
    )
    took_s = (done[-1].call_ns - done[0].call_ns) / S
    assert took_s == pytest.approx(600 / per_s, rel=5 / 600**0.5)


def test_rate_catches_up_a_little_and_forgives_the_rest() -> None:
    """After a stall of 10 s at 1,000/s about 100 ms' worth come in a burst, not ten thousand."""

    def stall(place: int, invocation: Invocation) -> tuple[int, Completion]:
        return 10 * S if place == 0 else 1, Completion(Outcome.OK, invocation.value)

    done = simulate(limit(1000, rate(1000, each(numbered), law="fixed")), workers=1, respond=stall)
    burst = [operation for operation in done if 10 * S <= operation.call_ns < 10 * S + MS]
    assert len(burst) == pytest.approx(CATCH_UP_NS / MS, abs=2)


def test_stagger_and_delay_keep_their_gaps() -> None:
    """Stagger's gaps are at most twice the mean; delay's are at least what was asked, lateness included."""
    staggered = simulate(limit(500, stagger(2 * MS, each(numbered))), workers=9)
    assert max(b.call_ns - a.call_ns for a, b in pairwise(staggered)) <= 4 * MS
    delayed = simulate(limit(50, delay(3 * MS, each(numbered))), workers=2, respond=respond_ok(7 * MS))
    assert min(b.call_ns - a.call_ns for a, b in pairwise(delayed)) >= 3 * MS


@pytest.mark.parametrize("per_s", [0, -1])
def test_a_rate_that_is_none_is_refused(per_s: float) -> None:
    """The error shows the value."""
    with pytest.raises(ValueError, match=str(per_s)):
        rate(per_s, each(numbered))


@busy_machine
@given(SEEDS, st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=5))
def test_mix_keeps_the_shares(seed: int, weights: list[int]) -> None:
    """Each gets its share of 800 operations, give or take five standard deviations."""
    generator = limit(800, mix([named(str(place)) for place in range(len(weights))], weights, seed=seed))
    counts = Counter(functions(simulate(generator, workers=3)))
    for place, weight in enumerate(weights):
        share = weight / sum(weights)
        assert counts[str(place)] == pytest.approx(800 * share, abs=1 + 5 * (800 * share * (1 - share)) ** 0.5)


def test_mix_goes_on_without_those_that_have_ended() -> None:
    """What an ended one would have got goes to the others; when all have ended, so has the mix."""
    done = simulate(mix([limit(5, named("a")), limit(50, named("b"))], [9, 1]), workers=2)
    assert Counter(functions(done)) == {"a": 5, "b": 50}


def test_any_of_takes_whoever_can_go() -> None:
    """A slow one does not hold a quick one, and gets its turn when it is due."""
    slow, quick = rate(10, named("slow"), law="fixed"), rate(100, named("quick"), law="fixed")
    counts = Counter(functions(simulate(time_limit(1 * S, any_of(slow, quick)), workers=1)))
    assert counts == {"slow": 10, "quick": 100}


@busy_machine
@given(WORKERS, st.lists(st.integers(min_value=0, max_value=40), min_size=1, max_size=5), st.data())
def test_phases_begin_when_everybody_is_idle(workers: int, sizes: list[int], data: st.DataObject) -> None:
    """Every operation of a phase returns before the first of the next is invoked; none is lost."""
    latencies = data.draw(st.lists(LATENCIES, min_size=1, max_size=20))

    def respond(place: int, invocation: Invocation) -> tuple[int, Completion]:
        return latencies[place % len(latencies)], Completion(Outcome.OK, invocation.value)

    generator = phases(*(limit(size, named(str(place))) for place, size in enumerate(sizes)))
    done = simulate(generator, workers=workers, respond=respond)
    assert functions(done) == [str(place) for place, size in enumerate(sizes) for _ in range(size)]
    for phase in range(len(sizes)):
        before = [operation.return_ns for operation in done if int(operation.invocation.f) < phase]
        after = [operation.call_ns for operation in done if int(operation.invocation.f) >= phase]
        assert not before or not after or max(before) <= min(after)


def test_a_chain_does_not_wait() -> None:
    """Unlike phases: the second begins while the first's operation is in flight."""
    done = simulate(chain([once(READ), once(READ)]), workers=2)
    assert done[0].call_ns == done[1].call_ns


@busy_machine
@given(WORKERS, st.integers(min_value=1, max_value=50))
def test_until_ok_ends_with_a_success_of_its_own(workers: int, tries: int) -> None:
    """It goes on over failures, and stops at the first ok."""

    def respond(place: int, invocation: Invocation) -> tuple[int, Completion]:
        return MS, Completion(Outcome.OK if place + 1 >= tries else Outcome.FAIL, invocation.value)

    done = simulate(until_ok(each(numbered)), workers=workers, respond=respond)
    assert tries <= len(done) < tries + workers
    assert max(operation.call_ns for operation in done) <= min(
        operation.return_ns for operation in done if operation.completion.outcome is Outcome.OK
    )


def test_until_ok_is_not_ended_by_a_neighbours_success() -> None:
    """In a combinator that tells everybody everything, only its own workers' operations count."""
    step, generator = until_ok(named("mine")).next(context(free=0b001))
    assert isinstance(step, Planned)
    foreign = Completed(1, 2, 2, Invocation("other"), Completion(Outcome.OK))
    assert generator.update(foreign).next(context(free=0b010))[0] is not None
    own = Completed(1, 0, 2, Invocation("mine"), Completion(Outcome.OK))
    assert generator.update(own).next(context())[0] is None


def test_until_ok_waits_for_the_last_try() -> None:
    """With its tries used up but one in flight it is pending: that one may succeed; then it has ended."""
    _, generator = until_ok(limit(1, named("mine"))).next(context())
    assert generator.next(context(free=0b110))[0] == PENDING
    failed = Completed(1, 0, 0, Invocation("mine"), Completion(Outcome.FAIL))
    assert generator.update(failed).next(context())[0] is None


@busy_machine
@given(SEEDS, st.integers(min_value=0, max_value=10), st.integers(min_value=0, max_value=10))
def test_reserve_gives_every_group_its_workers_only(seed: int, writers: int, readers: int) -> None:
    """Writers write, readers read, the rest does the rest, and nobody else's work."""
    generator = reserve([(writers, named("write")), (readers, named("read"))], named("rest"), workers=20)
    done = simulate(limit(200, generator), workers=20, seed=seed)
    for operation in done:
        expected = "write" if operation.worker < writers else "read" if operation.worker < writers + readers else "rest"
        assert operation.invocation.f == expected


def test_reserve_shares_a_rate_by_the_size_of_groups() -> None:
    """Under a rate that leaves workers idle, three times the workers do about three times the work."""
    generator = reserve([(5, named("few"))], named("many"), workers=20)
    counts = Counter(functions(simulate(limit(4000, rate(100, generator)), workers=20)))
    assert counts["few"] == pytest.approx(1000, abs=5 * (4000 * 0.25 * 0.75) ** 0.5)


def test_more_reserved_than_there_are_is_refused() -> None:
    """The error has both numbers."""
    with pytest.raises(ValueError, match=r"12 workers.*10"):
        reserve([(6, named("a")), (6, named("b"))], named("c"), workers=10)


def test_on_workers_and_each_worker() -> None:
    """Only those named, and each of them does all of it in order."""
    work = listed([Invocation("a"), Invocation("b")])
    done = simulate(on_workers([1, 3], each_worker(work)), workers=5, nodes=("n1", "n2", "n3"))
    by_worker = defaultdict(list)
    for operation in done:
        by_worker[operation.worker].append(operation.invocation.f)
    assert by_worker == {1: ["a", "b"], 3: ["a", "b"]}
    assert {operation.worker: operation.node for operation in done} == {1: "n2", 3: "n1"}


@busy_machine
@given(SEEDS, st.integers(min_value=1, max_value=12))
def test_all_keys_puts_keys_in_and_tells_each_its_own(seed: int, keys: int) -> None:
    """Each key's generator counts its own operations: the values of a key are 0, 1, 2, ..."""
    names = [f"k{place}" for place in range(keys)]
    done = simulate(all_keys(names, lambda _: limit(7, each(numbered)), seed=seed), workers=4)
    values = defaultdict(list)
    for operation in done:
        values[operation.invocation.key].append(operation.invocation.value)
    assert values == {name: list(range(7)) for name in names}


@busy_machine
@given(
    st.integers(min_value=1, max_value=12),
    st.integers(min_value=1, max_value=4),
    st.integers(min_value=0, max_value=15),
)
def test_key_after_key_has_at_most_so_many_workers_a_key(workers: int, per_key: int, keys: int) -> None:
    """Every key is done whole, by one group of workers, and a group's next key begins when the one before is over."""
    if workers < per_key:
        with pytest.raises(ValueError, match="workers_per_key"):
            key_after_key(range(keys), lambda _: named("x"), workers=workers, workers_per_key=per_key)
        return
    generator = key_after_key(range(keys), lambda _: limit(5, each(numbered)), workers=workers, workers_per_key=per_key)
    done = simulate(generator, workers=workers)
    by_key = defaultdict(list)
    for operation in done:
        by_key[operation.invocation.key].append(operation)
    assert {key: len(operations) for key, operations in by_key.items()} == dict.fromkeys(range(keys), 5)
    for operations in by_key.values():
        assert len({operation.worker // per_key for operation in operations}) == 1
    for group in range(workers // per_key):
        mine = [operation for operation in done if operation.worker // per_key == group]
        assert all(a.return_ns <= b.call_ns for a, b in pairwise(mine) if a.invocation.key != b.invocation.key)


@busy_machine
@given(SEEDS)
def test_the_same_seed_gives_the_same_run(seed: int) -> None:
    """Generators are values: two runs of one generator are equal, operation by operation."""
    generator = limit(200, rate(1000, mix([named("a"), each(numbered)], seed=seed), seed=seed))
    assert simulate(generator, workers=5, seed=seed) == simulate(generator, workers=5, seed=seed)


@busy_machine
@given(SEEDS)
def test_asking_changes_nothing(seed: int) -> None:
    """A generator that was asked and not obeyed gives the same answer again."""
    inner = mix([named("a"), each(numbered)], seed=seed)
    generator = phases(limit(3, reserve([(1, inner)], each_worker(inner), workers=3)), until_ok(inner))
    assert generator.next(context()) == generator.next(context())


def test_draws_depend_on_seed_name_and_place_only() -> None:
    """Also backwards, across blocks, and in another object; other names are other numbers."""
    stream, places = Stream(7, "a"), [0, 5000, 1023, 1024, 0, 10**12]
    draws = [stream.draw(place) for place in places]
    assert draws == [Stream(7, "a").draw(place) for place in places]
    assert len({*draws, *(Stream(7, "b").draw(place) for place in places)}) == 10
    assert all(0 <= draw < 1 for draw in draws)
