"""`capsize doctor` and `capsize clean`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harness.cleanup.clean import clean
from harness.commands.tables import wide_console
from harness.host.doctor import examine, render
from harness.progress import output


def doctor_command() -> int:
    """Shows what this machine can do; exit code 0 when the default substrate can run, else 70."""
    abilities = examine()
    wide_console().print(render(abilities))
    return 0 if all(ability.ok for ability in abilities if ability.required) else 70


def clean_command(runs_root: Path) -> None:
    """Removes leftovers of dead controllers and says what they were."""
    say = partial(output().print, markup=False, highlight=False)
    removed = clean(runs_root)
    for line in removed:
        say(line)
    say(f"{len(removed)} leftovers removed" if removed else "nothing was left behind")
