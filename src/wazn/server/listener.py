"""The server as a process: its socket, its signals, and how it ends.

SIGTERM and SIGINT drain: what is running finishes, what arrives is answered with 503, and within
20 s the process is gone. A second signal ends it at once. Knows uvicorn, and nothing of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from wazn.errors import BadRequest, EngineFailed
from wazn.server.app import create_app
from wazn.server.served_models import ServedModels

DRAIN_S = 16.0  # of the 20 s that an orchestrator may wait
_LAST_EVENTS_S = 2  # for clients to read how their request ended
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Serving:
    """How to serve: the open socket, the key if there is one, and what to do once ready."""

    listener: socket.socket
    api_key: str | None = None
    lenient: bool = False
    drain_s: float = DRAIN_S
    on_ready: Callable[[], None] = lambda: None


def open_listener(host: str, port: int) -> socket.socket:
    """A listening socket; BadRequest in one sentence if the address cannot be had."""
    if not 0 <= port <= 65535:
        raise BadRequest(f"--port {port} is not a port; it must be from 0 to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol left at 0, asyncio would not set TCP_NODELAY, and each answer on a
    # connection that is kept alive would wait 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        return listener
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise BadRequest(
                f"port {port} of {host} is in use by another program; choose another with --port."
            ) from None
        raise BadRequest(f"cannot listen on {host}, port {port}: {error.strerror}.") from None


def address_of(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(models: ServedModels, serving: Serving) -> None:
    """Serves until a signal; EngineFailed if a model cannot be loaded. Closes the socket."""
    async with models:
        app = create_app(models, api_key=serving.api_key, lenient=serving.lenient)
        server = DrainingServer(app, models, serving.drain_s)
        announcement = asyncio.create_task(_announce(models, serving, server))
        try:
            await server.serve(sockets=[serving.listener])
        finally:
            announcement.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await announcement


async def _announce(models: ServedModels, serving: Serving, server: DrainingServer) -> None:
    try:
        await models.until_ready()
    except EngineFailed:
        if server.is_draining:  # the model was not awaited to the end
            return
        server.should_exit = True
        raise
    serving.on_ready()


class DrainingServer(uvicorn.Server):
    """uvicorn that keeps answering while what is running finishes."""

    def __init__(self, app: ASGIApp, models: ServedModels, drain_s: float) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_LAST_EVENTS_S,
        )
        super().__init__(config)
        self._models = models
        self._drain_s = drain_s
        self._num_signals = 0
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Takes note of a signal; ``on_tick`` acts on it a moment later."""
        self._num_signals += 1

    @property
    def is_draining(self) -> bool:
        """Whether the end has begun."""
        return self._draining is not None

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn every 0.1 s; true ends the server."""
        if self._num_signals >= 1 and self._draining is None:
            self.drain()
        if self._num_signals >= 2:
            self.should_exit = self.force_exit = True
        return await super().on_tick(counter)

    def drain(self) -> None:
        """Begins to end: the server stops when the models are drained."""
        self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        await self._models.drain(self._drain_s)
        self.should_exit = True
