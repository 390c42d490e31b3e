"""HTTP to one public service: patient, within the service's own limits, and never fooled.

A response comes back whole or as an error that says what was wrong with it: statuses, lost
connections, more bytes than any answer has. Knows nothing of what bodies mean.
"""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import certifi
import httpx

from wazn.errors import FetchError
from wazn.weigh.sources.rate_limit import allowance, retry_after_s

MAX_BODY_BYTES = 32 << 20
"""A thousand repositories of the Hub with all their fields are about 4 MB."""

LONGEST_WAIT_S = 900.0
"""A service that asks for more patience than this is asked again by its user, later."""

LONGEST_BODY_S = 600.0
"""A body that takes longer is being dripped."""

_ATTEMPTS = 5
_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 30.0
_MARGIN_S = 1.0  # servers state whole seconds, rounded down
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Service:
    """A public service: its name, its address, the variable that sets another address, and what
    is sent along with every request."""

    title: str
    endpoint: str
    variable: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """A body as it came, and the address of the next page where the headers name one."""

    body: bytes
    content_type: str
    next_url: str | None
    captured_at: datetime


class Refused(FetchError):
    """The service answered with a status that no patience changes; `status` is it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AskedToPause(FetchError):
    """The service wants to be left alone for longer than a command waits."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a client waits: replaced in tests. `say` gets a clause whenever a wait is long."""

    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    say: Callable[[str], None] = lambda clause: None


class Client:
    """A connection pool to one service. Close it after use."""

    def __init__(self, service: Service, pace: Pace) -> None:
        self.service = service
        self._pace = pace
        self._wait_s = 0.0
        try:
            self._http = httpx.Client(
                headers={"User-Agent": "wazn", **service.headers},
                timeout=httpx.Timeout(60.0, connect=15.0),
                follow_redirects=True,
                max_redirects=4,
                verify=_certificates(),
            )
        except (ImportError, ValueError, OSError) as error:
            raise FetchError(
                f"The proxy or certificate settings of the environment are not usable: {error}."
            ) from error

    def close(self) -> None:
        self._http.close()

    def get(self, url: str) -> Response:
        """GET one document, waiting when the service asks for it and trying again after faults
        that pass.

        Raises Refused for statuses that stay, FetchError for everything else.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            self._keep_the_limit()
            try:
                return self._attempt(url)
            except _Passing as fault:
                if attempt == _ATTEMPTS:
                    raise FetchError(str(fault)) from fault
                backoff = min(_BACKOFF_S * 2 ** (attempt - 1), _LONGEST_BACKOFF_S)
                self._wait_s = max(self._wait_s, backoff, fault.wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, url: str) -> Response:
        try:
            with self._http.stream("GET", url) as response:
                self._note_the_limit(response)
                self._check(response)
                return Response(
                    self._body(response),
                    response.headers.get("Content-Type", ""),
                    _next_url(response),
                    self._pace.now(),
                )
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Passing(self._unreachable(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchError(f"{self.service.title} cannot be followed: {error}.") from error

    def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        deadline = time.monotonic() + LONGEST_BODY_S
        for piece in response.iter_bytes():
            body += piece
            if time.monotonic() > deadline:
                raise _Passing(f"{self.service.title} takes too long to answer {response.url}.")
            if len(body) > MAX_BODY_BYTES:
                raise FetchError(
                    f"{self.service.title} sent more than {MAX_BODY_BYTES >> 20} MiB for "
                    f"{response.request.url}. Check the address ({self.service.variable})."
                )
        return bytes(body)

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status < 300:
            return
        message = f"{self.service.title} answered {status} {response.reason_phrase} for "
        message += f"{response.request.url.copy_with(query=None)}."
        if status in _PASSING_STATUSES:
            asked = retry_after_s(response.headers, self._pace.now())
            raise _Passing(message, 0.0 if asked is None else asked + _MARGIN_S)
        raise Refused(message, status)

    def _note_the_limit(self, response: httpx.Response) -> None:
        stated = allowance(response.headers)
        if stated is not None and stated.remaining == 0:
            self._wait_s = stated.reset_s + _MARGIN_S

    def _keep_the_limit(self) -> None:
        """Wait for as long as the service has asked for."""
        wait_s, self._wait_s = self._wait_s, 0.0
        if wait_s > LONGEST_WAIT_S:
            raise AskedToPause(
                f"{self.service.title} asks for a pause of {wait_s / 60:.0f} minutes. Run the same "
                "command then: it continues where it stopped."
            )
        if wait_s > 0:
            if wait_s > _LONGEST_BACKOFF_S:
                self._pace.say(f"{self.service.title} asks for a pause of {wait_s:.0f} s")
            self._pace.sleep(wait_s)

    def _unreachable(self, error: httpx.HTTPError) -> str:
        reason = str(error) or type(error).__name__
        return (
            f"{self.service.title} at {self.service.endpoint} cannot be reached: {reason}. Check "
            f"the connection and HTTPS_PROXY, or name a mirror with {self.service.variable}."
        )


class _Passing(Exception):
    """A fault that may be gone at the next attempt; `wait_s` is how long the server asked for."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def _next_url(response: httpx.Response) -> str | None:
    """The page that follows, of the `Link` header with `rel="next"`."""
    target = response.links.get("next", {}).get("url")
    return None if target is None else str(response.request.url.join(target))


@functools.cache  # reading hundreds of certificates takes 70 ms
def _certificates() -> ssl.SSLContext:
    """The machine's own certificates, where companies add theirs, and certifi's besides."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
