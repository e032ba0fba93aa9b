"""What can be asked of a system, by name."""

from __future__ import annotations

from collections.abc import Mapping

from harness.workloads.append import APPEND
from harness.workloads.counter import COUNTER
from harness.workloads.fenced_lock import FENCED_LOCK
from harness.workloads.list_append import LIST_APPEND
from harness.workloads.lock import LOCK
from harness.workloads.protocol import Workload
from harness.workloads.register import REGISTER
from harness.workloads.set_ import SET

_EVERY = (REGISTER, SET, APPEND, LIST_APPEND, COUNTER, LOCK, FENCED_LOCK)
WORKLOADS: Mapping[str, Workload] = {workload.name: workload for workload in _EVERY}
