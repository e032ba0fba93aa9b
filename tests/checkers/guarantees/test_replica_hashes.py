"""Claims about hashes of replicas."""

from __future__ import annotations

import random

import pytest

from checkers.guarantees.replica_hashes import REPLICA_HASHES, Hash, compare
from checkers.history import HistoryError
from checkers.verdict import Validity
from tests.checkers.guarantees.told import Event, op, story


def asked(stream: random.Random, nodes: int = 3) -> list[list[Event]]:
    """Nodes that tell the hashes of one state after the other, each at some indexes."""
    told = []
    for time in range(12):
        node = stream.randrange(nodes)
        indexes = sorted(stream.sample(range(1, 30), stream.randint(1, 4)))
        pairs = [[index, f"h{index}"] for index in indexes]
        told.append(op(node, "hashes", None, pairs, 2 * time, 2 * time + 1, node=f"n{node}"))
    return told


def test_equal_states_are_never_refused() -> None:
    """Whichever indexes the nodes tell."""
    for seed in range(300):
        result = REPLICA_HASHES.check(story(*asked(random.Random(seed))))
        assert result.validity is not Validity.INVALID
        assert result.statistics["indexes_compared"] > 0 or result.validity is Validity.UNKNOWN


def test_a_changed_hash_is_refused_and_named() -> None:
    """The index, the nodes and what each of them said; if anybody else told that index."""
    seen = 0
    for seed in range(200):
        stream = random.Random(seed)
        told = asked(stream)
        one = stream.choice(told)
        pair = stream.choice(one[1]["value"])
        others = [pairs for pairs in told if any(item[0] == pair[0] for item in pairs[1]["value"]) and pairs is not one]
        pair[1] = "other"
        result = REPLICA_HASHES.check(story(*told))
        assert (result.validity is Validity.INVALID) == bool(others), seed
        if others:
            seen += 1
            (finding,) = result.findings
            assert finding.evidence["index"] == pair[0]
            assert '"other"' in finding.message
            assert one[0]["process"] in {item.process for item in finding.operations}
    assert seen > 100


def test_the_odd_one_out_is_told_last() -> None:
    """The hash that most nodes have comes first, and the last agreement is told."""
    hashes = [Hash("n1", 1, "a"), Hash("n2", 1, "a"), Hash("n1", 2, "x"), Hash("n2", 2, "b"), Hash("n3", 2, "b")]
    (found,) = compare(hashes)
    assert (found.index, found.agreed_before) == (2, 1)
    assert [value for value, _ in found.said] == ["b", "x"]


def test_one_operation_may_tell_of_several_nodes() -> None:
    """The result is then an object by node."""
    history = story(op(0, "hashes", None, {"n1": [[4, "a"]], "n2": [[4, "b"]]}, 0, 1))
    (finding,) = REPLICA_HASHES.check(history).findings
    assert finding.message == (
        'At index 4 the replicas\' hashes differ: "a" on n1 and "b" on n2. The replicas have parted.'
    )


def test_a_node_must_agree_with_itself() -> None:
    """An index has one hash, whenever it is asked for."""
    history = story(
        *(op(0, "hashes", None, [4, value], time, time + 1, node="n1") for time, value in ((0, "a"), (2, "b")))
    )
    assert REPLICA_HASHES.check(history).validity is Validity.INVALID


def test_nothing_to_compare_is_unknown_and_other_forms_are_errors() -> None:
    """One node alone proves nothing; a hash without a node or an index is named."""
    assert REPLICA_HASHES.check(story(op(0, "hashes", None, [4, "a"], 0, 1, node="n1"))).validity is Validity.UNKNOWN
    with pytest.raises(HistoryError, match="nobody knows which node"):
        REPLICA_HASHES.check(story(op(0, "hashes", None, [4, "a"], 0, 1)))
    with pytest.raises(HistoryError, match="a hash is 7"):
        REPLICA_HASHES.check(story(op(0, "hashes", None, 7, 0, 1, node="n1")))
