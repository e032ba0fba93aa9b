"""Partitions as packets meet them: dropped or refused, by system calls or by commands, as root and as an ordinary user.

What every shape cuts is in test_process_substrate.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.test_process_substrate import control, person

__all__ = ["control", "person"]  # fixtures

pytestmark = pytest.mark.integration


def test_dropped_is_silent_and_refused_is_told(control: Any, person: str) -> None:
    """Both actions are proved both ways of making rules; a client's open connection is reset by a rejection, and only
    waits when packets are dropped. Nothing is left in the namespaces.
    """
    said = [facts for facts in control(person, "actions").finish() if "action" in facts]
    assert [(facts["means"], facts["action"]) for facts in said] == [
        (["nftables"], "drop"),
        (["nftables"], "reject"),
        (["iptables"], "drop"),
        (["iptables"], "reject"),
    ]
    for facts in said:
        assert facts["bit"], str(facts["evidence"])
        assert facts["refused"] is (facts["action"] == "reject"), facts
        assert facts["healed"], facts
        assert facts["rules"] == 0, facts
        if facts["action"] == "reject":
            assert facts["evidence"]["refused"]
            assert facts["evidence"]["not_refused"] == []
