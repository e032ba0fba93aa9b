"""Probes over the loopback device, which answers at every address of 127.0.0.0/8."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from faults.needs import Links
from faults.packets.journeys import Burst
from harness.host.probes import _DATAGRAM, _TIMED, Endpoint, Probes, _Pending, _Timed

ADDRESSES = {"n1": "127.0.0.1", "n2": "127.0.0.2", "n3": "127.0.0.3"}
PAIRS = list(itertools.permutations(ADDRESSES, 2))
SHORT_S = 0.03


@pytest.fixture
def probes() -> Iterator[Probes]:
    """Three endpoints here."""
    made = Probes()
    for name, address in ADDRESSES.items():
        made.add(name, Endpoint(address=address, netns=None))
    yield made
    made.close()


async def test_open_links_answer(probes: Probes) -> None:
    """Every direction is seen open, again and again, and the contract is fulfilled."""
    links: Links = probes
    assert links.addresses == ADDRESSES
    for _ in range(2):
        assert await links.probe(PAIRS, timeout_s=5) == dict.fromkeys(PAIRS, True)
    assert await links.probe([], timeout_s=5) == {}


async def test_only_the_silent_direction_is_blocked(probes: Probes) -> None:
    """When datagrams of one direction go nowhere, that direction is blocked and its opposite is not."""
    deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    deaf.bind((ADDRESSES["n2"], 0))
    deaf.connect(("127.0.0.99", 9))  # hears nobody else, but still speaks to everybody
    probes.add("n2", Endpoint(address=ADDRESSES["n2"], netns=None), deaf)
    seen = await probes.probe([("n1", "n2"), ("n2", "n1")], timeout_s=SHORT_S)
    assert seen == {("n1", "n2"): False, ("n2", "n1"): True}


async def test_probes_at_the_same_time_do_not_mix(probes: Probes) -> None:
    """Many probes under way at once each get their own answers."""
    seen = await asyncio.gather(*(probes.probe(PAIRS, timeout_s=5) for _ in range(20)))
    assert all(all(each.values()) for each in seen)


def test_strangers_do_not_open_a_link(probes: Probes) -> None:
    """A datagram that was not sent by this probe, from the right address, to the right end, counts for nothing."""
    pending = probes._pending[7] = _Pending([("n1", "n2")])
    token = probes._token
    ours = _DATAGRAM.pack(token, 7, 0)
    strangers = [
        ("n2", _DATAGRAM.pack(b"somebody", 7, 0), "127.0.0.1"),
        ("n2", _DATAGRAM.pack(token, 6, 0), "127.0.0.1"),
        ("n2", _DATAGRAM.pack(token, 7, 1), "127.0.0.1"),
        ("n2", ours[:-1], "127.0.0.1"),
        ("n2", ours, "127.0.0.3"),
        ("n3", ours, "127.0.0.1"),
    ]
    for end, data, sender in strangers:
        probes._accept(end, data, sender)
        assert not pending.arrived
    probes._accept("n2", ours, "127.0.0.1")
    assert pending.arrived == {0}


async def test_an_unknown_endpoint_is_named(probes: Probes) -> None:
    """Asking for a link to nobody is an error that says who is known."""
    with pytest.raises(ValueError, match=r"n9.*n1, n2, n3"):
        await probes.probe([("n1", "n9")], timeout_s=1)


async def test_an_endpoint_can_be_replaced_and_removed(probes: Probes) -> None:
    """A restarted container has another namespace: its endpoint is opened anew; a removed one is unknown."""
    probes.add("n2", Endpoint(address="127.0.0.9", netns=None))
    assert (await probes.probe([("n1", "n2")], timeout_s=5))["n1", "n2"]
    probes.remove("n2")
    probes.remove("n2")
    with pytest.raises(ValueError, match="n2"):
        await probes.probe([("n1", "n2")], timeout_s=1)


def test_a_namespace_that_is_gone_is_an_error(probes: Probes) -> None:
    """Opening an endpoint in no namespace raises, and leaves the others as they are."""
    with pytest.raises(OSError, match="nowhere"):
        probes.add("n4", Endpoint(address="127.0.0.4", netns="/run/netns/nowhere"))
    assert set(probes.addresses) == set(ADDRESSES)


def test_probes_survive_a_change_of_loops(probes: Probes) -> None:
    """Sockets belong to no event loop."""
    for _ in range(2):
        assert all(asyncio.run(probes.probe(PAIRS, timeout_s=5)).values())


BURST = Burst(count=20, size=100, every_s=0.0001, linger_s=5)


async def test_journeys_are_timed_one_way(probes: Probes) -> None:
    """Every datagram of a burst over every link arrives once, after it was sent, in no more bytes than asked."""
    seen = await probes.measure(PAIRS, BURST)
    assert set(seen) == set(PAIRS)
    for journeys in seen.values():
        assert (journeys.sent, journeys.lost, journeys.copies) == (20, 0, 0)
        assert {arrival.number for arrival in journeys.arrivals} == set(range(20))
        assert all(arrival.arrived_ns >= arrival.sent_ns for arrival in journeys.arrivals)
    assert await probes.measure([], BURST) == {}


async def test_what_does_not_arrive_is_lost(probes: Probes) -> None:
    """A deaf end hears nothing, and is not waited for longer than said; the others are as they are."""
    deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    deaf.bind((ADDRESSES["n2"], 0))
    deaf.connect(("127.0.0.99", 9))
    probes.add("n2", Endpoint(address=ADDRESSES["n2"], netns=None), deaf)
    seen = await probes.measure([("n1", "n2"), ("n2", "n1")], replace(BURST, linger_s=SHORT_S))
    assert (seen["n1", "n2"].lost, seen["n2", "n1"].lost) == (20, 0)


async def test_copies_are_counted(probes: Probes) -> None:
    """A datagram that comes again is a copy, and its time is that of the first."""
    timed = _Timed.of([("n1", "n2")], 3)
    probes._pending[7] = timed
    for place in (0, 1, 1, 1):
        probes._accept("n2", _TIMED.pack(probes._token, 7, 0, place, 5) + bytes(40), "127.0.0.1")
    journeys = timed.journeys(0)
    assert (journeys.sent, journeys.lost, journeys.copies) == (3, 1, 2)
    assert not timed.complete.is_set()


async def test_a_burst_and_probes_do_not_mix(probes: Probes) -> None:
    """Both under way at once get their own answers."""
    seen, opened = await asyncio.gather(probes.measure(PAIRS, BURST), probes.probe(PAIRS, timeout_s=5))
    assert all(opened.values())
    assert not any(journeys.lost or journeys.copies for journeys in seen.values())
