"""One node's process: builds the parts, runs them until a signal or a failure, says how it ended."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import time
from collections.abc import Callable

import uvloop

from node.durable.storage import NEXT_STEP, Storage, UnrecoverableError
from node.identity import IdentityError, settle_identity
from node.network.interference import Interference
from node.network.transport import Transport
from node.observing.health import Health
from node.observing.instruments import Instruments, MissingPackageError
from node.observing.trace import Trace
from node.options import EXIT_IO, EXIT_SOFTWARE, EXIT_UNRECOVERABLE, EXIT_USAGE, Options
from node.parts import Parts
from node.raft.messages import Recovered
from node.serving.service import serve
from node.shell import Shell
from node.zoo import BUGS

LAST_WORDS_S = 0.1
"""How long clients have to take the replies that a node makes when it ends."""
LAG_SAMPLE_S = 0.02
LAG_TOLD_EVERY_S = 1.0

_log = logging.getLogger("node")


def run(options: Options) -> int:
    """Runs the node; returns the exit status."""
    _announce(options)
    try:
        instruments = Instruments(options)
    except MissingPackageError as error:
        _log.critical("%s", error)
        return EXIT_USAGE
    parts = instruments.parts(BUGS[options.bug].parts if options.bug else Parts())
    try:
        options.log.mkdir(parents=True, exist_ok=True)
        storage = parts.storage(options.data)
        identity = settle_identity(
            options.data, node=options.name, joins_as=options.joins_as, is_new=storage.recovered == Recovered()
        )
    except (UnrecoverableError, IdentityError) as error:
        _log.critical("%s", error)
        return EXIT_UNRECOVERABLE
    except OSError as error:
        _log.critical("can't open the data or log directory: %s", error)
        return EXIT_IO
    for note in storage.notes:
        _log.warning("%s", note)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(options, parts, instruments, storage, identity))


def _announce(options: Options) -> None:
    seed = "a seed of its own" if options.seed is None else f"seed {options.seed}"
    _log.info("starting with pid %d, %s, nodes %s", os.getpid(), seed, " ".join(options.nodes))
    for bug in (options.bug, options.announce_bug):
        if bug is not None:
            _log.warning("PLANTED BUG ACTIVE: %s", bug)


async def _serve(options: Options, parts: Parts, instruments: Instruments, storage: Storage, identity: str) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[BaseException | None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_result(error)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, None)
    trace = instruments.trace(options.log / "trace.jsonl", options.name)
    try:
        interference = _hook(options)
        shell = _build(options, parts, storage, identity, trace, end, interference)
        await shell.start()
        instruments.start(shell)
        server = await serve(instruments.operations(shell), options.nodes[options.name].clients, interference)
    except OSError as error:
        return _failed(error)
    except ValueError as error:  # the core or the machine: each file is sound, but they can't be one node's
        _log.critical("can't start from what is on disk: %s. %s", error, NEXT_STEP)
        return EXIT_UNRECOVERABLE
    _log.info("serving clients at %s", options.nodes[options.name].clients)
    lag = Lag(instruments.lag(_every_second(options, shell)))
    gc.collect()
    gc.freeze()  # what is loaded by now never becomes garbage, and the log's entries form no cycles: collect seldom
    gc.set_threshold(50_000, 20, 100)
    failure = await ended
    lag.stop()
    if failure is not None:
        if isinstance(failure, OSError):
            await server.stop(LAST_WORDS_S)
        return _failed(failure)
    _log.info("stopping")
    await shell.stop()
    await server.stop(LAST_WORDS_S)
    await loop.run_in_executor(None, instruments.stop)
    trace.close()
    storage.close()
    return 0


def _every_second(options: Options, shell: Shell) -> Callable[[float], None]:
    """What is done with the loop's worst lag of each second."""
    if not options.health:
        return shell.tell_lag
    health = Health()

    def tell(max_ms: float) -> None:
        shell.tell_lag(max_ms)
        shell.rate(health.mark(max_ms))

    return tell


def _hook(options: Options) -> Interference | None:
    if "messages" not in options.hooks:
        return None
    _log.warning("HOOK ACTIVE: messages between nodes can be interfered with through the client port")
    stream = random.Random(None if options.seed is None else f"messages {options.seed} {options.name}")
    peers = [name for name in options.nodes if name != options.name]
    return Interference(stream, peers, asyncio.get_running_loop())


def _build(
    options: Options,
    parts: Parts,
    storage: Storage,
    identity: str,
    trace: Trace,
    end: Callable[[BaseException], None],
    interference: Interference | None = None,
) -> Shell:
    core = parts.core(
        name=identity,
        voters=options.voters if identity == options.name else (),
        recovered=storage.recovered,
        timing=options.timing,
        random=random.Random(None if options.seed is None else f"{options.seed} {options.name}"),
        now_ns=parts.clock(),
    )
    machine = parts.machine()
    if storage.state is not None:
        machine.restore(storage.state)
    peers = {name: addresses.peers for name, addresses in options.nodes.items()}
    return parts.shell(
        core=core,
        machine=machine,
        storage=storage,
        trace=trace,
        transport_of=lambda received: Transport(options.name, peers, received, interference),
        snapshot_entries=options.snapshot_entries,
        compress_bytes=options.compress_bytes,
        failed=end,
        callers=parts.callers(),
        snapshotting_of=parts.snapshotting,
        clock=parts.clock,
    )


def _failed(error: BaseException) -> int:
    """Says why the node ends, and what its exit status is. Nothing is flushed or closed: the disk may be what
    failed.
    """
    if isinstance(error, OSError):
        _log.critical("I/O error, giving up: %s", error)
        status = EXIT_IO
    else:
        _log.critical("defect, giving up", exc_info=error)
        status = EXIT_SOFTWARE
    logging.shutdown()
    os._exit(status)


class Lag:
    """Measures how late the event loop comes, and tells the worst of each second."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        """``tell`` gets milliseconds."""
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._worst_s = 0.0
        self._told_at = self._due = time.monotonic()
        self._sample()

    def stop(self) -> None:
        """No more samples."""
        self._handle.cancel()

    def _sample(self) -> None:
        now = time.monotonic()  # uvloop's own time is that of the turn's beginning, in whole milliseconds
        self._worst_s = max(self._worst_s, now - self._due)
        if now - self._told_at >= LAG_TOLD_EVERY_S:
            self._tell(self._worst_s * 1000)
            self._worst_s, self._told_at = 0.0, now
        self._due = now + LAG_SAMPLE_S
        self._handle = self._loop.call_later(LAG_SAMPLE_S, self._sample)
