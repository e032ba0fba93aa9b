"""What a scenario may say of ``raftkv`` under ``options``: how its nodes are started, and how patient clients are."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from harness.durations import Duration, parse_duration


def range_s(text: str) -> tuple[float, float]:
    """Both ends of a range of durations, in seconds."""
    low, _, high = text.partition("-")
    return parse_duration(low) / 1e9, parse_duration(high) / 1e9


def _check_range(value: object) -> str:
    low, dash, high = str(value).partition("-")
    if not dash:
        raise ValueError(f"{value!r} is not a range of durations; write 500ms-1000ms")
    if not 0 < parse_duration(low) < parse_duration(high):
        raise ValueError(f"{value!r}: the first duration must be positive and shorter than the second")
    return str(value)


DurationRange = Annotated[str, BeforeValidator(_check_range)]


class RaftkvOptions(BaseModel):
    """What a scenario may say under ``options``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    election_timeout: DurationRange = "500ms-1000ms"
    """Five Python nodes and a client on two cores flap with the paper's 150-300 ms (measured)."""
    first_election_timeout: DurationRange = "100ms-300ms"
    """The same for a node with an empty log that knows no leader."""
    heartbeat: Duration = 100_000_000
    snapshot_entries: int = Field(default=10_000, ge=1)
    log_tail_entries: int = Field(default=1000, ge=0)
    """Entries below a snapshot that a node keeps in memory: who lags by less is not sent a snapshot."""
    append_entries: int = Field(default=1024, ge=1)
    """Entries that one message to a follower carries at most."""
    inflight_appends: int = Field(default=64, ge=1)
    """Messages with entries that a follower may have unanswered before it is sent more."""
    adaptive: bool = False
    """Election time-outs and heartbeats follow measured round trips, within the range."""
    health: bool = False
    """A leader hands over to a node that is in better health."""
    compress_bytes: int = Field(default=0, ge=0)
    """Commands of so many bytes and more are compressed before they go into the log; 0: never."""
    attempt_timeout: Duration = 1_000_000_000
    """One attempt of a client at one node."""
    operation_budget: Duration = 4_000_000_000
    """No new attempt is begun after this."""
    value_bytes: int = Field(default=1, ge=1, le=65536)
    """Registers are written with at least so many bytes (leading zeros): large entries, room for turned bits."""
    retry_pause: DurationRange = "50ms-400ms"
    """Random pause after an attempt in doubt. A retry that comes late is the one that a store which forgets what it has
    applied lays over somebody else's write.
    """
