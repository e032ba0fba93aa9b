"""A client that speaks ASGI to an application directly, so that a test can ask for any path, method and header, also
such as no honest client would send.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode

from starlette.types import ASGIApp, Message


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Client:
    """Asks an application. Paths are taken as they are written: nothing is normalised."""

    app: ASGIApp
    host: str = "127.0.0.1:8080"

    def get(self, address: str, parameters: Mapping[str, str] | None = None, **more: str) -> Answer:
        """One request; ``method`` and ``host`` may be given."""
        return asyncio.run(self._ask(address, parameters or {}, **more))

    async def _ask(
        self, address: str, parameters: Mapping[str, str], method: str = "GET", host: str | None = None
    ) -> Answer:
        path, _, query = address.partition("?")
        sent: list[Message] = []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": (query or urlencode(parameters)).encode(),
            "root_path": "",
            "headers": [(b"host", (self.host if host is None else host).encode())],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8080),
        }

        asked = False

        async def receive() -> Message:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()  # the client stays: it never disconnects
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(status=sent[0]["status"], headers=headers, body=body)
