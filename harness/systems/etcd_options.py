"""What a scenario may say of ``etcd`` under ``options``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from harness.durations import Duration


class EtcdOptions(BaseModel):
    """What a scenario may say under ``options``. None leaves it to etcd."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: str | None = Field(default=None, pattern=r"^[0-9]+\.[0-9]+(\.[0-9]+)?$")
    """Which of the installed ones; None: the first that is found."""
    binary: str | None = None
    """Path of the program, on the controller's machine."""
    heartbeat: Duration = 100_000_000
    election_timeout: Duration = 1_000_000_000
    snapshot_count: int | None = Field(default=None, ge=10)
    """Entries between two snapshots of the log."""
    pre_vote: bool | None = None
    strict_reconfig_check: bool | None = None
    """Whether nodes refuse changes of the membership while not everybody has been connected for 5 s; etcd: true."""
    quota_mib: int | None = Field(default=None, ge=1)
    unsafe_no_fsync: bool = False
    """Known weak: nothing is synced (3.5 only)."""
    serializable: bool = False
    """Known weak: reads ask no quorum and may be stale."""
    wide_compare: bool = False
    """Every write is a Txn that also compares all keys with something that is always true: work between the two steps
    in which etcd 3.5.0 to 3.5.2 apply an entry, which lose it on a node that is killed there (etcd-io/etcd#13766).
    """
    attempt_timeout: Duration = 2_000_000_000
    """One attempt of a client at one node."""
    operation_budget: Duration = 4_000_000_000
    """No new attempt is begun after this."""
