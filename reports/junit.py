"""JUnit XML of a campaign, for CI servers: invalid is a failure, unknown and a run without a verdict are errors, and
nothing is ever skipped.

A CI server that gets XML it can't parse shows nothing at all, so everything that a node said is reduced to the
characters that XML 1.0 allows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from reports.lenient import text, texts

# XML 1.0, section 2.2: everything else may not even be written as a reference.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(path: Path, suite: str, results: Sequence[Mapping[str, Any]]) -> None:
    """Writes the file; ``results`` are rows as in a campaign's ``results.jsonl``.

    Raises:
        OSError: the file cannot be written.
    """
    root = ElementTree.Element("testsuites", name="capsize")
    root.append(_suite(suite, results))
    ElementTree.indent(root)
    temporary = path.with_name(path.name + ".tmp")
    ElementTree.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)
    os.replace(temporary, path)


def _suite(name: str, results: Sequence[Mapping[str, Any]]) -> ElementTree.Element:
    cases = [_case(row) for row in results]
    failures = sum(case.find("failure") is not None for case in cases)
    errors = sum(case.find("error") is not None for case in cases)
    seconds = sum(_seconds(row) for row in results)
    counts = {"tests": len(cases), "failures": failures, "errors": errors, "skipped": 0}
    attributes = {
        "name": _allowed(name),
        "time": f"{seconds:.3f}",
        **{key: str(value) for key, value in counts.items()},
    }
    suite = ElementTree.Element("testsuite", attributes)
    suite.extend(cases)
    return suite


def _case(row: Mapping[str, Any]) -> ElementTree.Element:
    scenario, seed = _allowed(text(row.get("scenario"), "?")), _allowed(text(row.get("seed"), "?"))
    case = ElementTree.Element(
        "testcase", classname=f"capsize.{scenario}", name=f"{scenario} seed {seed}", time=f"{_seconds(row):.3f}"
    )
    verdict = row.get("validity")
    if verdict != "valid" or row.get("exit_code") not in (0, None):
        case.append(_outcome(row))
    folder = text(row.get("folder"))
    ElementTree.SubElement(case, "system-out").text = _allowed(
        f"run folder: {folder}" if folder else "the run left no folder"
    )
    return case


def _outcome(row: Mapping[str, Any]) -> ElementTree.Element:
    verdict = row.get("validity")
    tag, kind = (
        ("failure", "invalid")
        if verdict == "invalid"
        else ("error", "unknown" if verdict == "unknown" else "no verdict")
    )
    message = text(row.get("error")) or text(row.get("sentence")) or f"exit code {text(row.get('exit_code'), '?')}"
    if tag == "failure":
        message = text(row.get("sentence")) or message
    element = ElementTree.Element(tag, type=kind, message=_allowed(message))
    element.text = _allowed("\n".join([message, *(f"found: {found}" for found in texts(row.get("kinds")))]))
    return element


def _seconds(row: Mapping[str, Any]) -> float:
    seconds = row.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _allowed(words: str) -> str:
    return _FORBIDDEN.sub("\ufffd", words)
