"""One end of the connection to a worker: a ZeroMQ pair socket read by the event loop.

Knows sockets and nothing of what the messages mean. Sending never waits: what may be under way is
bounded by the number of open requests, so that nothing here needs a second bound.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import zmq

from wazn.engine.protocol import ServerMessage, encode
from wazn.errors import StorageError

SOCKET_PATH_BYTES = 107  # sun_path of unix(7) on Linux, without its end

Context: TypeAlias = zmq.Context[zmq.Socket[bytes]]


class Channel:
    """A socket at ``path`` for one worker, read from ``listen`` on.

    The folder of ``path`` has to be private: whoever reaches the socket may speak as the worker.
    """

    def __init__(self, path: Path, context: Context) -> None:
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise StorageError(
                f"the path of the worker's socket, {path}, is longer than {SOCKET_PATH_BYTES} "
                "bytes, the system's limit; set TMPDIR to a folder with a shorter name."
            )
        self.endpoint = f"ipc://{path}"
        self._path = path
        self._on_frame: Callable[[bytes], None] | None = None
        self._socket = context.socket(zmq.PAIR)
        self._socket.sndhwm = 0
        self._socket.linger = 0
        self._socket.bind(self.endpoint)
        self._loop = asyncio.get_running_loop()
        self._descriptor = self._socket.fileno()

    def listen(self, on_frame: Callable[[bytes], None]) -> None:
        """Calls ``on_frame`` with each message, undecoded, as it arrives."""
        self._on_frame = on_frame
        self._loop.add_reader(self._descriptor, self._receive)
        self._loop.call_soon(self._receive)

    def send(self, message: ServerMessage) -> None:
        """Hands a message over for delivery."""
        self._socket.send(encode(message), zmq.NOBLOCK)
        # Sending may consume the signal that something has arrived (see ZMQ_FD in zmq_getsockopt).
        self._loop.call_soon(self._receive)

    def close(self) -> None:
        """Forgets what is under way."""
        self._loop.remove_reader(self._descriptor)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _receive(self) -> None:
        while self._on_frame and not self._socket.closed and self._socket.poll(0):
            self._on_frame(self._socket.recv())
