"""The systems under test, by name."""

from __future__ import annotations

from collections.abc import Mapping

from harness.systems.etcd import ETCD
from harness.systems.protocol import System
from harness.systems.raftkv import RAFTKV

SYSTEMS: Mapping[str, System] = {RAFTKV.name: RAFTKV, ETCD.name: ETCD}
