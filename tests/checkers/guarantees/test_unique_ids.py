"""Claims about unique ids."""

from __future__ import annotations

import random
from collections import Counter

from checkers.guarantees.unique_ids import UNIQUE_IDS
from checkers.history import History
from checkers.verdict import Validity
from tests.checkers.guarantees.objects import Ids
from tests.checkers.guarantees.spoiled import Event, correct, small
from tests.checkers.guarantees.told import op, story


def spoil(stream: random.Random, ok: list[Event]) -> None:
    """Gives an id again."""
    stream.choice(ok)["value"] = stream.choice(ok)["value"]


def test_it_agrees_with_its_definition() -> None:
    """An id is duplicated if and only if two acknowledged calls of one key returned it."""
    refused = 0
    for seed in range(800):
        history = small(seed, Ids, spoil, keys=1 + seed % 2, spoils=3)
        ids = Counter((item.key, item.result) for item in history.operations if item.outcome == "ok")
        result = UNIQUE_IDS.check(history)
        assert result.statistics["duplicated"] == sum(times > 1 for times in ids.values())
        assert (result.validity is Validity.INVALID) == any(times > 1 for times in ids.values())
        refused += result.validity is Validity.INVALID
    assert 150 < refused < 700


def test_correct_generators_are_never_refused() -> None:
    """Unknown calls collide with nothing."""
    for seed in range(200):
        assert UNIQUE_IDS.check(History.of(correct(seed, Ids(), info=0.3))).validity is not Validity.INVALID


def test_the_sentence_names_both() -> None:
    """Who got the id, and when."""
    history = story(*(op(process, "generate", None, "x", process, process + 5) for process in (1, 2, 3)))
    (finding,) = UNIQUE_IDS.check(history).findings
    assert finding.message == (
        'The id "x" was handed out 3 times: to process 1 at 0.006 s and to process 2 at 0.007 s and 1 more.'
    )
    assert finding.evidence == {"id": "x", "rows": [0, 1, 2]}


def test_ids_of_different_types_differ() -> None:
    """1, true and "1" are three ids."""
    values = (1, True, "1")
    history = story(*(op(number, "generate", None, value, number, 9) for number, value in enumerate(values)))
    assert UNIQUE_IDS.check(history).validity is Validity.VALID


def test_no_ids_is_unknown() -> None:
    """Nothing was handed out."""
    assert UNIQUE_IDS.check(story(op(0, "generate", None, None, 0, None))).validity is Validity.UNKNOWN
