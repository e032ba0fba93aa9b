"""A system's hook for messages in memory: rules that end by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from faults.needs import MessageRule, MessagesError, MessageTally


@dataclass(slots=True)
class FakeMessages:
    """Implements :class:`faults.needs.Messages`. Every message that a test lets :meth:`flow` is of any type."""

    now_s: float = 0.0
    silent: set[str] = field(default_factory=set)
    """Nodes that do not answer."""
    deaf: set[str] = field(default_factory=set)
    """Nodes that answer, but keep no rule."""
    stubborn: set[str] = field(default_factory=set)
    """Nodes that let go of no rule."""
    _rules: dict[str, dict[str, tuple[MessageTally, float]]] = field(default_factory=dict)

    def now(self) -> float:
        """The time, s."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Time goes by."""
        self.now_s += seconds

    def in_force(self, node: str) -> list[MessageTally]:
        """What a node has now."""
        kept = {name: each for name, each in self._rules.get(node, {}).items() if each[1] > self.now_s}
        self._rules[node] = kept
        return [tally for tally, _ in kept.values()]

    def flow(self, node: str, messages: int) -> None:
        """So many messages come by, of which each rule takes hold of every second."""
        for name, (tally, until_s) in self._rules.get(node, {}).items():
            counted = replace(tally, matched=tally.matched + messages, hits=tally.hits + messages // 2)
            self._rules[node][name] = (counted, until_s)

    def restart(self, node: str) -> None:
        """A node that starts again has no rules."""
        self._rules.pop(node, None)

    async def set(self, node: str, rule: MessageRule, *, lasts_s: float) -> Sequence[MessageTally]:
        """See the protocol."""
        self._answer(node)
        if node not in self.deaf:
            before = next((each for each in self.in_force(node) if each.rule == rule), None)
            tally = before or MessageTally(rule=rule, matched=0, hits=0)
            self._rules[node][rule.name] = (tally, self.now_s + lasts_s)
        return self.in_force(node)

    async def clear(self, node: str, name: str) -> Sequence[MessageTally]:
        """See the protocol."""
        self._answer(node)
        if node not in self.stubborn:
            self._rules.get(node, {}).pop(name, None)
        return self.in_force(node)

    def _answer(self, node: str) -> None:
        if node in self.silent:
            raise MessagesError(f"{node} told nothing within 1 s")
