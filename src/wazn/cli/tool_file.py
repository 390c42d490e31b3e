"""The file of ``--tools``: a JSON list of functions, as OpenAI's API takes them.

Reads the file and no more; whether the tools make sense is checked where they are used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wazn.errors import BadRequest

MAX_FILE_BYTES = 8 << 20


def read_tools(path: Path) -> list[Any]:
    """The tools in a file; BadRequest when it cannot be read, or holds no JSON list."""
    if path.exists() and not path.is_file():  # opening a named pipe would wait for ever
        raise BadRequest(f"--tools: '{path}' is not a file.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadRequest(f"--tools: '{path}' cannot be read: {error.strerror}.") from None
    if len(content) > MAX_FILE_BYTES:
        raise BadRequest(f"--tools: '{path}' is longer than {MAX_FILE_BYTES >> 20} MiB.")
    try:
        tools = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"--tools: '{path}' is not JSON: {error}.") from None
    if not isinstance(tools, list):
        raise BadRequest(f"--tools: '{path}' must hold a list of tools.")
    return tools
