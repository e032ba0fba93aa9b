"""The environment of all templates: escaping is on for every one of them, and an undefined name is an error."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2

from reports import tables, words
from reports.lenient import mapping, plain, sequence, text

STATIC = Path(__file__).parent / "static"


@cache
def environment() -> jinja2.Environment:
    """Templates of this package, with the words of :mod:`reports.words` as filters."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        count=words.count,
        duration=words.duration,
        moment=words.moment,
        size=words.size,
        plain=plain,
        text=text,
        mapping=mapping,
        sequence=sequence,
        operation=words.operation_words,
        value_words=words.value_words,
        figure=lambda value, name: tables.figure(name, value),
        label=tables.words,
        sentence=words.sentence,
    )
    found.globals.update(
        command_words=words.command_words,
        workload_words=words.workload_words,
        planned_faults=words.planned_faults,
        plural=words.plural,
        trigger_words=words.trigger_words,
        nodes_words=words.nodes_words,
    )
    return found
