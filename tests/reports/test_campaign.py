"""Campaign page and JUnit: nothing that was planned is lost, and nothing that is not valid passes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from reports import campaign, junit
from tests.reports import samples


def test_the_summary_counts_everything(runs_root: Path) -> None:
    """Every planned run is in the matrix, with what became of it; what failed first is named."""
    read = campaign.read_campaign(runs_root / "campaigns" / "nightly" / "20261120T231400Z")
    assert read.state == "invalid"
    assert dict(read.counts) == {"valid": 9, "failed": 1, "unknown": 1, "invalid": 2, "left-out": 2}
    assert read.first is not None
    assert (read.first.scenario, read.first.seed) == ("local-read", "7")
    assert read.ledger["leader changed under a fault"] == 36
    text = campaign.render(read)
    assert "9 valid; 2 not run" in text
    assert text.count('class="cell ') == 15
    assert 'href="../../../local-read/20261120T231502Z-7/report.html"' in text


def test_unfinished_and_broken_campaigns_have_a_page(tmp_path: Path) -> None:
    """A campaign that was killed or whose files are broken has a page; without a result nothing is called valid."""
    folder = tmp_path / "campaigns" / "s" / "t"
    folder.mkdir(parents=True)
    assert "No run of this campaign has ended" in campaign.build(folder).read_text()
    (folder / "plan.json").write_text('{"runs": [{"scenario": "a", "seed": 1}, 3], "budget_s": "x"}')
    (folder / "results.jsonl").write_text('{"scenario": "b", "seed": 2, "validity": "valid", "exit_code": 70}\n{"scen')
    read = campaign.read_campaign(folder)
    assert read.state == campaign.FAILED
    assert "torn" in campaign.build(folder).read_text()


def test_hostile_results_stay_text(tmp_path: Path) -> None:
    """No name, sentence or folder of a result becomes an element or leads out of the runs."""
    folder = samples.campaign(tmp_path)
    poison = samples.NASTY[0]
    line = {
        "scenario": poison,
        "seed": poison,
        "validity": "invalid",
        "exit_code": 1,
        "sentence": poison,
        "kinds": [poison],
    }
    rows = [{**line, "folder": "../../etc"}, {**line, "folder": "javascript:alert(1)"}]
    (folder / "results.jsonl").write_text("\n".join(__import__("json").dumps(row) for row in rows) + "\n")
    text = campaign.build(folder).read_text()
    assert "<script" not in text
    assert 'href="javascript' not in text
    assert "etc/report.html" not in text


ROWS = [
    {
        "scenario": "a",
        "seed": 1,
        "folder": "a/x",
        "validity": "valid",
        "exit_code": 0,
        "seconds": 1.5,
        "sentence": "fine",
    },
    {
        "scenario": "a",
        "seed": 2,
        "folder": "a/y",
        "validity": "invalid",
        "exit_code": 1,
        "seconds": 2,
        "sentence": "stale",
        "kinds": ["k"],
    },
    {
        "scenario": "b",
        "seed": 1,
        "folder": None,
        "validity": None,
        "exit_code": 70,
        "seconds": 3,
        "sentence": "",
        "error": "broke",
    },
    {
        "scenario": "b",
        "seed": 2,
        "folder": "b/y",
        "validity": "unknown",
        "exit_code": 2,
        "seconds": 1,
        "sentence": "too few",
    },
    {
        "scenario": "b",
        "seed": 3,
        "folder": "b/z",
        "validity": "valid",
        "exit_code": 70,
        "seconds": 1,
        "sentence": "fine",
    },
]


def test_junit_maps_verdicts(tmp_path: Path) -> None:
    """Invalid is a failure; unknown, no verdict and a wrong exit code are errors; nothing is skipped."""
    junit.write(tmp_path / "junit.xml", "nightly", ROWS)
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "3",
        "skipped": "0",
    }
    cases = {case.get("name"): case for case in suite}
    failure = cases["a seed 2"].find("failure")
    assert failure is not None
    assert failure.get("message") == "stale"
    error = cases["b seed 1"].find("error")
    assert error is not None
    assert error.get("message") == "broke"
    assert cases["a seed 1"].findtext("system-out") == "run folder: a/x"
    assert not list(suite.iter("skipped"))


@given(st.text(alphabet=st.characters(codec=None), max_size=60))
def test_junit_is_always_xml(tmp_path_factory: object, words: str) -> None:
    """Any text at all, control characters and lone surrogates included, leaves a file that parses."""
    path = tmp_path_factory.getbasetemp() / "junit.xml"  # type: ignore[attr-defined]
    junit.write(
        path,
        words,
        [
            {
                "scenario": words,
                "seed": words,
                "validity": "invalid",
                "sentence": words,
                "folder": words,
                "kinds": [words],
            }
        ],
    )
    case = ElementTree.parse(path).getroot()[0][0]
    assert case.find("failure") is not None
