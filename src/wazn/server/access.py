"""Who may ask: loopback without a key, everywhere else and everyone with one.

Knows one key for the whole server. All routes demand it but the two that tell a supervisor of
processes whether this one lives, and those reveal nothing.
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from wazn.errors import BadRequest
from wazn.server.errors import Kind, RequestRefused, error_body, error_headers

PUBLIC_PATHS = frozenset({"/health", "/ready"})


def check_exposure(host: str, api_key: str | None) -> None:
    """BadRequest for an address that others can reach without a key, or a key that is no key."""
    if api_key is not None and not (api_key and api_key.isascii() and api_key.isprintable()):
        raise BadRequest("the API key must be one or more printable ASCII characters.")
    if api_key is None and not _is_loopback(host):
        raise BadRequest(
            f"--host {host} can be reached from other machines, and without an API key anyone "
            "there could use this server; give --api-key or set WAZN_API_KEY, or leave --host out."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class KeyCheck:
    """Lets requests with the key through to ``app``; the others get status 401."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PUBLIC_PATHS or self._has_key(scope):
            await self._app(scope, receive, send)
            return
        error = RequestRefused(
            "this server demands an API key; send it as 'Authorization: Bearer KEY'.",
            Kind(401, "authentication_error", "invalid_api_key"),
        )
        response = Response(
            error_body(error), 401, error_headers(error), media_type="application/json"
        )
        await response(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "")
        return hmac.compare_digest(given.encode("latin-1"), self._expected)
