"""Injects faults and heals them; knows nothing of Raft, of histories or of who leads.

:data:`FAMILIES` is the table of what can be broken. docs/faults.md describes each family, and how to add one.
"""

from __future__ import annotations

from collections.abc import Mapping

from faults.clock import ClockFamily
from faults.disk import DiskFamily
from faults.family import Family
from faults.kill import KillFamily
from faults.leadership import LeadershipFamily
from faults.membership import MembershipFamily
from faults.message import MessageFamily
from faults.network import NetworkFamily
from faults.partition import PartitionFamily
from faults.pause import PauseFamily
from faults.power import PowerFamily
from faults.resource import ResourceFamily
from faults.rot import RotFamily

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        KillFamily(),
        PauseFamily(),
        PartitionFamily(),
        NetworkFamily(),
        PowerFamily(),
        RotFamily(),
        DiskFamily(),
        ClockFamily(),
        ResourceFamily(),
        MembershipFamily(),
        LeadershipFamily(),
        MessageFamily(),
    )
}
"""By the name that scenarios use."""
