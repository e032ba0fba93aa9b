"""Who a data directory belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.identity import IdentityError, host_of, new_identity, settle_identity


def settle(directory: Path, joins_as: str | None, *, is_new: bool) -> str:
    return settle_identity(directory, node="n3", joins_as=joins_as, is_new=is_new)


def test_an_identity_names_the_entry_that_made_it() -> None:
    """Term and index together are never used twice, and the node can be told from it."""
    assert new_identity("n3", term=5, index=17) == "n3~5.17"
    assert new_identity("n3~5.17", term=6, index=17) == "n3~6.17"
    assert host_of("n3~5.17") == host_of("n3") == "n3"


def test_founders_are_called_like_their_nodes(tmp_path: Path) -> None:
    """With data or without."""
    assert settle(tmp_path, None, is_new=True) == "n3"
    assert settle(tmp_path, None, is_new=False) == "n3"


def test_who_joins_is_remembered(tmp_path: Path) -> None:
    """By the directory, so that a restart needs no --join; saying it again does no harm."""
    assert settle(tmp_path, "n3~5.17", is_new=True) == "n3~5.17"
    assert settle(tmp_path, None, is_new=False) == "n3~5.17"
    assert settle(tmp_path, "n3~5.17", is_new=False) == "n3~5.17"


def test_promises_of_one_are_not_taken_up_by_another(tmp_path: Path) -> None:
    """A directory that holds anything is its owner's; the error says whose, and what to do."""
    with pytest.raises(IdentityError, match=r"holds the data of n3, .* can't join as n3~5.17.*empty"):
        settle(tmp_path, "n3~5.17", is_new=False)
    settle(tmp_path, "n3~5.17", is_new=True)
    with pytest.raises(IdentityError, match=r"holds the data of n3~5.17"):
        settle(tmp_path, "n3~6.20", is_new=False)
    assert settle(tmp_path, "n3~6.20", is_new=True) == "n3~6.20", "it never got anything: nothing was promised"
