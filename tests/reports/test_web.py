"""The browser of runs: reads only, answers loopback names only, and opens nothing but what it lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports import web
from tests.reports import samples
from tests.reports.browser import Client


@pytest.fixture(scope="module")
def client(runs_root: Path) -> Client:
    """A client of an application over the samples."""
    return Client(app=web.application(runs_root))


RUN = "/runs/local-read/20261120T231502Z-7/"
CAMPAIGN = "/runs/campaigns/nightly/20261120T231400Z/"


def test_the_list_filters_and_sorts_by_its_address(client: Client) -> None:
    """Without any script: the form's fields and the heads' links are all there is."""
    assert client.get("/").text.count("/report.html") == 6
    found = client.get("/", {"validity": "invalid", "sort": "seed", "dir": "asc"}).text
    assert re.findall(r"-(\d+)/report\.html", found) == ["3", "7", "99"]
    assert "No run is like that" in client.get("/?text=nonesuch").text
    assert client.get("/?page=zz&sort=x&dir=1&validity=%00").status == 200
    assert "<script" not in client.get("/").text


def test_sorting_again_turns_the_order(client: Client) -> None:
    """The head of the sorted column leads to the other order and keeps the filters."""
    text = client.get("/?validity=invalid&sort=seed&dir=desc").text
    assert "/?validity=invalid&amp;sort=seed&amp;dir=asc" in text


def test_paging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More runs than a page holds: next and previous lead through them, each run once."""
    for number in range(5):
        folder = tmp_path / "s" / f"t-{number}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(f'{{"scenario": "s", "seed": {number}}}')
    monkeypatch.setattr(web, "PAGE_SIZE", 2)
    small = Client(app=web.application(tmp_path))
    seen: list[str] = []
    address: str | None = "/"
    while address and len(seen) < 10:
        text = small.get(address).text
        seen += re.findall(r"t-(\d)/report", text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        address = following[1].replace("&amp;", "&") if following else None
    assert sorted(seen) == ["0", "1", "2", "3", "4"]


def test_the_api_lists_the_same(client: Client) -> None:
    """JSON with total and runs, filtered alike, bounded."""
    answer = client.get("/api/runs?validity=invalid&limit=1").json()
    assert answer["total"] == 3
    assert len(answer["runs"]) == 1
    assert {"path", "seed", "validity", "page", "sentence"} <= set(answer["runs"][0])
    assert len(client.get("/api/runs?limit=99999999").json()["runs"]) == 6


def test_a_runs_page_and_its_files(client: Client) -> None:
    """The page is made when the run has none; logs and traces come as plain text that nobody sniffs."""
    page = client.get(RUN + "report.html")
    assert page.status == 200
    assert "Invalid" in page.text
    for name, kind in {
        "history.jsonl": "text/plain",
        "run.json": "application/json",
        "nodes/n1/node.log": "text/plain",
    }.items():
        answer = client.get(RUN + name)
        assert answer.status == 200, name
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get(RUN).headers["location"] == RUN + "report.html"


def test_serving_writes_nothing_but_the_catalog(client: Client, runs_root: Path) -> None:
    """Looking at pages leaves no page and no other file behind."""
    before = {path for path in runs_root.rglob("*") if "catalog" not in path.name}
    for address in ("/", "/campaigns", RUN + "report.html", CAMPAIGN + "summary.html"):
        assert client.get(address).status == 200
    assert {path for path in runs_root.rglob("*") if "catalog" not in path.name} == before


def test_scripts_are_allowed_on_run_pages_only(client: Client) -> None:
    """Every page has a strict policy; a run's page may run its script, in a sandbox."""
    for address in ("/", "/campaigns", "/api/runs", CAMPAIGN + "summary.html", RUN + "run.json", "/nowhere"):
        policy = client.get(address).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy, address
    policy = client.get(RUN + "report.html").headers["content-security-policy"]
    assert "script-src 'unsafe-inline'" in policy
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy


def test_campaigns(client: Client) -> None:
    """The list of campaigns leads to a page whose links lead to runs."""
    text = client.get("/campaigns").text
    assert CAMPAIGN + "summary.html" in text
    page = client.get(CAMPAIGN + "summary.html")
    assert "What failed first" in page.text
    assert 'href="../../../local-read/20261120T231502Z-7/report.html"' in page.text
    assert client.get("/runs/local-read/20261120T231502Z-7/report.html").status == 200
    assert client.get(CAMPAIGN + "plan.json").status == 200
    assert client.get(CAMPAIGN + "junit.xml").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/runs/default/..%2f..%2fetc/passwd",
        "/runs/%2e%2e/%2e%2e/etc/passwd",
        RUN + "..%2f..%2fcatalog.sqlite",
        RUN + "nodes/../../../catalog.sqlite",
        RUN + "nodes/n1/../../run.json",
        RUN + "nodes/n1/data/wal",
        RUN + "nodes//etc/passwd",
        RUN + "/etc/passwd",
        RUN + "outside.log",
        RUN + "nodes/n1/outside.log",
        "/runs/default/latest/run.json",
        "/runs/campaigns/nightly/../../catalog.sqlite",
        "/runs/catalog.sqlite",
        "/static/../web.py",
        RUN + "run.json%00.html",
        "/runs/linked/" + "x/run.json",
    ],
)
def test_nothing_outside_is_served(client: Client, runs_root: Path, path: str) -> None:
    """No path, encoded or through a link, leads to a file that is not on the list."""
    secret = runs_root.parent / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "run.json").write_text("{}")
    (secret / "x").mkdir(exist_ok=True)
    (secret / "x" / "run.json").write_text("{}")
    for link, target in {
        runs_root / "local-read/20261120T231502Z-7/nodes/n1/outside.log": secret / "run.json",
        runs_root / "linked": secret,
    }.items():
        if not link.is_symlink():
            link.symlink_to(target)
    assert client.get(path).status == 404


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "[::1",
        "127.0.0.1@evil.example",
        "10.0.0.1",
    ],
)
def test_other_hosts_are_refused(client: Client, host: str) -> None:
    """A page elsewhere that gives our address its own name (DNS rebinding) gets nothing."""
    assert client.get("/", host=host).status == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8080", "[::1]:8080", "LOCALHOST"])
def test_loopback_names_are_answered(client: Client, host: str) -> None:
    """Any port: a tunnel may have changed it."""
    assert client.get("/", host=host).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_read_only(client: Client, method: str) -> None:
    """GET and HEAD are all there is."""
    assert client.get("/", method=method).status == 405
    assert client.get("/", method="HEAD").status == 200


def test_hostile_runs_stay_text_in_lists(client: Client) -> None:
    """Names and sentences of the hostile run are escaped in the list, the API and attributes."""
    text = client.get("/").text
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text
    assert client.get("/api/runs").headers["content-type"] == "application/json"
    poison = samples.NASTY[1]
    assert poison not in client.get("/", {"text": poison, "scenario": poison}).text


def test_an_empty_root_has_a_page(tmp_path: Path) -> None:
    """Before the first run, the list says how to make one."""
    empty = Client(app=web.application(tmp_path))
    assert "There are no runs yet" in empty.get("/").text
    assert "There are no campaigns yet" in empty.get("/campaigns").text
