"""A world in one thread for :class:`node.raft.core.Raft`: time, network, disks, clocks, clients and faults out of one
seed.

``agenda`` (time), ``climate`` (how rough), ``clock``, ``disk``, ``server`` (one shell in memory), ``network``,
``cluster`` (all of them), ``faults``, ``clients``, ``administrators``, ``healing`` (liveness); ``invariants`` and its
books ``promises``, ``logs``, ``future`` and ``configurations`` watch. :mod:`tests.node.simulation` puts them together.
"""
