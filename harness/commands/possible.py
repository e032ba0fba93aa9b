"""What a scenario asks for and what can be injected here: refused by name, left out of what is drawn at random."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

from pydantic import BaseModel

from faults import FAMILIES
from harness.errors import UsageError
from harness.planning.draws import Draw
from harness.planning.entries import FaultEntry
from harness.planning.scenario import Scenario
from harness.substrates.protocol import Substrate
from harness.systems import SYSTEMS
from harness.systems.protocol import ABILITIES as SYSTEM_ABILITIES
from harness.systems.protocol import System


def refusals(substrate: Substrate, system: System) -> Mapping[str, str]:
    """Fault families that cannot be injected, each with the reason."""
    return refusals_among(substrate.refused(), system)


def refusals_among(lacking: Mapping[str, str], system: System) -> Mapping[str, str]:
    """Families that need an ability which the substrate (by reason) or the system lacks."""
    reasons = {
        **lacking,
        **dict.fromkeys(SYSTEM_ABILITIES - system.abilities, f"system {system.name!r} has no means for it"),
    }
    refused = {
        name: [reasons[need] for need in sorted(family.needs) if need in reasons] for name, family in FAMILIES.items()
    }
    return {name: "; ".join(why) for name, why in refused.items() if why}


STORAGE_OF: Mapping[str, str] = {"power": "image", "disk": "fuse"}
"""The abilities that tell whether a kind of storage can be had."""


def lacking_storage(substrate: Substrate) -> frozenset[str]:
    """Storage that nodes cannot have here."""
    refused = substrate.refused()
    return frozenset(storage for ability, storage in STORAGE_OF.items() if ability in refused)


def reduced(scenario: Scenario, substrate: Substrate) -> tuple[Scenario, Sequence[str]]:
    """The scenario with the families that can be injected, and sentences about what was left out.

    Only what is drawn at random may be left out. The resolved document says the same, because a run is judged by it.

    Raises:
        UsageError: a fault that was asked for by name cannot be injected, or nothing is left to draw from.
    """
    refused = refusals(substrate, SYSTEMS[scenario.head.system])
    storage = lacking_storage(substrate)
    refuse_asked(scenario, refused)
    entries, source, left_out = list(scenario.faults), [*scenario.source.get("faults", ())], dict[str, str]()
    for place, entry in enumerate(scenario.faults):
        reasons = {**_baseless(entry, scenario.nodes, storage), **refused}
        unable = {family: reasons[family] for family in entry.families if family in reasons}
        kept = entry.without(unable, storage)
        if unable and not kept.random:
            raise _nothing_left(scenario, place, unable, set(FAMILIES) - set(refused))
        if entry.random and (unable or storage):
            entries[place] = kept
            source[place] = {**source[place], **kept.to_source()}
            left_out |= unable
    smaller = replace(scenario, faults=tuple(entries), source={**scenario.source, "faults": source})
    if not left_out:
        return smaller, ()
    note = f"left out of the random faults, because they cannot be injected here (substrate {substrate.name!r}): "
    return smaller, (note + _listed(left_out),)


def refuse_asked(scenario: Scenario, refused: Mapping[str, str]) -> None:
    """Refuses what cannot be injected and is no draw that has something left.

    Raises:
        UsageError: with the reasons, and what can be injected.
    """
    for place, entry in enumerate(scenario.faults):
        unable = {family: refused[family] for family in entry.families if family in refused}
        if unable and not entry.without(refused).random:
            raise _nothing_left(scenario, place, unable, set(FAMILIES) - set(refused))


def _baseless(entry: FaultEntry, nodes: tuple[str, ...], storage: Collection[str]) -> Mapping[str, str]:
    """Families of which all that the entry asks for needs storage that nodes cannot have, each with the reason."""
    asked = {entry.family: entry.parameters} if entry.family else dict(_drawn(entry.random, nodes, storage))
    needed = {family: FAMILIES[family].setup(each).storage & frozenset(storage) for family, each in asked.items()}
    why = "as asked for here it needs disks of the nodes' own: {}"
    return {family: why.format(", ".join(sorted(kinds))) for family, kinds in needed.items() if kinds}


def _drawn(
    draws: Sequence[Draw], nodes: tuple[str, ...], storage: Collection[str]
) -> Iterator[tuple[str, BaseModel | None]]:
    """Of each family an example of what is drawn: one that can do without this storage, if there is any."""
    for draw in draws:
        stream = Random(draw.family)
        yield draw.family, draw.parameters(stream, nodes, storage) or draw.parameters(stream, nodes)


def _nothing_left(scenario: Scenario, place: int, unable: Mapping[str, str], able: Collection[str]) -> UsageError:
    return UsageError(
        f"{scenario.name}: faults.{place}: substrate {scenario.head.substrate!r} with system "
        f"{scenario.head.system!r} cannot inject {_listed(unable)}: mend that, leave the fault out, or choose another "
        f"substrate or system; what can be injected: {', '.join(sorted(able))}"
    )


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{family} ({reasons[family]})" for family in sorted(reasons))
