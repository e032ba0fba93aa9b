"""raftkv's operators' calls: as whom a node joins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from faults.needs import AdminError
from harness.systems.raftkv_admin import JOIN, RaftkvAdmin
from node import client as kv

NODES = ("n1", "n2", "n3", "n4")


class Told(kv.KvClient):
    """Nodes that tell the membership as they have it; who is not named does not answer."""

    def __init__(self, told: Mapping[str, Sequence[str]]) -> None:
        super().__init__({})
        self.told = told

    async def members(self, node: str, timeout_s: float) -> list[kv.Member]:
        """Everybody votes."""
        if node not in self.told:
            raise kv.TimedOutError(f"{node} did not answer within {timeout_s:g} s")
        identities = self.told[node]
        return [kv.Member(node=one.partition("~")[0], identity=one, voter=True, leaving=False) for one in identities]


async def joins_as(told: Mapping[str, Sequence[str]]) -> str:
    """The identity with which n1 is started."""
    argv = await RaftkvAdmin(library=Told(told), nodes=NODES).joining("n1", ["node", JOIN, "n1~1.5", "--seed", "1"])
    assert list(argv[:-2]) == ["node", "--seed", "1"]
    assert argv[-2] == JOIN
    return argv[-1]


async def test_the_newest_answer_counts() -> None:
    """n2 was cut off, and still tells of the member that has left; n3 tells of one that was added and left since."""
    assert await joins_as({"n2": ["n1", "n2"], "n3": ["n1~2.9", "n3"], "n4": ["n1~2.10", "n4"]}) == "n1~2.10"


@pytest.mark.parametrize("told", [{}, {"n2": ["n1", "n2"]}, {"n1": ["n1~2.10"], "n3": ["n3"]}])
async def test_a_node_that_nobody_added_cannot_join(told: Mapping[str, Sequence[str]]) -> None:
    """As a founder it would only be started to end with a usage error, which looked like a crash."""
    with pytest.raises(AdminError, match="no node tells that n1 was added"):
        await joins_as(told)
