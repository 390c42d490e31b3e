"""What a hostile file must meet: one clear error, at once, without a large allocation."""

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from wazn.errors import WaznError

MAX_SECONDS = 1.0
MAX_BYTES = 20_000_000


def refuses(
    kind: type[WaznError], open_file: Callable[[Path], object], path: Path, *fragments: str
) -> str:
    """Check that opening ``path`` raises exactly ``kind``, naming each of ``fragments``.

    The message is one printable line that says what to do, made within a second and 20 MB.
    """
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(WaznError) as caught:
            open_file(path)
        seconds = time.perf_counter() - started
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert caught.type is kind, message
    assert message.isprintable() and len(message) < 600, message
    assert str(path.parent) in message
    for fragment in fragments:
        assert fragment in message
    assert seconds < MAX_SECONDS
    assert peak_bytes < MAX_BYTES
    return message
