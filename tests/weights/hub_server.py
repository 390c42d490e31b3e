"""A server on this machine that speaks the protocols of the Hugging Face Hub and of ModelScope.

It holds repositories in memory, notes every request, and misbehaves on demand: it drops
connections, stalls, answers error statuses, ignores ranges, redirects bytes to a second host and
refuses those without the right token. It also answers as a forward proxy for any host name.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from wazn.settings import Settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """Files of one repository. Weights have a SHA-256, the others only a git id."""

    files: dict[str, bytes]
    commit: str = COMMIT
    token: str | None = None
    license: str = "apache-2.0"

    def is_lfs(self, name: str) -> bool:
        return name.endswith((".gguf", ".safetensors", ".bin"))


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; `path` has no query."""

    host: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Faults:
    """How the server misbehaves. Counts go down as faults are spent."""

    statuses: list[int] = field(default_factory=list)  # answers to the next requests
    retry_after: str | None = None  # sent with the statuses
    drops: list[int] = field(default_factory=list)  # bytes of content before the connection ends
    stall_after: int | None = None  # bytes of content before nothing more comes
    ignores_ranges: bool = False
    shifts_ranges: bool = False
    partial_as_200: bool = False  # what ModelScope really does
    corrupts: bool = False
    extra_bytes: int = 0
    redirect_to: str | None = None  # another host for content
    sizes: dict[str, object] = field(default_factory=dict)  # lies of the listing
    digests: dict[str, str | None] = field(default_factory=dict)
    listing: bytes | None = None  # sent instead of any listing
    ms_commit_hidden: bool = False


class HubServer:
    """Both hubs at one loopback address, `url`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.seen: list[Seen] = []
        self.faults = Faults()
        self.prefix = ""  # of every path, as mirrors have it
        self.released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def content_requests(self) -> list[Seen]:
        """Requests for the bytes of files."""
        return [seen for seen in self.seen if "/resolve/" in seen.path or "FilePath" in seen.query]


@contextmanager
def running_hub() -> Iterator[HubServer]:
    hub = HubServer()
    try:
        yield hub
    finally:
        hub.close()


def settings_for(home: Path, url: str, *, token: str | None = None) -> Settings:
    """Settings with both hubs at `url`, as if nothing else were set."""
    return Settings(
        home=home,
        cache=home / "cache",
        cache_limit=None,
        hf_endpoint=url,
        ms_endpoint=url,
        ollama_endpoint=url,
        openrouter_endpoint=url,
        genai_prices_address=url,
        litellm_prices_address=url,
        hf_token=token,
        ms_token=token,
        openrouter_token=token,
        offline=False,
        pin=False,
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    hub: HubServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        host = parts.netloc or headers.get("host", "")
        hub = self.server.hub
        seen = Seen(host, unquote(parts.path).removeprefix(hub.prefix), query, headers)
        hub.seen.append(seen)
        if not parts.path.startswith(hub.prefix):
            return self._answer(404, b"")
        if hub.faults.statuses:
            wait = {"Retry-After": hub.faults.retry_after} if hub.faults.retry_after else {}
            return self._answer(hub.faults.statuses.pop(0), b"", wait)
        self._route(seen)

    def _route(self, seen: Seen) -> None:
        routes = (
            (r"/api/models/([^/]+/[^/]+)/revision/(.+)", self._hf_listing),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._hf_content),
            (r"/api/v1/models/([^/]+/[^/]+)/repo/files", self._ms_listing),
            (r"/api/v1/models/([^/]+/[^/]+)/repo", self._ms_content),
        )
        for pattern, answer in routes:
            if match := re.fullmatch(pattern, seen.path):
                repository = self.server.hub.repositories.get(match[1])
                if repository is None:
                    return self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
                return answer(seen, repository, *match.groups()[1:])
        self._answer(404, b"")

    def _hf_listing(self, seen: Seen, repository: Repository, revision: str) -> None:
        if revision not in ("main", repository.commit):
            return self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        faults = self.server.hub.faults
        siblings: list[dict[str, object]] = []
        for name, content in repository.files.items():
            size = faults.sizes.get(name, len(content))
            sha256 = faults.digests.get(name, hashlib.sha256(content).hexdigest())
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entry: dict[str, object] = {"rfilename": name, "size": size, "blobId": blob}
            if name in faults.digests and sha256 is None:
                del entry["blobId"]
            elif repository.is_lfs(name):
                entry["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 130}
            siblings.append(entry)
        self._json(
            {
                "sha": repository.commit,
                "gated": "auto" if repository.token else False,
                "cardData": {"license": repository.license},
                "siblings": siblings,
            }
        )

    def _hf_content(self, seen: Seen, repository: Repository, revision: str, name: str) -> None:
        asked = seen.headers.get("authorization")
        if repository.token and asked != f"Bearer {repository.token}":
            status = 403 if asked else 401
            return self._answer(status, b"", {"X-Error-Code": "GatedRepo"})
        if revision != repository.commit or name not in repository.files:
            return self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        if redirect := self.server.hub.faults.redirect_to:
            return self._answer(302, b"", {"Location": f"{redirect}{self.path}"})
        self._content(seen, repository.files[name])

    def _ms_listing(self, seen: Seen, repository: Repository) -> None:
        if seen.query.get("Revision") not in ("master", repository.commit):
            return self._json({"Code": 10010205, "Success": False, "Message": "no such revision"})
        faults = self.server.hub.faults
        hidden = faults.ms_commit_hidden
        files: list[dict[str, object]] = [{"Path": "docs", "Type": "tree", "Size": 0}]
        for name, content in repository.files.items():
            if "/" in name and seen.query.get("Recursive") != "True":
                continue
            files.append(
                {
                    "Path": name,
                    "Name": name.rsplit("/", 1)[-1],
                    "Type": "blob",
                    "Size": faults.sizes.get(name, len(content)),
                    "Sha256": faults.digests.get(name, hashlib.sha256(content).hexdigest()),
                    "Revision": "" if hidden else repository.commit,
                }
            )
        latest = {"Id": "", "ShortId": repository.commit[:8]}
        data = {"Files": files, "LatestCommitter": latest}
        self._json({"Code": 200, "Success": True, "Data": data})

    def _ms_content(self, seen: Seen, repository: Repository) -> None:
        if repository.token and repository.token not in seen.headers.get("cookie", ""):
            return self._answer(403, b"")
        if seen.query.get("Revision") not in ("master", repository.commit):
            return self._answer(404, b"")
        if redirect := self.server.hub.faults.redirect_to:
            return self._answer(302, b"", {"Location": f"{redirect}{self.path}"})
        self._content(seen, repository.files[seen.query["FilePath"]])

    def _content(self, seen: Seen, content: bytes) -> None:
        faults = self.server.hub.faults
        if faults.corrupts:
            content = bytes(byte ^ 1 for byte in content)
        content += b"x" * faults.extra_bytes
        start, status, headers = 0, 200, {"Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-", seen.range or "")
        if asked and not faults.ignores_ranges:
            start = int(asked[1]) + (1 if faults.shifts_ranges else 0)
            if start >= len(content):
                return self._answer(416, b"")
            status = 200 if faults.partial_as_200 else 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(status, len(content) - start, headers)
        if faults.drops:
            self.wfile.write(content[start : start + faults.drops.pop(0)])
        elif faults.stall_after is not None:
            self.wfile.write(content[start : start + faults.stall_after])
            self.wfile.flush()
            self.server.hub.released.wait(30)
        else:
            self.wfile.write(content[start:])
        self.close_connection = True

    def _json(self, answer: object) -> None:
        listing = self.server.hub.faults.listing
        self._answer(200, json.dumps(answer).encode() if listing is None else listing)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._head(status, len(body), headers or {})
        self.wfile.write(body)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()


class Recorder:
    """A progress that notes what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def start(self, name: str, total_bytes: int | None, already: int) -> None:
        self.told.append(("start", name, total_bytes, already))

    def advance(self, num_bytes: int) -> None:
        self.told.append(("advance", num_bytes))

    def finish(self) -> None:
        self.told.append(("finish",))

    def tasks(self) -> list[tuple[str, int | None, int, int]]:
        """Name, total, bytes already there and bytes advanced of each task."""
        tasks: list[tuple[str, int | None, int, int]] = []
        for kind, *values in self.told:
            if kind == "start":
                name, total, already = values
                assert isinstance(name, str) and isinstance(already, int)
                assert total is None or isinstance(total, int)
                tasks.append((name, total, already, 0))
            elif kind == "advance":
                name, total, already, advanced = tasks[-1]
                assert isinstance(values[0], int)
                tasks[-1] = (name, total, already, advanced + values[0])
        return tasks
