"""`capsize list`, `capsize report` and `capsize serve`."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from rich.table import Table

from harness.commands.tables import wide_console
from harness.errors import HarnessError, UsageError
from harness.progress import output
from reports.folder import RunFolder


def run_folder(path: Path) -> RunFolder:
    """The folder of a run that exists.

    Raises:
        UsageError: no such folder, or not one that a run left.
    """
    if not path.is_dir():
        raise UsageError(f"run {str(path)!r}: no such folder; `capsize list` shows the runs there are")
    folder = RunFolder(path.resolve())
    if not folder.run.exists() and not folder.history.exists():
        raise UsageError(
            f"{str(path)!r} is not a run's folder: it has neither run.json nor history.jsonl; "
            "`capsize list` shows the runs there are"
        )
    return folder


def report_command(path: Path) -> None:
    """Builds the page again and prints where it is."""
    from checkers import HistoryError
    from reports import page

    try:
        built = page.build(run_folder(path))
    except HistoryError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"the page of {str(path)!r} cannot be written: {error.strerror}") from None
    output().print(str(built), markup=False, highlight=False)


def list_command(runs_root: Path, limit: int) -> None:
    """A table of runs, newest first."""
    from reports.listing import COLUMNS, rows

    console = wide_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    for row in rows(runs_root, limit=limit):
        table.add_row(*row)
    console.print(table if table.row_count else f"no runs in {runs_root}: `capsize run` makes one")


def serve_command(runs_root: Path, host: str, port: int) -> None:
    """Serves the browser of runs until interrupted.

    Raises:
        UsageError: an address that others can reach.
        HarnessError: the port is taken.
    """
    import socket

    import uvicorn

    from reports.web import application

    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise UsageError(
            f"--host {host!r} is not a loopback address: runs are shown to this machine only; "
            "use 127.0.0.1 and a tunnel"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # now: a browser that comes before the server is up waits, and is not turned away
        except OSError as error:
            raise HarnessError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port"
            ) from None
        shown = f"[{host}]" if ":" in host else host
        place = f"http://{shown}:{listener.getsockname()[1]}/"
        output().print(f"runs of {runs_root} on {place} (Ctrl-C ends it)", markup=False, highlight=False)
        config = uvicorn.Config(application(runs_root), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
