"""Reading request bodies, and noticing that a client has left.

Knows how much a body may hold and nothing of what is in it. A body that is too large is read to
its end, within reason, and thrown away: a client that is still sending would not see the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from wazn.server.errors import Kind, RequestRefused

MAX_BODY_BYTES = 4 * 2**20  # a million tokens of English
_MAX_DISCARDED_BYTES = 16 * MAX_BODY_BYTES

Result = TypeVar("Result")


async def read_body(request: Request) -> bytes:
    """The whole body; RequestRefused with status 413 above ``MAX_BODY_BYTES``."""
    parts: list[bytes] = []
    num_bytes = 0
    async for part in request.stream():
        num_bytes += len(part)
        if num_bytes > _MAX_DISCARDED_BYTES:
            break
        if num_bytes > MAX_BODY_BYTES:
            parts.clear()
        else:
            parts.append(part)
    if num_bytes > MAX_BODY_BYTES:
        raise RequestRefused(
            f"the body is larger than {MAX_BODY_BYTES} bytes, the most this server reads.",
            Kind(413, "invalid_request_error", "request_too_large"),
        )
    return b"".join(parts)


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of ``work``; it is cancelled, and ClientDisconnect raised, if the client leaves.

    To be called after the body has been read.
    """
    task = asyncio.create_task(work)
    departure = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, departure}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        departure.cancel()
        await asyncio.gather(task, departure, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
