"""The hook in the transport of ``raftkv``'s nodes: single messages, dropped, delayed, duplicated or reordered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from faults.needs import MessageRule, MessagesError, MessageTally
from node import client as kv

MESSAGES_TIMEOUT_S = 1.0


@dataclass(slots=True)
class RaftkvMessages:
    """Single messages, by the hook in the nodes' transport. Implements :class:`faults.needs.Messages`."""

    library: kv.KvClient

    async def set(self, node: str, rule: MessageRule, *, lasts_s: float) -> Sequence[MessageTally]:
        """See the protocol."""
        theirs = _to_node(rule, node)
        if rule.peers and not theirs.peers:
            raise MessagesError(f"{node} sends no messages to itself")
        return await self._ask(node, rule=theirs, lasts_s=lasts_s)

    async def clear(self, node: str, name: str) -> Sequence[MessageTally]:
        """See the protocol."""
        return await self._ask(node, clear=(name,))

    async def _ask(
        self, node: str, *, rule: kv.Rule | None = None, lasts_s: float = 0.0, clear: Iterable[str] = ()
    ) -> Sequence[MessageTally]:
        try:
            tallies = await self.library.interfere(node, MESSAGES_TIMEOUT_S, rule=rule, lasts_s=lasts_s, clear=clear)
        except kv.KvError as error:
            raise MessagesError(str(error)) from None
        return [MessageTally(rule=_from_node(tally.rule), matched=tally.matched, hits=tally.hits) for tally in tallies]


def _to_node(rule: MessageRule, node: str) -> kv.Rule:
    return kv.Rule(
        name=rule.name,
        action=cast(kv.Action, rule.action),
        types=frozenset(rule.types),
        peers=frozenset(rule.peers) - {node},
        directions=frozenset(cast(Sequence[kv.Direction], rule.directions)),
        delay_s=rule.delay_ns / 1e9,
        probability=rule.probability,
        count=rule.count or 0,
    )


def _from_node(rule: kv.Rule) -> MessageRule:
    return MessageRule(
        name=rule.name,
        action=rule.action,
        types=tuple(sorted(rule.types)),
        peers=tuple(sorted(rule.peers)),
        directions=tuple(sorted(rule.directions)),
        delay_ns=round(rule.delay_s * 1e9),
        probability=rule.probability,
        count=rule.count or None,
    )
