"""A run's page: it says what broke and why, it needs nothing but itself, and nothing that a node said can run in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from checkers.deciders.register import explanation
from reports import page
from reports.folder import RunFolder
from reports.verdicts import LEADS
from tests.reports import samples

EXTERNAL = re.compile(r"""(?:src|href)=["'](?!data:|#)([a-z]+:|//)[^"']*""", re.IGNORECASE)


class Elements(HTMLParser):
    """Names and attributes of all elements, as a browser would see them; scripts and styles are opaque to it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


@pytest.fixture(scope="session")
def pages(folders: dict[str, RunFolder]) -> dict[str, str]:
    """The page of each sample."""
    return {name: page.render(folder) for name, folder in folders.items()}


def test_the_verdict_is_the_heading(pages: dict[str, str]) -> None:
    """The first thing on the page is the verdict's word and its sentence."""
    words = {"valid": "Valid", "invalid": "Invalid", "trace": "Invalid", "unknown": "Unknown", "killed": "No verdict"}
    for name, word in words.items():
        assert f'state-{word.lower() if name != "killed" else "none"}">{word}<' in pages[name]
        assert pages[name].index("<h1") < pages[name].index("<h2")
    assert "All 1,0" in pages["valid"] or "operations fit one linear order" in pages["valid"]


def test_every_kind_of_register_conflict_has_a_plain_sentence() -> None:
    """A reader without theory gets a sentence in the heading for whatever the register checker can find."""
    assert [kind for kind in explanation.KINDS if kind not in LEADS] == []


def test_sections_come_in_the_order_of_questions(pages: dict[str, str]) -> None:
    """What broke, what was tested, when, how it performed, which faults, figures, the run, the files."""
    names = re.findall(r'<section id="(\w+)"', pages["invalid"])
    assert names == ["findings", "tested", "timeline", "plots", "faults", "statistics", "run", "files"]


def test_a_violation_is_drawn_and_explained(pages: dict[str, str]) -> None:
    """The three clashing operations are drawn, the impossible one is marked, and each step is said in words."""
    text = pages["invalid"]
    assert re.search(r"✗ read → \d+", text)
    assert len(re.findall(r'class="arrow"', text)) == 2
    assert "which had been replaced before it began: impossible in any order" in text
    assert "was answered by n1, which still believed that it led term 3; n2 leads term 4 since" in text
    assert "Meanwhile" in text
    assert "n1 cut from n2, n3, n4, n5" in text


def test_trace_findings_quote_their_lines(pages: dict[str, str]) -> None:
    """Two votes in one term: the two lines of the trace stand on the page, with links to the file."""
    text = pages["trace"]
    assert "&#34;event&#34;: &#34;vote&#34;, &#34;term&#34;: 7, &#34;for&#34;: &#34;n4&#34;" in text
    assert 'href="nodes/n3/trace.jsonl"' in text


def test_unknown_says_why(pages: dict[str, str]) -> None:
    """An unknown verdict lists each doubt and whose it is."""
    assert "Why nobody knows" in pages["unknown"]
    assert "did not bite: datagrams still passed from n1 to n3. (harness)" in pages["unknown"]


def test_a_killed_run_says_so(pages: dict[str, str]) -> None:
    """No verdict.json, a torn history, a fault that never healed: the page shows what there is and says what is
    missing.
    """
    text = pages["killed"]
    assert "This run left no verdict: it was in its phase “load”" in text
    assert "torn" in text
    assert "never healed" in text
    assert "capsize check history.jsonl" in text


def test_the_command_repeats_the_run(pages: dict[str, str]) -> None:
    """The line to type is on the page, quoted for a shell."""
    assert "./capsize run local-read --bug local-read --seed 7" in pages["invalid"]


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_nothing_is_asked_of_a_network(pages: dict[str, str], name: str) -> None:
    """No element loads or links anything outside the run's folder."""
    elements = Elements(pages[name])
    assert elements.count("link") == 1
    for tag, attributes in elements.found:
        for attribute in ("src", "href", "xlink:href", "action", "data"):
            target = attributes.get(attribute) or ""
            assert not re.match(r"(?:[a-z]+:)?//|javascript:", target, re.IGNORECASE), (tag, target)
    assert "@import" not in pages[name]
    assert not re.search(r"url\((?!#|data:)", pages[name])


def test_hostile_text_stays_text(pages: dict[str, str]) -> None:
    """The page of the hostile run has the same active elements as the page of a harmless one, and no handler."""
    hostile, harmless = Elements(pages["nasty"]), Elements(pages["invalid"])
    for tag in ("script", "iframe", "object", "embed", "form", "meta", "style"):
        assert hostile.count(tag) == harmless.count(tag), tag
    assert hostile.count("img") == 0
    for tag, attributes in hostile.found:
        assert not [name for name in attributes if name.startswith("on")], tag
    assert "&lt;script&gt;document.title" in pages["nasty"]
    assert "{{ 7 * 7 }}" in pages["nasty"]


def test_only_the_pages_own_script_may_run(pages: dict[str, str]) -> None:
    """The policy allows exactly the hash of the last script, so that nothing that slipped through could run."""
    script = re.findall(r"<script>(.*?)</script>", pages["nasty"], re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in pages["nasty"]
    assert "default-src 'none'" in pages["nasty"]


def test_data_is_json_that_cannot_end_its_element(pages: dict[str, str]) -> None:
    """What the script reads parses back to the hostile strings, and holds no angle bracket."""
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', pages["nasty"], re.DOTALL)
    assert data is not None
    assert "<" not in data[1]
    assert json.loads(data[1])["faults"][0]["family"] == samples.NASTY[0]


def test_every_operation_is_in_the_page(folders: dict[str, RunFolder], pages: dict[str, str]) -> None:
    """The packed history unpacks to as many operations as the history has, call times included."""
    packed = re.search(r'id="packed">([A-Za-z0-9+/=]+)<', pages["valid"])
    assert packed is not None
    raw = gzip.decompress(base64.b64decode(packed[1]))
    length = int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4 : 4 + length])
    lines = [json.loads(line) for line in folders["valid"].history.read_text().splitlines()]
    invoked = [line for line in lines if line["type"] == "invoke" and line["process"] != "nemesis"]
    assert header["count"] == len(invoked)
    assert len(raw) == 4 + length + header["count"] * sum(int(kind[1:]) for _, kind in header["columns"])


BROKEN = {
    "run.json": b'{"scenario": 3, "phases": [{"begin_ns": "x"}, null, 7], "nodes": {"a": 1}, "machine": [1]}',
    "scenario.yaml": b"faults: {a: [}\n",
    "schedule.jsonl": b'{"id": "x", "injected_ns": [1], "healed_ns": 3, "bit": true, "targets": "n1"}\nnot json\n[]\n',
    "verdict.json": b'{"validity": "valid", "results": [{"findings": [{"operations": [{}, {"call_ns": "x"}]}, 4]}]}',
    "history.jsonl": b'{"index": 0, "time": 1, "process": 0, "type": "ok", "f": "read"}\n',
    "nodes/n1/trace.jsonl": b'{"event": "role"}\nrubbish\n{"event": "role", "role": 3}\n',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_becomes_a_note(tmp_path: Path, name: str) -> None:
    """Whatever one file holds, the page is made, and shows the verdict that is recorded."""
    folder = samples.invalid(tmp_path, operations=300)
    (folder.path / name).write_bytes(BROKEN[name])
    text = page.render(folder)
    assert 'class="note"' in text
    assert ("Valid" if name == "verdict.json" else "Invalid") in text


@pytest.mark.parametrize(
    "name", ["run.json", "scenario.yaml", "schedule.jsonl", "verdict.json", "history.jsonl", "nodes"]
)
def test_a_missing_file_becomes_a_note(tmp_path: Path, name: str) -> None:
    """A page is made of whatever is there."""
    folder = samples.invalid(tmp_path, operations=300)
    path = folder.path / name
    if path.is_dir():
        path.rename(tmp_path / "elsewhere")
    else:
        path.unlink()
    assert "</html>" in page.render(folder)


def test_an_empty_folder_has_a_page(tmp_path: Path) -> None:
    """Even a run that left nothing is told about."""
    text = page.render(RunFolder(tmp_path))
    assert "This run left no verdict" in text


def test_a_plot_that_fails_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken plotting library changes no verdict and loses nothing else."""
    folder = samples.invalid(tmp_path, operations=300)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    text = page.render(folder)
    assert "The plot can’t be shown" in text
    assert "Invalid" in text


def test_a_freeze_lies_across_the_timeline(tmp_path: Path) -> None:
    """The time for which all stood still is a band of its own, on the nodes that it stopped; no fault is made of it."""
    folder = samples.invalid(tmp_path, operations=300)
    facts = json.loads(folder.run.read_bytes())
    nodes = {"n1": {"held_by": "the freeze"}, "n2": {"held_by": "a fault"}}
    facts["freeze"] = {"decided_ns": 9_000, "resumed_ns": 12_000, "resumed_by": "limit", "nodes": nodes}
    folder.run.write_text(json.dumps(facts))
    text = page.render(folder)
    assert re.search(r'"family":"freeze","targets":\["n1"\],"begin":9000,"end":12000', text)
    assert text.count('"family":') == len(folder.schedule.read_text().splitlines()) + 1
    assert "The plots end where the cluster was frozen" in text


def test_faults_come_in_order_and_say_why_they_were_left_out(tmp_path: Path) -> None:
    """One that was left out stands at its planned time, with the reason in one wide cell; a log's trigger is told in
    words, with the delay; who is down is drawn as a hole that says so, unless it comes back in between.
    """
    folder = samples.valid(tmp_path, operations=300)
    trigger = {"log": "became leader", "node": "n2", "event_ns": 4_000_000_000, "delay_ms": 5.34, "in_force_ms": 17}
    rows = [
        samples.fault(2, "power", "power of n1 failed", ["n1"], 3, 5, trigger=trigger),
        samples.fault(3, "kill", "n1 restarted", ["n1"], 12, 13, parameters={"how": "rolling"}),
        samples.fault(4, "disk", "n1 dies", ["n1"], 14, 15, parameters={"crash": {"at": "fsync"}}),
        samples.fault(
            5, "rot", "rot", [], 7, 9, injected_ns=None, healed_ns=None, left_out="nobody to hit: n4 is down"
        ),
    ]
    folder.schedule.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    text = page.render(folder)
    order = [text.index(f'<tr id="fault-{number}">') for number in (2, 5, 3, 4)]
    assert order == sorted(order)
    assert 'colspan="4"><div class="faint">left out: nobody to hit: n4 is down</div>' in text
    assert "<b>rot</b></div>" in text
    assert "fired when a line of a log fits “became leader” (n2, at 4.000 s); " in text
    assert "injection began 5.3 ms later, in force after 17.0 ms" in text
    assert "healed in 14.0 ms" in text or "healed in 14 ms" in text
    assert [re.search(rf'"id":"{number}".*?"down":"(.*?)"', text)[1] for number in (2, 3, 4)] == [
        "no power",
        "",
        "died",
    ]  # type: ignore[index]


def test_building_again_gives_the_same_page(folders: dict[str, RunFolder]) -> None:
    """A page depends on the files only: building it twice gives the same bytes."""
    assert page.render(folders["trace"]) == page.render(folders["trace"])


def test_build_writes_the_page_into_the_folder(tmp_path: Path) -> None:
    """The page stands beside the files that it is made from, and nothing else is left there."""
    folder = samples.invalid(tmp_path, operations=300)
    before = {path.name for path in folder.path.iterdir()}
    assert page.build(folder) == folder.page
    assert {path.name for path in folder.path.iterdir()} - before == {"report.html"}
