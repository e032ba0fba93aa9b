"""Rules of interference (:mod:`node.network.interference`) as protobuf, and back; what the service does with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from node import kv_pb2
from node.network.interference import LASTS_S_MAX, RULES_MAX, Action, Direction, Interference, Rule, Tally, fault_of

NS = 1_000_000_000


def rule_to_proto(rule: Rule, lasts_s: float) -> kv_pb2.MessageRule:
    """As it is sent; from now on for so long."""
    return kv_pb2.MessageRule(
        name=rule.name,
        action=rule.action,
        types=sorted(rule.types),
        peers=sorted(rule.peers),
        directions=sorted(rule.directions),
        delay_ns=round(rule.delay_s * NS),
        probability=rule.probability,
        count=rule.count,
        lasts_ns=max(0, round(lasts_s * NS)),
    )


def rule_from_proto(proto: kv_pb2.MessageRule) -> Rule:
    """The inverse, unchecked (:func:`node.network.interference.fault_of`)."""
    return Rule(
        name=proto.name,
        action=cast(Action, proto.action),
        types=frozenset(proto.types),
        peers=frozenset(proto.peers),
        directions=frozenset(cast(Iterable[Direction], proto.directions)),
        delay_s=proto.delay_ns / NS,
        probability=proto.probability,
        count=proto.count,
    )


def tally_to_proto(tally: Tally) -> kv_pb2.RuleTally:
    """A rule in force, as it is told."""
    return kv_pb2.RuleTally(
        rule=rule_to_proto(tally.rule, tally.left_s),
        matched=tally.matched,
        hits=tally.hits,
        overflowed=tally.overflowed,
    )


def tally_from_proto(proto: kv_pb2.RuleTally) -> Tally:
    """The inverse."""
    return Tally(
        rule=rule_from_proto(proto.rule),
        left_s=proto.rule.lasts_ns / NS,
        matched=proto.matched,
        hits=proto.hits,
        overflowed=proto.overflowed,
    )


def interfere(request: kv_pb2.InterfereRequest, rules: Interference) -> kv_pb2.InterfereReply:
    """Clears, then sets; tells what is in force now."""
    for name in request.clear:
        rules.clear(name)
    fault = _set(request.set, rules) if request.HasField("set") else None
    return kv_pb2.InterfereReply(rules=map(tally_to_proto, rules.tallies()), fault=fault or "")


def _set(wanted: kv_pb2.MessageRule, rules: Interference) -> str | None:
    """Why not; None if the rule is in force."""
    rule, lasts_s = rule_from_proto(wanted), wanted.lasts_ns / NS
    names = {tally.rule.name for tally in rules.tallies()}
    if len(names | {rule.name}) > RULES_MAX:
        return f"{RULES_MAX} rules are in force: clear one first"
    if not 0 < lasts_s <= LASTS_S_MAX:
        return f"a rule lasts more than nothing and at most {LASTS_S_MAX:g} s, not {lasts_s:g} s"
    fault = fault_of(rule, rules.peers)
    if fault is None:
        rules.set(rule, lasts_s)
    return fault
