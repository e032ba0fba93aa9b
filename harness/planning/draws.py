"""What a ``random`` entry of a scenario draws from: families with weights, and what is not left to chance about them.

    random: [kill, pause]
    random: {kill: 2, partition: 3}
    random: {kill: 1, partition: {weight: 3, target: leader}}

A family draws its parameters itself; those that the scenario says stand, and what does not go with them, or could never
be injected with them, is drawn again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pydantic import BaseModel, ValidationError

from faults import FAMILIES
from faults.family import Storage
from harness.errors import nearest
from harness.planning.documents import Document
from harness.planning.documents import Path as PlaceInFile
from harness.planning.dry_runs import check_target, why_never
from harness.planning.validation import validated

DRAWS_MAX = 100
"""So often parameters are drawn until some go with what the scenario says, and with the storage that there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """A family that may be drawn."""

    family: str
    weight: float = 1.0
    said: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that are not drawn, as the scenario writes them."""

    def parameters(
        self, random: Random, nodes: tuple[str, ...], lacking: Collection[Storage | str] = ()
    ) -> BaseModel | None:
        """Of one fault; None if nothing that it draws goes with what is said, or all of it needs storage that cannot be
        had.
        """
        for _ in range(DRAWS_MAX):
            try:
                parameters = self._once(random, nodes)
            except ValidationError:
                continue
            if self.said and why_never(self.family, parameters, nodes) is not None:
                continue
            if not FAMILIES[self.family].setup(parameters).storage & frozenset(lacking):
                return parameters
        return None

    def to_source(self) -> Any:
        """As a scenario file says it."""
        return {"weight": self.weight, **self.said} if self.said else self.weight

    def _once(self, random: Random, nodes: tuple[str, ...]) -> BaseModel:
        drawn = FAMILIES[self.family].draw(random, nodes)
        return type(drawn).model_validate({**drawn.model_dump(exclude_unset=True), **self.said}) if self.said else drawn


def parse_draws(
    names: Any, nodes: tuple[str, ...], place: PlaceInFile, document: Document, *, triggered: bool
) -> tuple[Draw, ...]:
    """``all``, a list of families, or a mapping of families to weights or to what is said of them. ``triggered``:
    whether there is a node whose event it was, which a target may be.

    Raises:
        UsageError: with the place in the file, the value and the next step.
    """
    if names == "all":
        return tuple(Draw(family=name) for name in FAMILIES)
    if not isinstance(names, list | dict) or not names:
        raise document.error(
            place, f"{names!r} is neither `all`, a list of fault families, nor a mapping of families to weights"
        )
    for name in names:
        if name not in FAMILIES:
            raise document.error(place, f"unknown fault {name!r}: {nearest(str(name), FAMILIES)}")
    if isinstance(names, list):
        return tuple(Draw(family=name) for name in names)
    draws = tuple(_draw(name, said, (*place, name), document) for name, said in names.items())
    for draw in draws:
        _check_possible(draw, nodes, (*place, draw.family), document, triggered=triggered)
    return draws


def _draw(family: str, said: Any, place: PlaceInFile, document: Document) -> Draw:
    if not isinstance(said, dict):
        return Draw(family=family, weight=_weight(said, place, document))
    rest = {name: value for name, value in said.items() if name != "weight"}
    weight = _weight(said["weight"], (*place, "weight"), document) if "weight" in said else 1.0
    return Draw(family=family, weight=weight, said=rest)


def _check_possible(
    draw: Draw, nodes: tuple[str, ...], place: PlaceInFile, document: Document, *, triggered: bool
) -> None:
    """Refuses what is wrong by itself, and what nothing that is drawn goes with."""
    if not draw.said:
        return
    family, possible = FAMILIES[draw.family], draw.parameters(Random(draw.family), nodes) is not None
    drawn = family.draw(Random(draw.family), nodes).model_dump(exclude_unset=True)
    if not possible:
        validated(family.Parameters, {**drawn, **draw.said}, document, place)
    check_target(draw.said.get("target"), nodes, place, document, triggered=triggered)
    if not possible:
        why = why_never(draw.family, family.Parameters.model_validate({**drawn, **draw.said}), nodes)
        raise document.error(place, why or f"nothing that {draw.family} draws goes with {dict(draw.said)!r}: say less")


def _weight(value: Any, place: PlaceInFile, document: Document) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise document.error(place, f"{value!r} is no weight: a number greater than 0, like 2")
    return float(value)
