"""The public series that tests may use: beside the checkout, and not part of it."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent.parent.parent / "shared" / "data"


def shared_data(name: str) -> Path:
    """The path of a data file; skips the test, saying so, on a machine that has no such folder."""
    if not FOLDER.is_dir():
        pytest.skip(f"the folder of public series, {FOLDER}, is absent")
    return FOLDER / name
