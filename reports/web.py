"""The browser of runs: reads, and never writes anything but the catalog.

Everything works without a script: filters are a form, sorting and paging are links. Only a run's own page has a script,
and only there does the policy allow one (in a sandbox of its own, beside the page's own policy, which allows nothing
but the script's hash).

It is meant for loopback. A page on the internet can still make a browser ask a loopback address, under a name of its
own (DNS rebinding), so requests under any other host name are refused; files are served by a whitelist of names, as
plain text or the one type that they have, and nothing outside the root of runs is ever opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reports import campaign, page
from reports.catalog import FILTERS, SORTABLE, Catalog, Query, RunRow
from reports.folder import RunFolder
from reports.listing import started_words
from reports.templating import STATIC, environment

PAGE_SIZE = 50
API_MAX = 1000
PAGES_MAX = 100_000

HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

_COMMON = "base-uri 'none'; frame-ancestors 'none'; img-src 'self' data:"
POLICY = f"default-src 'none'; style-src 'self'; form-action 'self'; {_COMMON}"
RUN_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; form-action 'none'; "
    f"{_COMMON}; sandbox allow-scripts"
)
CAMPAIGN_PAGE_POLICY = f"default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; {_COMMON}"

_TEXT, _JSON = "text/plain; charset=utf-8", "application/json"
RUN_FILES: Mapping[str, str] = {
    "run.json": _JSON,
    "verdict.json": _JSON,
    "scenario.yaml": _TEXT,
    "schedule.jsonl": _TEXT,
    "history.jsonl": _TEXT,
    "harness.log": _TEXT,
}
"""Files of a run that are served, with the type that they are served as; beside them the nodes' logs and traces, and
the page.
"""

CAMPAIGN_FILES: Mapping[str, str] = {
    "plan.json": _JSON,
    "results.jsonl": _TEXT,
    "runs.log": _TEXT,
    "junit.xml": _TEXT,  # as text: XML could carry a style sheet
}

_NODE_FILE = re.compile(r"nodes/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\.(?:log|jsonl)")
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+:-]{0,127}")


def application(root: Path) -> Starlette:
    """The application that shows the runs under ``root``."""
    browser = Browser(root=root.resolve(), catalog=Catalog(root.resolve()))
    routes = [
        Route("/", browser.list_runs),
        Route("/api/runs", browser.api_runs),
        Route("/campaigns", browser.list_campaigns),
        Route("/static/style.css", browser.style),
        Route("/favicon.ico", _no_icon),  # browsers ask for one beside plain text
        Route("/runs/campaigns/{suite}/{name}/{file:path}", browser.campaign_file),
        Route("/runs/{scenario}/{name}/{file:path}", browser.run_file),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard)], exception_handlers={HTTPException: _refusal})


class Guard:
    """Refuses what has no business here, and puts the strict headers on every answer that has none of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        if hostname(request.headers.get("host", "")) not in HOSTS:
            refusal = Response(
                "This browser of runs answers to 127.0.0.1 and localhost only.\n", 421, media_type="text/plain"
            )
            await refusal(scope, receive, send)
            return
        if request.method not in ("GET", "HEAD"):
            await Response("Read-only.\n", 405, {"allow": "GET, HEAD"}, "text/plain")(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _guarded(message["headers"])}
            await send(message)

        await self.app(scope, receive, send_guarded)


_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", POLICY.encode()),
    (b"cache-control", b"no-store"),
)


def _guarded(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    present = {name.lower() for name, _ in headers}
    return [*headers, *(header for header in _HEADERS if header[0] not in present)]


def hostname(header: str) -> str:
    """The name in a Host header, without its port; empty for anything that is none."""
    try:
        return (
            (urlsplit(f"//{header}").hostname or "") if re.fullmatch(r"[\w.\-:\[\]]{1,255}", header, re.ASCII) else ""
        )
    except ValueError:
        return ""


def _no_icon(_request: Request) -> Response:
    return Response(status_code=204)


def _refusal(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {404: "There is no such page here."}.get(status, "That can’t be shown.")
    return HTMLResponse(environment().get_template("refusal.html").render(status=status, words=words), status)


@dataclass(frozen=True, slots=True)
class View:
    """One view of the list, as its address says it: what to show and which page."""

    query: Query
    page: int

    def address(self, **changes: Any) -> str:
        """The address of this view with something changed; anything but a page number leads to the first page."""
        query = self.query
        words = {name: query.equal.get(name, "") for name in FILTERS}
        words |= {"text": query.words, "sort": query.sort, "dir": "desc" if query.descending else "asc"}
        words |= {name: str(value) for name, value in changes.items()}
        return "/?" + urlencode({name: value for name, value in words.items() if value})

    def sorted_by(self, column: str) -> str:
        """The address sorted by a column; a second click turns the order."""
        turned = self.query.sort == column and self.query.descending
        return self.address(sort=column, dir="asc" if turned else "desc")


def read_view(request: Request) -> View:
    """The view that a request's parameters ask for. What makes no sense is ignored: addresses are typed by hand."""
    words = request.query_params
    number = words.get("page", "1")
    shown = min(max(1, int(number)), PAGES_MAX) if number.isascii() and number.isdigit() and len(number) < 9 else 1
    sort = words.get("sort", "started")
    query = Query(
        equal={name: words[name][:200] for name in FILTERS if words.get(name)},
        words=words.get("text", "")[:200],
        sort=sort if sort in SORTABLE else "started",
        descending=words.get("dir") != "asc",
        limit=PAGE_SIZE,
        offset=(shown - 1) * PAGE_SIZE,
    )
    return View(query=query, page=shown)


@dataclass(frozen=True, kw_only=True, slots=True)
class Browser:
    """The pages. Handlers are plain functions, so that they run in threads and a slow disk holds nobody up."""

    root: Path
    catalog: Catalog

    def list_runs(self, request: Request) -> Response:
        """The list of runs."""
        view = read_view(request)
        self.catalog.refresh()
        total = self.catalog.count(view.query)
        return _page(
            "runs.html",
            view=view,
            rows=[(row, _page_address(row)) for row in self.catalog.runs(view.query)],
            total=total,
            pages=max(1, -(-total // PAGE_SIZE)),
            choices=self.catalog.choices(),
            filters=FILTERS,
            started_words=started_words,
        )

    def api_runs(self, request: Request) -> Response:
        """The same as JSON: ``{"total": n, "runs": [...]}``, at most :data:`API_MAX` at once (``limit``, ``page``)."""
        view = read_view(request)
        asked = request.query_params.get("limit", str(PAGE_SIZE))
        limit = min(int(asked), API_MAX) if asked.isascii() and asked.isdigit() and len(asked) < 9 else PAGE_SIZE
        query = replace(view.query, limit=limit, offset=(view.page - 1) * limit)
        self.catalog.refresh()
        rows = [{**asdict(row), "page": _page_address(row)} for row in self.catalog.runs(query)]
        return JSONResponse(
            {
                "total": self.catalog.count(query),
                "runs": [{k: v for k, v in row.items() if k != "stamp"} for row in rows],
            }
        )

    def list_campaigns(self, _request: Request) -> Response:
        """The campaigns, newest first."""
        folders = campaign.campaign_folders(self.root)[:500]
        rows = [
            (campaign.read_campaign(folder), f"/runs/{quote(folder.relative_to(self.root).as_posix())}/summary.html")
            for folder in folders
        ]
        return _page("campaigns.html", rows=rows, started_words=started_words)

    def style(self, _request: Request) -> Response:
        """The sheet of the lists."""
        return FileResponse(STATIC / "style.css", media_type="text/css", headers={"cache-control": "no-cache"})

    def run_file(self, request: Request) -> Response:
        """A run's page, or one of its files."""
        folder = self._folder(request.path_params["scenario"], request.path_params["name"])
        name = request.path_params["file"]
        if name == "":
            return RedirectResponse(f"/runs/{quote(folder.relative_to(self.root).as_posix())}/report.html")
        if name == "report.html":
            return self._run_page(RunFolder(folder))
        kind = RUN_FILES.get(name) or (_TEXT if _NODE_FILE.fullmatch(name) else None)
        return self._file(folder, name, kind)

    def campaign_file(self, request: Request) -> Response:
        """A campaign's page, or one of its files."""
        folder = self._folder("campaigns", request.path_params["suite"], request.path_params["name"])
        name = request.path_params["file"]
        if name in ("", "summary.html"):
            # Made anew each time: a campaign that still runs has no page of its own yet.
            return HTMLResponse(
                campaign.render(campaign.read_campaign(folder)),
                headers={"content-security-policy": CAMPAIGN_PAGE_POLICY},
            )
        return self._file(folder, name, CAMPAIGN_FILES.get(name))

    def _run_page(self, folder: RunFolder) -> Response:
        """The page as the run left it; one that is missing is made for this answer, and not kept."""
        headers = {"content-security-policy": RUN_PAGE_POLICY}
        if self._inside(folder.page):
            return FileResponse(folder.page, media_type="text/html; charset=utf-8", headers=headers)
        return HTMLResponse(page.render(folder), headers=headers)

    def _folder(self, *names: str) -> Path:
        """A folder under the root, by names that cannot lead out of it."""
        folder = self.root.joinpath(*names)
        if not all(_FOLDER_NAME.fullmatch(name) for name in names) or not folder.is_dir() or not self._inside(folder):
            raise HTTPException(404)
        return folder

    def _file(self, folder: Path, name: str, kind: str | None) -> Response:
        path = folder / name
        if kind is None or not path.is_file() or not self._inside(path):
            raise HTTPException(404)
        return FileResponse(path, media_type=kind)

    def _inside(self, path: Path) -> bool:
        """Whether a path exists and, with all links followed, still lies under the root."""
        try:
            return path.resolve(strict=True).is_relative_to(self.root)
        except OSError:
            return False


def _page_address(row: RunRow) -> str:
    return f"/runs/{quote(row.path)}/report.html"


def _page(template: str, **words: Any) -> Response:
    return HTMLResponse(environment().get_template(template).render(**words))
