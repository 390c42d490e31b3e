"""The public services that are observed, on this machine, with their real shapes and real faults.

`Services` holds what each of them counts, notes every request, answers within a rate limit if one
is set, and misbehaves on demand: `spoil` replaces the next answers to a path by given ones.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.weights.hub_server import settings_for
from wazn.settings import Settings

CONCEALED = "the key"


@dataclass(frozen=True)
class Reply:
    """An answer to one request, instead of the right one."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None  # of the body, as the header claims


HTML = Reply(body=b"<!doctype html><html><body>Please verify you are human</body></html>")
TRUNCATED = Reply(body=b'[{"id":"Qwen/Qwen3-0.6B","downloads":219')
HANG_UP = Reply(body=b'[{"id"', length=900)


def repository(name: str, downloads: object, **more: object) -> dict[str, object]:
    """One entry of the Hub's listing, as it answers when fields are expanded."""
    return {
        "_id": "680da5d8cb5d6f8a90b5a5f0",
        "id": name,
        "createdAt": "2025-04-27T03:40:08.000Z",
        "downloads": downloads,
        "downloadsAllTime": 205441739,
        "likes": 600,
        "pipeline_tag": "text-generation",
        "tags": [
            *("transformers", "safetensors", "qwen3", "text-generation"),
            *("base_model:Qwen/Qwen3-0.6B-Base", "base_model:finetune:Qwen/Qwen3-0.6B-Base"),
            *("license:apache-2.0", "region:us"),
        ],
        **more,
    }


def library(pulls: dict[str, str]) -> bytes:
    """Ollama's page, cut down to what carries the numbers."""
    entries = "\n".join(
        f'<li x-test-model class="flex"><a href="/library/{name}" class="group w-full">'
        f'<div title="{name}"><h2><span x-test-search-response-title>{name}</span></h2>'
        f'<p class="max-w-lg">A model &amp; more</p></div><span x-test-size>8b</span>'
        f"<p><span><svg></svg><span x-test-pull-count>{shown}</span><span>&nbsp;Pulls</span></span>"
        f"<span><span x-test-tag-count>93</span></span><span x-test-updated>1 year ago</span></p>"
        "</a></li>"
        for name, shown in pulls.items()
    )
    page = f'<!DOCTYPE html><html><body><ul role="list">{entries}</ul></body></html>'
    return page.encode()


class Services:
    """All services at one loopback address, `url`."""

    def __init__(self) -> None:
        self.hub: list[dict[str, object]] = []
        self.page_size: int | None = None  # of the Hub, instead of what is asked for
        self.modelscope: dict[str, list[dict[str, object]]] = {}
        self.pulls: dict[str, str] = {}
        self.rankings: list[dict[str, object]] = []
        self.genai: object = []
        self.litellm: object = {}
        self.router_models: list[dict[str, object]] = []
        self.children: dict[str, object] = {}
        self.spoiled: dict[str, list[Reply]] = defaultdict(list)
        self.always: dict[str, Reply] = {}
        self.seen: list[str] = []
        self.tokens: list[str] = []
        self.limit: list[str] = []  # values of RateLimit, one an answer
        self.gate: threading.Event | None = None  # answers wait for it
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.services = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        if self.gate is not None:
            self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spoil(self, part: str, *replies: Reply) -> None:
        """The next answers to addresses that contain `part`."""
        self.spoiled[part] += replies


@contextmanager
def running_services() -> Iterator[Services]:
    services = Services()
    try:
        yield services
    finally:
        services.close()


def settings_of(services: Services, home: Path, *, token: str | None = None) -> Settings:
    """Settings in which every service is this one."""
    from dataclasses import replace

    return replace(
        settings_for(home, services.url, token=token),
        genai_prices_address=f"{services.url}/genai.json",
        litellm_prices_address=f"{services.url}/litellm.json",
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    services: Services

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        services = self.server.services
        services.seen.append(self.path)
        services.tokens.append(self.headers.get("Authorization", ""))
        if services.gate is not None:
            services.gate.wait(30)
        for part, replies in services.spoiled.items():
            if part in self.path and replies:
                return self._send(replies.pop(0))
        for part, reply in services.always.items():
            if part in self.path:
                return self._send(reply)
        self._route(services)

    def _route(self, services: Services) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = parts.path
        if path == "/api/models":
            self._hub(services, query)
        elif path.startswith("/api/models/"):
            name = path.removeprefix("/api/models/")
            self._json({"id": name, "childrenModelCount": services.children[name]})
        elif path == "/openapi/v1/models":
            self._modelscope(services, query)
        elif path == "/library":
            self._send(Reply(body=library(services.pulls)))
        elif path == "/api/v1/datasets/rankings-daily":
            self._rankings(services, query)
        elif path.endswith("latest.manifest.json"):
            url = "https://openrouter.ai/api/v1/datasets/exports/rankings-daily/2026-10-09.csv"
            self._json({"files": {"csv": {"url": url}, "json": {"url": "x"}}})
        elif path.endswith("2026-10-09.csv"):
            self._send(Reply(body=_export(services.rankings)))
        elif path in ("/genai.json", "/litellm.json", "/api/v1/models"):
            router = {"data": services.router_models}
            document = {"/genai.json": services.genai, "/litellm.json": services.litellm}
            self._json(document.get(path, router))
        else:
            self._send(Reply(404))

    def _hub(self, services: Services, query: dict[str, str]) -> None:
        start = int(query.get("cursor", "0"))
        size = services.page_size or int(query["limit"])
        author = query.get("author")
        mine = [
            one
            for one in services.hub
            if author is None or str(one["id"]).lower().startswith(author.lower() + "/")
        ]
        headers = {}
        if start + size < len(mine):
            following = urlencode({**query, "cursor": start + size})
            # another host: a mirror passes on what it got, and must not be left for it
            headers["Link"] = f'<https://huggingface.co/api/models?{following}>; rel="next"'
        self._json(mine[start : start + size], headers)

    def _modelscope(self, services: Services, query: dict[str, str]) -> None:
        mine = services.modelscope.get(query["owner"], [])
        number, size = int(query["page_number"]), int(query["page_size"])
        if number * size > 3000:
            return self._send(Reply(400, b'{"success": false, "message": "too deep"}'))
        page = mine[(number - 1) * size : number * size]
        data = {"models": page, "total_count": len(mine), "page_number": number}
        self._json({"success": True, "request_id": "x", "data": data})

    def _rankings(self, services: Services, query: dict[str, str]) -> None:
        if self.headers.get("Authorization") != f"Bearer {CONCEALED}":
            return self._send(Reply(401, b'{"error": {"message": "no key"}}'))
        first, last = query["start_date"], query["end_date"]
        rows = [row for row in services.rankings if first <= str(row["date"]) <= last]
        meta = {"as_of": f"{last}T02:00:00Z", "version": "v1"}
        self._json({"data": rows, "meta": meta})

    def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
        self._send(Reply(body=json.dumps(value).encode(), headers=headers or {}))

    def _send(self, reply: Reply) -> None:
        services = self.server.services
        self.send_response(reply.status)
        length = len(reply.body) if reply.length is None else reply.length
        self.send_header("Content-Length", str(length))
        if services.limit:
            self.send_header("RateLimit", services.limit.pop(0))
            self.send_header("RateLimit-Policy", '"fixed window";"api";q=500;w=300')
        for key, value in reply.headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = reply.length is not None


def _export(rows: list[dict[str, object]]) -> bytes:
    lines = ["date,model_permaslug,rank,total_tokens,share_of_daily_tokens"]
    lines += [f"{row['date']},{row['model_permaslug']},1,{row['total_tokens']},0.1" for row in rows]
    return "\n".join(lines).encode()
