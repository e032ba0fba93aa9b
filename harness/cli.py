"""The command line. Light to import: what a command needs is imported when it runs, because a run's first operation
waits for it.

Exit codes: 0 valid, 1 invalid, 2 unknown, 64 usage, 70 the harness or the machine failed, 130 second Ctrl-C.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from harness.errors import EXIT_HARNESS, EXIT_INTERRUPTED, EXIT_USAGE, CapsizeError, internal_error

# Nothing here multiplies matrices, and a BLAS that starts threads when numpy is imported would keep a run out of its
# own namespaces.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

RUNS_ROOT = "runs"

FORMATS = ("jsonl", "edn", "jepsen-log", "porcupine-kv")
"""Of histories, as ``checkers.formats.FORMATS`` has them."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="capsize", prog_name="capsize")
def cli() -> None:
    """Capsize: chaos testing for Raft and other replicated stores, on real processes.

    `capsize run` starts a cluster, attacks it, and says whether it kept its word.
    """


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--format NAME`` of the commands that read history files."""
    decorate = click.option(
        "--format", "format_", type=click.Choice(FORMATS), help="The file's format (default: found out, and said)."
    )
    return decorate(command)


def runs_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--runs DIR`` of every command that reads or writes runs."""
    decorate = click.option(
        "--runs",
        "runs_root",
        type=click.Path(path_type=Path),
        default=RUNS_ROOT,
        envvar="CAPSIZE_RUNS",
        show_default=True,
        help="Folder of runs.",
    )
    return decorate(command)


@cli.command()
@click.argument("scenario", default="default")
@click.option("--system", help="System under test: see `capsize systems`.")
@click.option("--workload", help="What clients do: see `capsize workloads`.")
@click.option("--faults", help="Families to draw from at random, with commas; or `all`, or `none`.")
@click.option("--nodes", type=int, help="Number of nodes.")
@click.option("--substrate", help="Where nodes run: process, docker, compose or ssh.")
@click.option("--time", "time_", help="How long the load lasts, like 30s.")
@click.option("--rate", type=float, help="Operations a second, over all clients.")
@click.option("--concurrency", help="Number of clients: a number, or 2n for two a node.")
@click.option("--seed", type=int, help="Everything that is drawn at random follows from it.")
@click.option("--on-violation", help="stop, freeze (pause every node) or continue when a violation is seen on the way.")
@click.option("--freeze-limit", help="How long a frozen cluster is kept, like 10m (the default); then it goes on.")
@click.option("--bug", help="Plant a bug: see `capsize bugs`.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other value of the scenario, as YAML; may be repeated.",
)
@click.option("--folder", type=click.Path(path_type=Path), help="The run's own folder (default: below --runs).")
@runs_option
def run(scenario: str, settings: Sequence[str], folder: Path | None, runs_root: Path, **options: Any) -> None:
    """One run: a verdict, and a page that shows it. SCENARIO is a shipped name or a file (default: default)."""
    from harness.commands.run import run_command

    options["time"] = options.pop("time_")
    overrides = {name: value for name, value in options.items() if value is not None}
    sys.exit(run_command(scenario, overrides, settings, folder, runs_root))


@cli.command()
@click.argument("history", type=click.Path(path_type=Path), required=False)
@click.option("--model", help="What the operations mean (default: guessed, and said); `list` shows all models.")
@format_option
@click.option("--initial", help="The initial value, as JSON (default: null, or what the type begins with).")
@click.option(
    "--null-read",
    type=click.Choice(["value", "unknown"]),
    default="value",
    show_default=True,
    help="Whether null that was read is a value like others, or says nothing.",
)
@click.option(
    "--consistency-model",
    help="What transactions must be, like serializable or snapshot-isolation (default: strict-serializable).",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the model (`--model list` shows them), the value as JSON; may be repeated.",
)
@click.option("--witness", type=click.Path(path_type=Path), help="Write here, if it is valid, an order that shows why.")
@click.option(
    "--budget-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    help="How long all searches together may take; what is open then is unknown.",
)
@click.option(
    "--budget-memory",
    type=click.IntRange(min=16),
    default=1500,
    show_default=True,
    help="Megabytes that the searches may use, besides the history.",
)
def check(history: Path | None, **wishes: Any) -> None:
    """Judges a history file, or a run's folder again.

    HISTORY is ours (JSON Lines), Jepsen's or Knossos's EDN, the lines of a jepsen.log, or a log of porcupine's; the
    format is found out and said. Exit code: 0 valid, 1 invalid, 2 unknown, 64 not a history.
    """
    from harness.commands.check import Wishes, check_command, list_models

    if wishes["model"] == "list":
        list_models()
        return
    if history is None:
        raise click.UsageError("Missing argument 'HISTORY': a history file, or the folder of a run.")
    sys.exit(check_command(history, Wishes(**wishes)))


@cli.command()
@click.argument("history", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(["edn", "parquet", "jsonl"]), required=True, help="The format to write.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write (default: beside HISTORY); - prints.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@format_option
def export(history: Path, to: str, out: Path | None, force: bool, format_: str | None) -> None:
    """Writes a history file, or that of a run's folder, for other people's tools."""
    from harness.commands.export import export_command

    export_command(history, to=to, out=out, force=force, format_=format_)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path), default=f"{RUNS_ROOT}/latest")
def report(run: Path) -> None:
    """Builds the page of a run again (default: the latest)."""
    from harness.commands.browse import report_command

    report_command(run)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@runs_option
def resume(run: Path | None, runs_root: Path) -> None:
    """Lets a run go on that is frozen at a violation. RUN is its folder (default: the one that is frozen)."""
    from harness.commands.resume import frozen_run, resume_command

    resume_command(run or frozen_run(runs_root))


@cli.command()
@click.argument("suite", default="default")
@click.option("--budget", help="At most so long, like 2h (default: what the suite says).")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), help="Write JUnit XML here too.")
@runs_option
def campaign(suite: str, budget: str | None, junit_file: Path | None, runs_root: Path) -> None:
    """Many runs: a suite of scenarios and seeds within a time budget."""
    from harness.commands.campaign import campaign_command

    sys.exit(campaign_command(suite, budget, junit_file, runs_root))


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 picks a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@runs_option
def serve(port: int, host: str, runs_root: Path) -> None:
    """Browse runs. Read-only, on loopback."""
    from harness.commands.browse import serve_command

    serve_command(runs_root, host, port)


@cli.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=30, show_default=True, help="At most so many, newest first."
)
@runs_option
def list_runs(limit: int, runs_root: Path) -> None:
    """Runs, newest first."""
    from harness.commands.browse import list_command

    list_command(runs_root, limit)


@cli.command()
def scenarios() -> None:
    """Scenarios that ship with Capsize."""
    from harness.commands.tables import show_scenarios

    show_scenarios()


@cli.command()
def systems() -> None:
    """Systems that can be tested."""
    from harness.commands.tables import show_systems

    show_systems()


@cli.command()
def workloads() -> None:
    """What clients can do."""
    from harness.commands.tables import show_workloads

    show_workloads()


@cli.command()
@click.option("--prove", is_flag=True, help="Inject each in a real run, and show the evidence that it bit and healed.")
@click.option("--family", "families", help="With --prove: only these, with commas.")
@click.option("--substrate", "substrates", default="process", show_default=True, help="With --prove: with commas.")
@click.option("--system", "systems", default="raftkv", show_default=True, help="With --prove: with commas.")
@click.option("--hosts", type=click.Path(path_type=Path), help="With --prove: the YAML file of hosts for ssh.")
@click.option("--markdown", type=click.Path(path_type=Path), help="With --prove: add the table to this page, too.")
@runs_option
def faults(
    prove: bool,
    families: str | None,
    substrates: str,
    systems: str,
    hosts: Path | None,
    markdown: Path | None,
    runs_root: Path,
) -> None:
    """What can be broken, and who can be hit.

    With --prove: a table of faults, substrates and systems, from one short run each. Exit code 0 if every fault that is
    not refused bit and was healed, else 1.
    """
    if prove:
        from harness.commands.prove import prove_command

        sys.exit(prove_command(families, substrates, systems, runs_root, hosts, markdown))
    from harness.commands.tables import show_faults

    show_faults()


@cli.command()
def bugs() -> None:
    """Bugs that can be planted."""
    from harness.commands.tables import show_bugs

    show_bugs()


@cli.command()
@click.argument("bug")
@click.option("--runs", "count", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@click.option("--seed", "first_seed", type=click.IntRange(0, 2**62), default=1, show_default=True, help="Of the first.")
@click.option("--blind", is_flag=True, help="By the suite that knows no bug, instead of the bug's own scenario.")
@click.option(
    "--runs-root",
    type=click.Path(path_type=Path),
    default=RUNS_ROOT,
    envvar="CAPSIZE_RUNS",
    show_default=True,
    help="Folder of runs.",
)
def hunt(bug: str, count: int, first_seed: int, blind: bool, runs_root: Path) -> None:
    """Run a planted bug's scenario until it is found. Exit code 0: found; 2: not found in so many runs."""
    from harness.commands.hunt import hunt_command

    sys.exit(hunt_command(bug, count, first_seed, blind, runs_root))


@cli.command()
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="Another plan than the shipped one.")
@click.option("--bugs", help="Only these, with commas.")
@click.option("--ways", help="Only these, with commas: own, blind, control, blind-control.")
@click.option("--lanes", type=click.IntRange(1, 64), default=1, show_default=True, help="Runs side by side.")
@click.option("--budget", help="No run begins after so long, like 2h; the rest is done when it is called again.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where results are; one that has some is gone on with.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table to this page, too.")
@runs_option
def zoo(
    plan_file: Path | None,
    bugs: str | None,
    ways: str | None,
    lanes: int,
    budget: str | None,
    folder: Path | None,
    markdown: Path | None,
    runs_root: Path,
) -> None:
    """Hunt every planted bug, by its own scenario and blind, with the correct build as control.

    Exit code 0: all done, no control was invalid; 1: a control was; 2: not all done.
    """
    from harness.commands.hunt import zoo_command

    sys.exit(zoo_command(plan_file, bugs, ways, lanes, budget, folder, markdown, runs_root))


@cli.command()
def doctor() -> None:
    """What this machine can do, and the exact line that mends what it can't."""
    from harness.commands.machine import doctor_command

    sys.exit(doctor_command())


@cli.command()
@runs_option
def clean(runs_root: Path) -> None:
    """Removes whatever earlier runs left behind; nothing of runs that are alive."""
    from harness.commands.machine import clean_command

    clean_command(runs_root)


def main() -> None:
    """The console script: a person's mistake is one clear line, never a traceback, and no error of ours is ever taken
    for a verdict.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a node said may not be sayable here
    try:
        # Not cli.main(): click ends a broken pipe with 1, which means "invalid" here.
        with cli.make_context("capsize", sys.argv[1:]) as context:
            cli.invoke(context)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        sys.exit(EXIT_USAGE)
    except CapsizeError as error:
        _complain(f"capsize: {error}")
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last edge: Python would end with 1, which means invalid
        _complain(f"capsize: {internal_error(error)}; please report it with the run's harness.log, if there is one")
        if os.environ.get("CAPSIZE_TRACEBACK") == "1":
            _complain(traceback.format_exc())
        sys.exit(EXIT_HARNESS)


def _complain(text: str) -> None:
    """A line on standard error, if anybody reads it."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)
