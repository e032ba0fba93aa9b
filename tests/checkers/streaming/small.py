"""Small random histories of one register, right or nearly so: reads and compare-and-sets guess, ends get lost."""

from __future__ import annotations

from random import Random
from typing import Any

Event = dict[str, Any]


class _Player:
    """A register that takes effect now and then, and clients that are lied to now and then."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.processes = list(range(random.randint(1, 4)))
        self.left = random.randint(2, 10)
        self.open: dict[int, tuple[str, Any, bool]] = {}
        self.written: list[Any] = [None]
        self.state: Any = None
        self.events: list[Event] = []

    def play(self) -> list[Event]:
        while self.left or self.open:
            place = self.random.randrange(len(self.processes))
            process = self.processes[place]
            if process not in self.open:
                if self.left:
                    self.invoke(process)
            else:
                self.take_effect(process)
                if self.random.random() < 0.5:
                    self.complete(place, process)
            if not self.left and self.random.random() < 0.1:
                break
        return self.events

    def invoke(self, process: int) -> None:
        self.left -= 1
        f = self.random.choice(["read", "write", "cas"])
        argument: Any = None
        if f != "read":
            fresh = len(self.written)
            argument = fresh if self.random.random() < 0.99 else self.random.randint(1, fresh)
            self.written.append(argument)
        if f == "cas":
            argument = [self.random.choice([self.state, self.state, *self.written]), argument]
        self.open[process] = (f, argument, False)
        self.emit(process, "invoke", f, argument)

    def take_effect(self, process: int) -> None:
        f, argument, done = self.open[process]
        if f == "read" or done or self.random.random() < 0.3:
            return
        if f == "write" or self.state == argument[0]:
            self.state = argument if f == "write" else argument[1]
            self.open[process] = (f, argument, True)

    def complete(self, place: int, process: int) -> None:
        f, argument, done = self.open.pop(process)
        chance = self.random.random()
        if f == "read":
            self.emit(process, "ok", f, self.state if chance < 0.8 else self.random.choice(self.written))
        elif chance < 0.2:
            self.emit(process, "info", f, argument)
            self.processes[place] = max(self.processes) + 10
        else:
            self.emit(process, "ok" if done or chance < 0.3 else "fail", f, argument)

    def emit(self, process: int, type_: str, f: str, value: Any) -> None:
        time = len(self.events)
        self.events.append({"process": process, "type": type_, "f": f, "key": "k", "value": value, "time": time})


def small_history(random: Random) -> list[Event]:
    """The events of up to ten operations; values repeat in a few of the histories."""
    return _Player(random).play()
