"""What can be asked of a system, by name."""

from __future__ import annotations

from collections.abc import Mapping

from harness.workloads.protocol import Workload
from harness.workloads.register import REGISTER

WORKLOADS: Mapping[str, Workload] = {REGISTER.name: REGISTER}
