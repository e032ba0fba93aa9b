"""What clients do, as pure values: see :mod:`harness.generators.protocol` for the idea, the functions here for the
vocabulary.
"""

from harness.generators.bounds import limit, time_limit, until_ok
from harness.generators.choice import any_of, chain, mix, phases
from harness.generators.groups import each_worker, on_workers, reserve, worker_set
from harness.generators.keys import all_keys, key_after_key
from harness.generators.operations import each, listed, once, repeat
from harness.generators.pace import delay, rate, stagger
from harness.generators.protocol import PENDING, Completed, Context, Generator, Pending, Planned, Step
from harness.generators.stream import Stream

__all__ = [
    "PENDING",
    "Completed",
    "Context",
    "Generator",
    "Pending",
    "Planned",
    "Step",
    "Stream",
    "all_keys",
    "any_of",
    "chain",
    "delay",
    "each",
    "each_worker",
    "key_after_key",
    "limit",
    "listed",
    "mix",
    "on_workers",
    "once",
    "phases",
    "rate",
    "repeat",
    "reserve",
    "stagger",
    "time_limit",
    "until_ok",
    "worker_set",
]
