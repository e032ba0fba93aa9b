"""Read modes of real nodes: through every node, by lease, and with a leader that was stopped."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from node.client import DefiniteError, Get, KvError, Put, ReadMode
from tests.node.processes import STEADY, Processes, processes

pytestmark = pytest.mark.integration


async def test_reads_through_any_node_and_by_lease(tmp_path: Path) -> None:
    """Every node shows every write as soon as it is acknowledged. A leader that was stopped while another took over
    shows no old value when it goes on, by lease or otherwise, although the questions reach it before anything else.
    """
    async with processes(tmp_path, options=STEADY) as cluster:
        leader = await cluster.wait_followed()
        session = await cluster.session()
        for number in range(1, 21):
            value = b"%d" % number
            await cluster.client.execute(leader, Put("k", value), 2, session=session, sequence=number)
            for name in cluster.names:
                assert await read(cluster, name, ReadMode.LINEARIZABLE) == value
            assert await read(cluster, leader, ReadMode.LEASE) == value
        process = cluster.running.pop(leader)
        try:
            process.send_signal(signal.SIGSTOP)
            await cluster.do(Put("k", b"new"), session=session, sequence=21)
            asked = [
                asyncio.create_task(read(cluster, leader, mode)) for mode in 20 * [ReadMode.LEASE, ReadMode.LEADER]
            ]
            await asyncio.sleep(0.05)
        finally:
            process.send_signal(signal.SIGCONT)
            cluster.running[leader] = process
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(answer == b"new" or isinstance(answer, KvError) for answer in answers), answers
        assert any(isinstance(answer, DefiniteError) for answer in answers), answers


async def read(cluster: Processes, name: str, mode: ReadMode) -> object:
    """What a node says; connections to stopped nodes are there already."""
    return (await cluster.client.execute(name, Get("k", mode=mode), 3)).value
