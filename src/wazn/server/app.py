"""The routes, and the answers to whatever goes wrong in them.

``/health`` says that the process lives and ``/ready`` that every model takes requests; both answer
from memory alone. The interactive documentation of FastAPI is off: its pages load from elsewhere.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from wazn.errors import WaznError
from wazn.server.access import KeyCheck
from wazn.server.chat_completions import ChatCompletions
from wazn.server.errors import Kind, RequestRefused, error_body, error_headers, kind_of
from wazn.server.served_models import ServedModels

_CLIENT_CLOSED_REQUEST = 499  # nobody reads it


def create_app(models: ServedModels, *, api_key: str | None, lenient: bool) -> ASGIApp:
    """The ASGI application over these models; with ``api_key``, all but two routes demand it."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    status = _Status(models)
    chat_completions = ChatCompletions(models, lenient=lenient)
    app.add_api_route("/health", status.health, methods=["GET"], response_model=None)
    app.add_api_route("/ready", status.ready, methods=["GET"], response_model=None)
    app.add_api_route("/v1/models", status.models, methods=["GET"], response_model=None)
    app.add_api_route(
        "/v1/chat/completions", chat_completions.create, methods=["POST"], response_model=None
    )
    app.add_exception_handler(WaznError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_error)
    return app if api_key is None else KeyCheck(app, api_key)


class _Status:
    """The routes that say how the server is."""

    def __init__(self, models: ServedModels) -> None:
        self._models = models

    async def health(self) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self) -> Response:
        if self._models.are_ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, 503)

    async def models(self) -> Response:
        entries: list[dict[str, Any]] = [
            {
                "id": name,
                "object": "model",
                "created": self._models.started_at,
                "owned_by": "wazn",
            }
            for name in self._models.names
        ]
        return JSONResponse({"object": "list", "data": entries})


async def _answer_error(request: Request, error: Exception) -> Response:
    return Response(
        error_body(error), kind_of(error).status, error_headers(error), "application/json"
    )


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """No such route, or not with this method."""
    assert isinstance(error, HTTPException)
    kind = Kind(error.status_code, "invalid_request_error", "unknown_url")
    refusal = RequestRefused(f"{request.method} {request.url.path} is not served here.", kind)
    response = await _answer_error(request, refusal)
    response.headers.update(error.headers or {})
    return response


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED_REQUEST)
