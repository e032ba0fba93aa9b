"""Ending tasks that may not want to end.

A client is foreign code: it may swallow its cancellation, or wait in ``finally`` for a node that is dead. Nothing it
does may hold the run, so a task is cancelled, given a moment, and then has its coroutine closed under it: GeneratorExit
passes ``except Exception`` and ``except CancelledError`` alike, and whatever it waits for next ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

Task = asyncio.Task[Any]


async def end_tasks(tasks: Iterable[Task], *, grace_s: float) -> int:
    """Cancels tasks and waits at most so long; returns how many had to be closed by force."""
    every = [task for task in tasks if not task.done()]
    for task in every:
        task.cancel()
    if not every:
        return 0
    _, stubborn = await asyncio.wait(every, timeout=grace_s)
    for task in stubborn:
        close_task(task)
    if stubborn:
        await asyncio.wait(stubborn, timeout=grace_s)
    return len(stubborn)


def close_task(task: Task) -> None:
    """Ends a task's coroutine where it stands. Never raises for what the coroutine does about it."""
    task.add_done_callback(quiet)
    with contextlib.suppress(Exception):
        coroutine = task.get_coro()
        coroutine.close()
    task.cancel()


def quiet(task: Task) -> None:
    """A done-callback that takes note of an exception which nobody else will ask for."""
    if not task.cancelled():
        task.exception()
