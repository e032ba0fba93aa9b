"""What a scenario asks for and what can be injected here: refused by name, left out of what is drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from faults import FAMILIES
from harness.errors import UsageError
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
    refuse_asked(scenario, refused)
    storage = lacking_storage(substrate)
    entries, source, left_out = list(scenario.faults), [*scenario.source.get("faults", ())], set[str]()
    for place, entry in enumerate(scenario.faults):
        unable = [family for family in entry.families if family in refused]
        kept = entry.without(refused, storage)
        wanted = set() if entry.family is None else FAMILIES[entry.family].setup(entry.parameters).storage & storage
        if wanted and not unable:
            raise UsageError(
                f"substrate {substrate.name!r} has no disks of the nodes' own ({', '.join(sorted(wanted))}), which "
                f"{entry.family} with these parameters needs: leave it out or choose another substrate"
            )
        if entry.random and (unable or storage):
            entries[place] = kept
            source[place] = {**source[place], **kept.to_source()}
            left_out.update(unable)
    smaller = replace(scenario, faults=tuple(entries), source={**scenario.source, "faults": source})
    if not left_out:
        return smaller, ()
    note = f"left out of the random faults, because they cannot be injected here (substrate {substrate.name!r}): "
    return smaller, (note + "; ".join(f"{family} ({refused[family]})" for family in sorted(left_out)),)


def refuse_asked(scenario: Scenario, refused: Mapping[str, str]) -> None:
    """Refuses what cannot be injected and is no draw that has something left.

    Raises:
        UsageError: with the reasons, and what can be injected.
    """
    for place, entry in enumerate(scenario.faults):
        unable = [family for family in entry.families if family in refused]
        if unable and not entry.without(refused).random:
            why = "; ".join(f"{family} ({refused[family]})" for family in unable)
            able = ", ".join(sorted(set(FAMILIES) - set(refused)))
            raise UsageError(
                f"{scenario.name}: faults.{place}: substrate {scenario.head.substrate!r} with system "
                f"{scenario.head.system!r} cannot inject {why}: mend that, leave the fault out, or choose another "
                f"substrate or system; what can be injected: {able}"
            )
