"""HTTP to one public service: certificates, proxies, patience, and errors in plain words.

Knows statuses and connections; knows nothing of any hub's protocol. A token travels only to the
service's own address: httpx drops Authorization when a redirect leaves the origin, and drops an
explicit Cookie header on every redirect.
"""

from __future__ import annotations

import functools
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import certifi
import httpx

from wazn.errors import FetchError

BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 10.0
_LONGEST_RETRY_AFTER_S = 60.0
_METADATA_ATTEMPTS = 4
_METADATA_BYTES = 64 << 20
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Service:
    """A public service: its name, its address, and the variable that sets another address."""

    title: str
    endpoint: str
    variable: str


class Refusal(FetchError):
    """The service answered with an error status; `code` is the hub's own name for it."""

    def __init__(self, message: str, response: httpx.Response) -> None:
        super().__init__(message)
        self.status = response.status_code
        self.code = response.headers.get("X-Error-Code", "")


class PassingFault(FetchError):
    """A fault that may be gone at the next attempt; `wait_s` is how long the server asked for."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Patience:
    """Waits between attempts, longer each time, and gives up after `attempts` in a row."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self._failures = 0

    def renew(self) -> None:
        """Something was achieved: start counting anew."""
        self._failures = 0

    def wait(self, fault: PassingFault) -> None:
        self._failures += 1
        if self._failures >= self._attempts:
            raise FetchError(str(fault)) from fault
        backoff = min(BACKOFF_S * 2 ** (self._failures - 1), _LONGEST_BACKOFF_S)
        time.sleep(max(backoff, fault.wait_s))


class Session:
    """A connection pool to one service. Close it after use."""

    def __init__(self, service: Service, headers: Mapping[str, str]) -> None:
        self.service = service
        # identity: sizes, ranges and digests are about the bytes of the file itself
        fixed = {"User-Agent": "wazn", "Accept-Encoding": "identity"}
        try:
            self._client = httpx.Client(
                headers={**fixed, **headers},
                timeout=httpx.Timeout(30.0, connect=15.0),
                follow_redirects=True,
                max_redirects=8,
                verify=_certificates(),
            )
        except (ImportError, ValueError, OSError) as error:
            raise FetchError(
                f"The proxy or certificate settings of the environment are not usable: {error}."
            ) from error

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def stream(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """GET a body piece by piece.

        Raises PassingFault for what may be gone next time, Refusal for other error statuses.
        """
        try:
            with self._client.stream("GET", url, headers=dict(headers)) as response:
                self._check(response)
                yield response
        except httpx.TransportError as error:
            raise PassingFault(self._unreachable(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchError(f"{self.service.title} cannot be followed: {error}.") from error

    def json(self, url: str) -> object:
        """GET a JSON document of at most 64 MiB, trying again after passing faults."""
        patience = Patience(_METADATA_ATTEMPTS)
        while True:
            try:
                body = self._body(url)
                break
            except PassingFault as fault:
                patience.wait(fault)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise FetchError(
                f"{url} did not answer with JSON. Check the address ({self.service.variable})."
            ) from None

    def _body(self, url: str) -> bytes:
        body = bytearray()
        with self.stream(url, {"Accept": "application/json"}) as response:
            for piece in response.iter_bytes():
                body += piece
                if len(body) > _METADATA_BYTES:
                    raise FetchError(f"{url} answered with more than {_METADATA_BYTES} bytes.")
        return bytes(body)

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status < 300:
            return
        message = f"{self.service.title} answered {status} {response.reason_phrase} for "
        message += f"{response.request.url.copy_with(query=None)}."
        if status in _PASSING_STATUSES:
            raise PassingFault(message, _retry_after(response))
        raise Refusal(message, response)

    def _unreachable(self, error: httpx.TransportError) -> str:
        reason = str(error) or type(error).__name__
        return (
            f"{self.service.title} at {self.service.endpoint} cannot be reached: {reason}. Check "
            f"the connection and HTTPS_PROXY, or name a mirror with {self.service.variable}."
        )


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_RETRY_AFTER_S) if text.isdecimal() else 0.0


@functools.cache  # reading hundreds of certificates takes 70 ms
def _certificates() -> ssl.SSLContext:
    """The machine's own certificates, where companies add theirs, and certifi's besides."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
