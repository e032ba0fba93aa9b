"""Pages in a real browser (Chromium): they open without an error, and mouse and keyboard do what the pages promise."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from reports import page
from reports.folder import RunFolder
from reports.web import application
from tests.reports import samples

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Visit:
    """A page with everything that it complained about and every address that it asked for."""

    def __init__(self, browser: Browser, width: int = 1280, scripts: bool = True) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=scripts)
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None,
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def timeline(self, folder: RunFolder) -> Page:
        """The page of a run, once its timeline is drawn."""
        self.page.goto(folder.page.as_uri())
        self.page.wait_for_selector("#stage[data-ready-ms]", timeout=30_000)
        return self.page

    def span(self) -> tuple[float, float]:
        """The part of the run that the timeline shows, in ns."""
        stage = self.page.locator("#stage")
        return float(stage.get_attribute("data-from") or "nan"), float(stage.get_attribute("data-to") or "nan")


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """A visit that must end without complaints."""
    found = Visit(chromium)
    yield found
    found.context.close()
    assert found.errors == []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """The samples, with pages, under one root."""
    root = tmp_path_factory.mktemp("runs")
    folders = {name: make(root) for name, make in samples.SAMPLES.items()}
    for folder in folders.values():
        page.build(folder)
    samples.campaign(root)
    return folders


def settled(visit: Visit) -> tuple[float, float]:
    """The span after the next frame was drawn."""
    visit.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return visit.span()


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_every_sample_opens_without_an_error(visit: Visit, built: dict[str, RunFolder], name: str) -> None:
    """From a file, with no request but for the file itself, and nothing that was smuggled in has run."""
    found = visit.timeline(built[name])
    assert visit.asked == [built[name].page.as_uri()]
    assert "pwned" not in found.title() or name == "nasty"
    assert found.title() != "pwned"
    assert found.locator("#timeline-note").count() == 0
    assert found.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_every_sample_fits_a_telephone(chromium: Browser, built: dict[str, RunFolder], name: str) -> None:
    """At 400 pixels nothing sticks out sideways."""
    visit = Visit(chromium, width=400)
    found = visit.timeline(built[name])
    assert found.evaluate("document.documentElement.scrollWidth") <= 400
    assert visit.errors == []
    visit.context.close()


def test_hover_shows_the_operation(visit: Visit, built: dict[str, RunFolder]) -> None:
    """The pointer over a worker's lane tells operation, outcome and times."""
    found = visit.timeline(built["valid"])
    found.locator("#canvas").scroll_into_view_if_needed()
    box = found.locator("#canvas").bounding_box()
    assert box is not None
    found.mouse.move(box["x"] + 400, box["y"] + box["height"] - 80)
    assert found.locator("#tip").is_visible()
    assert "outcome" in found.locator("#tip").inner_text()
    found.mouse.move(box["x"] + 300, box["y"] + 60)
    assert "role" in found.locator("#tip").inner_text()


def test_zoom_pan_and_keys(visit: Visit, built: dict[str, RunFolder]) -> None:
    """Wheel, drag, buttons and keys move the view; 0 shows everything again."""
    found = visit.timeline(built["valid"])
    canvas = found.locator("#canvas")
    whole = visit.span()
    canvas.click(position={"x": 600, "y": 150})
    found.mouse.wheel(0, -400)
    zoomed = settled(visit)
    assert zoomed[1] - zoomed[0] < (whole[1] - whole[0]) * 0.9
    box = canvas.bounding_box()
    assert box is not None
    found.mouse.move(box["x"] + 700, box["y"] + 150)
    found.mouse.down()
    found.mouse.move(box["x"] + 500, box["y"] + 150, steps=4)
    found.mouse.up()
    assert settled(visit)[0] > zoomed[0]
    before = visit.span()
    found.locator("[data-do=in]").click()
    assert settled(visit)[1] - visit.span()[0] < before[1] - before[0]
    canvas.press("ArrowLeft")
    canvas.press("0")
    assert settled(visit) == whole


def test_a_wheel_scrolls_the_page_until_the_timeline_is_clicked(visit: Visit, built: dict[str, RunFolder]) -> None:
    """Nobody gets stuck in the picture on the way down the page."""
    found = visit.timeline(built["valid"])
    canvas = found.locator("#canvas")
    canvas.scroll_into_view_if_needed()
    canvas.hover()
    whole, before = visit.span(), found.evaluate("scrollY")
    found.mouse.wheel(0, 300)
    found.wait_for_function("before => scrollY > before", arg=before)
    assert visit.span() == whole


def test_a_finding_leads_to_its_place(visit: Visit, built: dict[str, RunFolder]) -> None:
    """The button of a finding shows the time of its operations."""
    found = visit.timeline(built["invalid"])
    whole = visit.span()
    found.locator("#finding-1 .jump").click()
    shown = settled(visit)
    assert shown[1] - shown[0] < whole[1] - whole[0]
    assert shown[0] <= 6.85e9 <= shown[1]


def test_filters(visit: Visit, built: dict[str, RunFolder]) -> None:
    """A filter takes operations away from what the pointer finds, and giving it up brings them back."""
    found = visit.timeline(built["valid"])
    found.locator("#canvas").scroll_into_view_if_needed()
    box = found.locator("#canvas").bounding_box()
    assert box is not None
    place = (box["x"] + 400, box["y"] + box["height"] - 80)
    found.locator("#only-process").fill("999999")
    settled(visit)
    found.mouse.move(*place)
    assert not found.locator("#tip").is_visible()
    found.locator("#only-process").fill("")
    settled(visit)
    found.mouse.move(place[0] + 1, place[1])
    assert found.locator("#tip").is_visible()


def test_the_page_is_whole_without_scripts(chromium: Browser, built: dict[str, RunFolder]) -> None:
    """Verdict, drawing, plots and tables need no script; the timeline says that it does."""
    visit = Visit(chromium, scripts=False)
    visit.page.goto(built["invalid"].page.as_uri())
    assert visit.page.locator(".drawing svg").is_visible()
    assert visit.page.locator(".plot svg").is_visible()
    assert visit.page.locator("#timeline-note").is_visible()
    visit.context.close()


ONE_FRAME = """() => {
  const began = performance.now();
  document.querySelector("[data-do=out]").click();
  return new Promise((done) => requestAnimationFrame(() => done(performance.now() - began)));
}"""


def test_two_hundred_thousand_operations(visit: Visit, tmp_path: Path) -> None:
    """A long run opens, and zooming into it redraws. The times are printed: they are figures, not a promise."""
    folder = samples.valid(tmp_path, operations=200_000, workers=40)
    began = time.perf_counter()
    page.build(folder)
    took = time.perf_counter() - began
    found = visit.timeline(folder)
    ready = found.locator("#stage").get_attribute("data-ready-ms")
    count = int(found.locator("#stage").get_attribute("data-operations") or 0)
    frame = found.evaluate(ONE_FRAME)
    built = f"page built in {took:.2f} s, {folder.page.stat().st_size / 1e6:.1f} MB"
    print(f"\n{count} operations: {built}, interactive after {ready} ms, a frame takes {frame:.0f} ms")
    assert count > 150_000


@pytest.fixture(scope="module")
def served(built: dict[str, RunFolder]) -> Iterator[str]:
    """The browser of runs on a free port of loopback."""
    root = built["valid"].path.parent.parent
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # now: a browser that comes before the server is up waits, and is not turned away
        config = uvicorn.Config(application(root), log_level="error", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_the_list_filters_sorts_and_opens(visit: Visit, served: str) -> None:
    """Choose a verdict, sort by seed, open a run: its page works as it does from a file."""
    found = visit.page
    found.goto(served)
    assert found.locator("tbody tr").count() == 6
    found.select_option("select[name=validity]", "invalid")
    found.get_by_role("button", name="Filter").click()
    found.wait_for_load_state()
    assert found.locator("tbody tr").count() == 3
    found.get_by_role("link", name="Seed").click()
    found.wait_for_load_state()
    seeds = [int(words) for words in found.locator("td[data-label=Seed]").all_inner_texts()]
    assert seeds == [99, 7, 3]
    found.get_by_role("link", name="Seed").click()
    found.wait_for_load_state()
    assert [int(words) for words in found.locator("td[data-label=Seed]").all_inner_texts()] == [3, 7, 99]
    found.locator("tbody tr").nth(1).get_by_role("link").click()
    found.wait_for_selector("#stage[data-ready-ms]")
    assert "Invalid" in found.title()
    found.locator("#files a", has_text="nodes/n1/node.log").click()
    found.wait_for_load_state()
    assert "n1 listens" in found.locator("body").inner_text()


def test_campaigns_lead_to_runs(visit: Visit, served: str) -> None:
    """From the list of campaigns to a campaign, and through its matrix to a run."""
    found = visit.page
    found.goto(f"{served}/campaigns")
    found.get_by_role("link", name="nightly").click()
    found.wait_for_load_state()
    assert "What failed first" in found.locator("body").inner_text()
    found.locator("a.cell.invalid").first.click()
    found.wait_for_selector("#stage[data-ready-ms]")
    assert "Invalid" in found.title()


def test_lists_need_no_script(chromium: Browser, served: str) -> None:
    """With scripts off, the list still filters and sorts."""
    visit = Visit(chromium, scripts=False)
    visit.page.goto(f"{served}/?text=old+value")
    assert visit.page.locator("tbody tr").count() == 1
    visit.page.get_by_role("link", name="Verdict").click()
    assert "sort=validity" in visit.page.url
    visit.context.close()
