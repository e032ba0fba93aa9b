"""The network: it delays, loses, repeats and reorders, and its links can be cut, each direction by itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from node.raft.messages import Message
from node.raft.timing import MS
from tests.node.simulated.agenda import Agenda
from tests.node.simulated.climate import Climate
from tests.node.simulated.telling import tell_message

STRAGGLE_NS = 2000 * MS
"""How long a straggling message may take: many elections."""

CALM_NS = 1 * MS
"""The longest delay when all is well."""


class Network:
    """``deliver`` takes each message that arrives."""

    def __init__(
        self, agenda: Agenda, climate: Climate, stream: random.Random, deliver: Callable[[Message], None]
    ) -> None:
        self.calm = False
        """Whether messages are neither late nor lost; links stay cut."""
        self.cut: set[tuple[str, str]] = set()
        """Links (source, target) that let nothing through."""
        self._agenda = agenda
        self._climate = climate
        self._draw = stream.random
        self._deliver = deliver

    def send(self, message: Message) -> None:
        """A message leaves."""
        if self.calm:
            self._post(message, self._draw() * CALM_NS)
            return
        climate, draw = self._climate, self._draw
        if draw() < climate.loss:
            self._note("lost", message)
            return
        self._post(message, self._delay_ns())
        if draw() < climate.duplicate:
            self._post(message, self._delay_ns())

    def _delay_ns(self) -> float:
        straggles = self._draw() < self._climate.straggle
        return self._draw() * (STRAGGLE_NS if straggles else self._climate.delay_ns)

    def _post(self, message: Message, delay_ns: float) -> None:
        self._agenda.at(self._agenda.now_ns + int(delay_ns), lambda: self._arrive(message))

    def _arrive(self, message: Message) -> None:
        if (message.source, message.target) in self.cut:
            self._note("cut", message)
        else:
            self._deliver(message)

    def _note(self, fate: str, message: Message) -> None:
        if self._agenda.record is not None:
            self._agenda.note(f"{fate:<5} {tell_message(message)}")

    # Shapes of cuts

    def isolate(self, side: set[str], names: Iterable[str]) -> None:
        """Cuts every link between ``side`` and the rest, and mends all others."""
        names = list(names)
        self.cut = {(a, b) for a in names for b in names if (a in side) != (b in side)}

    def deafen(self, name: str, names: Iterable[str]) -> None:
        """Cuts what goes to ``name``: it hears nobody, all hear it."""
        self.cut |= {(other, name) for other in names if other != name}

    def mute(self, name: str, names: Iterable[str]) -> None:
        """Cuts what comes from ``name``."""
        self.cut |= {(name, other) for other in names if other != name}
