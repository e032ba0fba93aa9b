"""What can be asked of a system, by name."""

from __future__ import annotations

from collections.abc import Mapping

from harness.workloads.append import APPEND
from harness.workloads.counter import COUNTER
from harness.workloads.list_append import LIST_APPEND
from harness.workloads.protocol import Workload
from harness.workloads.register import REGISTER
from harness.workloads.set_ import SET

_EVERY = (REGISTER, SET, APPEND, LIST_APPEND, COUNTER)
WORKLOADS: Mapping[str, Workload] = {workload.name: workload for workload in _EVERY}
