"""What can be asked of a system, by name."""

from __future__ import annotations

from collections.abc import Mapping

from harness.workloads.append import APPEND
from harness.workloads.counter import COUNTER
from harness.workloads.protocol import Workload
from harness.workloads.register import REGISTER
from harness.workloads.set_ import SET

WORKLOADS: Mapping[str, Workload] = {workload.name: workload for workload in (REGISTER, SET, APPEND, COUNTER)}
