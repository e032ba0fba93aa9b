"""The path of a run, from a scenario to an exit code. Read :func:`execute` from top to bottom.

Every step leaves a file in the run folder, so that judging and drawing work again later with no cluster (design,
section 3).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from checkers.verdict import Verdict
from faults.family import Setup
from harness.errors import HarnessError
from harness.freezing import Freezer
from harness.host.lag import LagMonitor
from harness.live import LiveCheck
from harness.load import Load
from harness.nemesis.leaving import Leaving, draw_leaving
from harness.nemesis.majority import recovered, verify_links
from harness.nemesis.nemesis import Nemesis
from harness.nemesis.triggers import event_ns
from harness.nemesis.world import World
from harness.planning.schedule import plan_schedule, plan_swarms, setup_of
from harness.progress import LiveProgress
from harness.readiness import Recovery, ask_leader, wait_leader
from harness.recorder import Recorder
from harness.running import Run
from harness.settling import settled_states
from harness.substrates.protocol import Cluster, Launch, Place
from harness.systems import SYSTEMS
from harness.systems.protocol import Session
from harness.workloads import WORKLOADS

READY_TIMEOUT_S = 30.0
START_TIMEOUT_S = 120.0
COLLECT_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


async def execute(run: Run) -> tuple[Verdict, str]:
    """One run: cluster, load under faults, healing, final reads, clean-up, verdict (and the verdict in one sentence).

    Raises:
        HarnessError: nothing could be judged: the cluster never served.
    """
    # 1. Start real processes, and wait until they serve.
    with run.record.phase("start"):
        cluster = await make_cluster(run)
        live = live_check(run)
        try:
            session = await serve(run, cluster, live)
        except BaseException:
            await live.close()
            await stop_cluster(run, cluster)
            raise
    # 2.-5. What happened is judged, whatever else fails: a finding that stands must not be lost to trouble after it.
    try:
        await attack(run, cluster, session, live)
    except Exception as error:
        logger.exception("the run failed")
        run.record.update({"trouble": f"{type(error).__name__}: {error}"})
    finally:
        with run.record.phase("stop"):
            await stop_cluster(run, cluster)
    # 6. Judge what is in the folder, and nothing else.
    with run.record.phase("check"):
        from harness.judge import judge, write_verdict  # numpy, which the first operation need not wait for

        verdict = judge(run.folder)
        sentence = write_verdict(run.folder, verdict)
    return verdict, sentence


async def attack(run: Run, cluster: Cluster, session: Session, live: LiveCheck) -> None:
    """The part of a run in which the cluster serves."""
    run.record.shift(run.clock.restart())
    run.record.update({"start_monotonic_ns": run.clock.origin_ns, "start_wall_ns": run.clock.origin_wall_ns})
    if cluster.clocks:
        run.record.update({"clock_offsets_ns": dict(cluster.clocks)})
    recorder = Recorder(run.folder.history, run.clock)
    lag = LagMonitor()
    lag.start()
    live.start_traces(run.clock.origin_ns)
    nemesis = make_nemesis(run, cluster, session, recorder)
    freezer = Freezer(run=run, cluster=cluster, recorder=recorder, nemesis=nemesis)
    load = Load(run=run, session=session, recorder=recorder, nemesis=nemesis, freezer=freezer, live=live)
    try:
        # 2. Drive clients while the nemesis plays the schedule; it heals all that it broke.
        with run.record.phase("load"):
            await load.under_faults()
        # 3. Is it really healed? Does every node catch up?
        with run.record.phase("recover"):
            open_links = await verify_links(cluster, run.scenario.nodes)
            bound_ns = run.scenario.head.recovery
            recovery = await recovered(cluster, session, run.scenario.nodes, bound_ns=bound_ns, clock=run.clock)
        # 4. Read everything once more: what was acknowledged must be there.
        with run.record.phase("final-reads"):
            await load.final_reads()
            wanted = recovery.caught_up_ns if SYSTEMS[run.scenario.head.system].states else ()
            states = await settled_states(session, run.scenario.nodes, wanted=wanted)
    finally:
        recorder.close()
        lag.stop()
        run.record.update({"lag": lag.to_json(), **load.to_json()})
        await live.close()
        await close_session(session)
    # 5. Take the logs home.
    with run.record.phase("collect"):
        exits = dict(await cluster.exits())
        async with asyncio.timeout(COLLECT_TIMEOUT_S):
            await cluster.collect()
    observe(run, recovery=recovery, states=states, exits=exits, open_links=open_links)


async def serve(run: Run, cluster: Cluster, live: LiveCheck) -> Session:
    """Starts every node and waits until one leads, unless the scenario begins without. Meanwhile the judging process
    starts, too: it has to be there for the first operation.

    Raises:
        HarnessError: a node died while starting, nobody led in time, or the run was interrupted.
    """
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await cluster.start()
    except TimeoutError:
        raise HarnessError(f"the nodes did not start within {START_TIMEOUT_S:g} s; see {run.folder.log}") from None
    live.start()
    session = SYSTEMS[run.scenario.head.system].session(addresses(cluster), run.scenario.options)
    try:
        if run.scenario.head.begin == "serving":
            await wait_serving(run, cluster, session)
    except BaseException:
        await close_session(session)
        raise
    return session


async def close_session(session: Session) -> None:
    """Ends the harness's own connections; a node that does not let go cannot hold the run."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await session.close()
    except Exception:
        logger.exception("the session did not close")


async def stop_cluster(run: Run, cluster: Cluster) -> None:
    """Removes everything. What resists is left to the watchdog, and said."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await cluster.stop()
    except Exception as error:
        logger.exception("the cluster did not stop")
        run.record.note(f"the cluster did not stop cleanly ({type(error).__name__}: {error}); the watchdog cleans up")


async def make_cluster(run: Run) -> Cluster:
    """The cluster that the scenario asks for, not started yet."""
    system = SYSTEMS[run.scenario.head.system]
    setup = setup_of(plan_schedule(run.scenario, run.seed))
    leaving = leaving_of(run)
    if leaving is not None and leaving.way == "messages":
        setup |= Setup(hooks=frozenset({"messages"}))

    def launch(place: Place, places: Mapping[str, Place]) -> Launch:
        return system.launch(
            place,
            places,
            run.scenario.options,
            seed=run.seed,
            bug=run.scenario.head.bug,
            announce_bug=run.scenario.head.announce_bug,
            hooks=setup.hooks,
        )

    return await run.substrate.cluster(
        run_id=run.run_id,
        nodes=run.scenario.nodes,
        launch=launch,
        image=system.image(run.scenario.options),
        folder=run.folder.nodes,
        undo=run.watchdog,
        setup=setup,
    )


def addresses(cluster: Cluster) -> Mapping[str, str]:
    """Name to address of every node."""
    return {name: place.address for name, place in cluster.places.items()}


async def wait_serving(run: Run, cluster: Cluster, session: Session) -> None:
    """Waits until some node leads.

    Raises:
        HarnessError: a node died while starting, or nobody led in time.
    """
    loop = asyncio.get_running_loop()
    exits: dict[str, int] = {}

    async def watch_exits() -> None:
        while not exits:
            exits.update(await cluster.exits())
            await asyncio.sleep(0.1)

    watch = loop.create_task(watch_exits())
    try:
        leader = await wait_leader(
            session, run.scenario.nodes, timeout_s=READY_TIMEOUT_S, alive=lambda: _refuse(run, exits)
        )
    finally:
        watch.cancel()
    if leader is None:
        raise HarnessError(
            f"no node led within {READY_TIMEOUT_S:g} s of the start; the nodes' logs are in {run.folder.nodes}"
        )
    run.progress.say(
        f"{len(run.scenario.nodes)} nodes serve, {leader} leads ({run.clock() / 1e9:.2f} s after the start)"
    )


def _refuse(run: Run, exits: Mapping[str, int]) -> None:
    """Waiting is of no use when the run was interrupted or a node is dead."""
    if run.stop.is_set():
        raise HarnessError("interrupted before the cluster served: there is nothing to judge")
    for node, status in exits.items():
        log = run.folder.node(node) / "node.log"
        tail = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        raise HarnessError(
            f"node {node} ended with status {status} while starting: {tail[0] if tail else 'no log'}; see {log}"
        )


def live_check(run: Run) -> LiveCheck:
    """What judges the run while it goes on, as far as its workload and its nodes' clocks allow."""
    head = run.scenario.head
    return LiveCheck(
        history=run.folder.history,
        model=WORKLOADS[run.scenario.workload].model,
        log=run.folder.log,
        run_id=run.run_id,
        traced=run.scenario.nodes if judges_traces(run) else (),
        patient=head.on_violation == "freeze",
    )


def judges_traces(run: Run) -> bool:
    """Whether traces are judged while the run lives: they tell one clock's time, and somebody would act on it, or at
    least sees it.
    """
    wanted = run.scenario.head.on_violation != "continue" or isinstance(run.progress, LiveProgress)
    return wanted and SYSTEMS[run.scenario.head.system].traces and bool(run.record.facts.get("one_clock"))


def leaving_of(run: Run) -> Leaving | None:
    """Who is left behind at the end, and how."""
    head = run.scenario.head
    hooks = setup_of(plan_schedule(run.scenario, run.seed)).hooks
    return draw_leaving(
        head.heal,
        run.scenario.nodes,
        run.seed,
        one_way=SYSTEMS[head.system].promises.one_way_progress,
        hooked="messages" in hooks,
        behind=head.behind,
    )


def make_nemesis(run: Run, cluster: Cluster, session: Session, recorder: Recorder) -> Nemesis:
    """The nemesis with its schedule."""
    head = run.scenario.head
    note_swarms(run)
    leaving = leaving_of(run)
    if leaving is not None and not {"partition", "kill"}.isdisjoint(run.substrate.refused()):
        run.record.note(f"everything is healed at once: {run.substrate.name} can leave nobody behind cut off")
        leaving = None
    return Nemesis(
        schedule=plan_schedule(run.scenario, run.seed),
        cluster=World.of(cluster, session),
        leader=lambda: ask_leader(session, run.scenario.nodes),
        recorder=recorder,
        clock=run.clock,
        seed=run.seed,
        file=run.folder.schedule,
        folders={name: Path(run.folder.node(name)) for name in run.scenario.nodes},
        event_ns=lambda firing: (
            event_ns(firing, run.clock) if run.substrate.one_clock and run.scenario.even_clocks else None
        ),
        quiet=head.quiet,
        leaving=leaving,
        leaving_ns=head.recovery,
        freeze_s=run.scenario.freeze_limit_ns / 1e9 if head.on_violation == "freeze" else 0.0,
    )


def note_swarms(run: Run) -> None:
    """Which families are on in this run, where that was drawn: in ``run.json``, and for people."""
    swarms = plan_swarms(run.scenario, run.seed)
    for swarm in swarms:
        off = f"; off: {', '.join(swarm.off)}" if swarm.off else ""
        run.record.note(f"swarm: this run draws its random faults from {', '.join(swarm.on)}{off}")
    run.record.update({"swarms": [asdict(swarm) for swarm in swarms]})


def observe(
    run: Run,
    *,
    recovery: Recovery,
    states: Mapping[str, Any],
    exits: Mapping[str, int],
    open_links: Mapping[str, bool],
) -> None:
    """Writes into ``run.json`` what only the living run could know and the checkers need."""
    facts: dict[str, Any] = {
        "exits": exits,
        "links_after_healing": open_links,
        "recovery": recovery.to_json(),
        "states": states,
        "interrupted": run.stop.is_set(),
    }
    run.record.update(facts)
