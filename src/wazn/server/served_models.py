"""The models one server offers, each behind the supervisor of its worker.

Knows names and which of them are ready; owns the private folder of the workers' sockets. Names are
what clients ask for: the reference as it was given, or a path's last part, because where a file
lies is nobody else's business.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import time
from types import TracebackType

import zmq

from wazn.engine.protocol import Load
from wazn.engine.supervisor import Supervisor, WorkerSettings
from wazn.errors import BadRequest
from wazn.server.errors import Kind, RequestRefused


class ServedModels:
    """Starts one worker a model on entry (``async with``), and ends them all on exit."""

    def __init__(self, loads: Sequence[Load], settings: WorkerSettings) -> None:
        self._loads = {served_name(load.model): load for load in loads}
        if len(self._loads) < len(loads):
            names = ", ".join(served_name(load.model) for load in loads)
            raise BadRequest(f"two of the models would have the same name ({names}); serve one.")
        self._settings = settings
        self._supervisors: dict[str, Supervisor] = {}
        self.started_at = int(time())

    async def __aenter__(self) -> ServedModels:
        self._directory = Path(tempfile.mkdtemp(prefix="wazn-"))  # mode 0700
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        for name, load in self._loads.items():
            self._supervisors[name] = Supervisor(
                name, load, self._directory, self._context, self._settings
            )
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(supervisor.close() for supervisor in self._supervisors.values()))
        self._context.term()
        shutil.rmtree(self._directory)

    @property
    def names(self) -> list[str]:
        """The names clients may ask for, in the order given."""
        return list(self._loads)

    @property
    def are_ready(self) -> bool:
        """Whether every model can take a request now."""
        return all(supervisor.state == "ready" for supervisor in self._supervisors.values())

    async def until_ready(self) -> None:
        """Waits until all models are loaded; EngineFailed if one cannot be."""
        await asyncio.gather(*(s.until_ready() for s in self._supervisors.values()))

    def find(self, name: str) -> Supervisor:
        """The model of this name; RequestRefused with status 404 and the names there are."""
        supervisor = self._supervisors.get(name)
        if supervisor is None:
            served = ", ".join(f"'{known}'" for known in self._loads)
            raise RequestRefused(
                f"the model '{name[:64]}' is not served here; this server has {served}.",
                Kind(404, "invalid_request_error", "model_not_found", "model"),
            )
        return supervisor

    async def drain(self, timeout_s: float) -> None:
        """Takes no new requests and lets the open ones finish, for so many seconds at most."""
        await asyncio.gather(*(s.drain(timeout_s) for s in self._supervisors.values()))


def served_name(reference: str) -> str:
    """The name of a model among clients."""
    path = Path(os.path.expanduser(reference))
    return path.resolve().name if path.exists() else reference
