"""Dry runs of a fault's resolution: what could never be injected, whoever leads or fires the trigger. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from pydantic import BaseModel

from faults import FAMILIES
from harness.planning.documents import Document
from harness.planning.documents import Path as PlaceInFile
from harness.planning.targets import check_selector, resolve_targets


def why_never(family: str, parameters: BaseModel, nodes: Sequence[str]) -> str | None:
    """Why no leader and no subject makes this fault possible; None if some does."""
    problems = [_problem(family, parameters, nodes, node) for node in nodes]
    return None if None in problems else problems[0]


def check_target(
    selector: Any, nodes: Sequence[str], place: PlaceInFile, document: Document, *, triggered: bool
) -> None:
    """Refuses a target that cannot exist; None says nothing of one.

    Raises:
        UsageError: with the place of the fault's ``target`` in the file.
    """
    try:
        if selector is not None:
            check_selector(selector, nodes, triggered=triggered)
    except ValueError as error:
        raise document.error((*place, "target"), str(error)) from None


def _problem(family: str, parameters: BaseModel, nodes: Sequence[str], first: str) -> str | None:
    """Why it cannot be resolved while this node leads and is the subject; None if it can."""
    random, selector = Random(first), getattr(parameters, "target", None)
    try:
        targets = (
            ()
            if selector is None
            else resolve_targets(selector, nodes=nodes, leader=first, random=random, subject=first)
        )
        FAMILIES[family].resolve(parameters, targets=targets or (first,), nodes=tuple(nodes), random=random)
    except ValueError as error:
        return str(error)
    return None
