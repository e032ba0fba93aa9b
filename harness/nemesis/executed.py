"""A fault as it really happened: a line of ``schedule.jsonl``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faults.needs import Proof
from harness.planning.schedule import PlannedFault
from harness.planning.targets import Selector


@dataclass(slots=True)
class ExecutedFault:
    """Filled in as it goes on."""

    planned: PlannedFault
    number: int
    """The planned fault's id; further firings of a trigger get numbers of their own."""
    targets: tuple[str, ...] = ()
    nobody: str | None = None
    """Why there is nobody to hit."""
    left_out: str | None = None
    """Why it was not injected at all, though nothing went wrong: only for faults that were drawn at random."""
    began: bool = True
    """Whether there may be anything to heal."""
    resolved: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    trigger: dict[str, Any] | None = None
    planned_ns: int | None = None
    injected_ns: list[int] | None = None
    healed_ns: list[int] | None = None
    bit: Proof | None = None
    healed: Proof | None = None

    @property
    def selector(self) -> Selector | None:
        """What the scenario says about its target; None if the family finds its own."""
        return getattr(self.planned.parameters, "target", None)

    def did_not_begin(self, reason: str) -> None:
        """It found no place or no time. Drawn at random, it is left out; asked for by name, it did not bite."""
        self.began, self.summary = False, self.summary or self.planned.family
        if self.planned.drawn:
            self.left_out = reason
        else:
            self.bit = Proof(holds=False, evidence={"reason": reason})

    @property
    def bite(self) -> str:
        """In words for a log: whether it bit, and, as far as that is known, why not."""
        if self.left_out is not None or self.bit is None:
            return str(self.left_out)
        why = None if self.bit.holds else self.bit.evidence.get("reason")
        return f"{self.bit.holds} ({why})" if why else str(self.bit.holds)

    def intent(self) -> dict[str, Any]:
        """What the history says before injecting, in case nobody lives to say more."""
        facts = {"id": self.number, "family": self.planned.family}
        return {**facts, "summary": self.summary, "targets": list(self.targets)}

    def event(self, proof: Proof | None) -> dict[str, Any]:
        """What the history says when injecting or healing has ended."""
        return {
            "id": self.number,
            "family": self.planned.family,
            "summary": self.summary,
            "targets": list(self.targets),
            "proved": proof is not None and proof.holds,
        }

    def to_json(self) -> dict[str, Any]:
        """As docs/formats.md says."""
        planned = self.planned
        return {
            "id": self.number,
            "family": planned.family,
            "parameters": planned.parameters.model_dump(mode="json"),
            "targets": self.targets,
            "resolved": self.resolved,
            "entry": planned.entry,
            "drawn": planned.drawn,
            "planned_ns": self.planned_ns,
            "for_ns": planned.for_ns,
            "trigger": self.trigger,
            "injected_ns": self.injected_ns,
            "healed_ns": self.healed_ns,
            "bit": _proof_json(self.bit),
            "healed": _proof_json(self.healed),
            "left_out": self.left_out,
            "hit_nothing": self.healed.hit_nothing if self.healed is not None else None,
            "summary": self.summary,
        }


def _proof_json(proof: Proof | None) -> dict[str, Any] | None:
    return None if proof is None else {"holds": proof.holds, "evidence": proof.evidence}
