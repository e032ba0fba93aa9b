"""Live progress: one line that changes on a terminal, plain lines elsewhere (a CI log must be readable afterwards).

Nobody has to be listening: a reader that goes away (``| head``, a closed terminal, a full disk behind ``>``) silences
the output and nothing else. What a command found out is its exit code, and that must not depend on its audience.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

PLAIN_EVERY_NS = 5_000_000_000


class Output(Console):
    """Standard output for people; falls silent when nobody reads it any more, where rich would end the process with 1,
    which here means "invalid".
    """

    def on_broken_pipe(self) -> None:
        """Silence from here on, also for what Python flushes at its end."""
        self.quiet = True
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no file behind it, or none at all
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)

    @contextlib.contextmanager
    def unheard(self) -> Iterator[None]:
        """Whatever goes wrong with writing in here is nothing but silence."""
        try:
            yield
        except OSError:
            self.on_broken_pipe()


def output() -> Output:
    """The console of a command: long lines are left to the terminal."""
    return Output(soft_wrap=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What is to be seen of a run at one moment."""

    phase: str
    elapsed_ns: int
    total_ns: int
    ok: int
    rate: float
    """ok operations a second, of the last second."""
    failed: int
    unknown: int
    leader: str | None
    faults: Mapping[int, str]
    verdict: str
    """The streaming checker's word so far."""
    frozen: str = ""
    """While the cluster stands still for inspection: until when, in words."""


class Progress(Protocol):
    """Where a run shows itself."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def show(self, sight: Sight) -> None:
        """The moment's figures; may be dropped."""

    def close(self) -> None:
        """Leaves the terminal as it was."""


def sight_line(sight: Sight) -> str:
    """One line of text for one moment."""
    faults = "; ".join(sight.faults.values()) or "none"
    clock = f"{sight.elapsed_ns / 1e9:5.1f}/{sight.total_ns / 1e9:g} s"
    counts = f"{sight.ok} ok ({sight.rate:.0f}/s), {sight.failed} fail, {sight.unknown} info"
    if sight.frozen:
        return f"{clock}  FROZEN: {sight.verdict}; {sight.frozen}  faults: {faults}"
    return f"{clock}  {counts}  leader {sight.leader or '-'}  faults: {faults}  so far: {sight.verdict}"


@dataclass(slots=True)
class PlainProgress:
    """Lines for logs: at most one every five seconds, and one whenever the faults in force or the verdict change."""

    console: Output
    shown_ns: int = -PLAIN_EVERY_NS
    last: tuple[object, ...] = ()

    def say(self, text: str) -> None:
        """A line that stays."""
        with self.console.unheard():
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, sight: Sight) -> None:
        """A line if it is time for one or something changed."""
        state = (tuple(sight.faults.values()), sight.verdict, bool(sight.frozen))
        if sight.elapsed_ns - self.shown_ns < PLAIN_EVERY_NS and state == self.last:
            return
        self.shown_ns, self.last = sight.elapsed_ns, state
        self.say(sight_line(sight))

    def close(self) -> None:
        """Nothing to leave."""


@dataclass(slots=True)
class LiveProgress:
    """A small table that is redrawn in place."""

    console: Output
    live: Live = field(init=False)

    def __post_init__(self) -> None:
        """Takes the terminal's last lines; ``transient``, so that a finished run leaves only what was said."""
        self.live = Live(console=self.console, transient=True, refresh_per_second=8)
        with self.console.unheard():
            self.console.show_cursor(False)  # a terminal that is gone is to be found before Live is half started
        self.live.start()

    def say(self, text: str) -> None:
        """A line above the table."""
        with self.console.unheard():
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, sight: Sight) -> None:
        """Redraws the table."""
        with self.console.unheard():
            self.live.update(_table(sight))

    def close(self) -> None:
        """Gives the terminal back."""
        with self.console.unheard():
            self.live.stop()


def _table(sight: Sight) -> Table:
    colour = {"valid": "green", "invalid": "bold red"}.get(sight.verdict.split()[0], "yellow")
    table = Table.grid(padding=(0, 2))
    table.add_row("[dim]phase[/]", f"{sight.phase}  {sight.elapsed_ns / 1e9:.1f} of {sight.total_ns / 1e9:g} s")
    table.add_row(
        "[dim]operations[/]", f"{sight.ok} ok ({sight.rate:.0f}/s), {sight.failed} fail, {sight.unknown} info"
    )
    table.add_row("[dim]leader[/]", sight.leader or "-")
    table.add_row(
        "[dim]faults[/]", "[red]" + "; ".join(sight.faults.values()) + "[/]" if sight.faults else "none in force"
    )
    table.add_row("[dim]so far[/]", f"[{colour}]{sight.verdict}[/]")
    if sight.frozen:
        table.add_row("[bold red]FROZEN[/]", sight.frozen)
    return table


def progress_for(console: Output) -> Progress:
    """The kind of progress that suits where the output goes."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
