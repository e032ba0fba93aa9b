"""Promises that are no linearizability: one file each, one pass each."""

from collections.abc import Mapping

from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.set_full import SET_FULL

GUARANTEES: Mapping[str, Guarantee] = {guarantee.name: guarantee for guarantee in (SET_FULL,)}
"""Every guarantee by the name that users say."""
