"""One server of the fake model for all tests that leave it as it is."""

from collections.abc import Iterator

import pytest

from tests.server.serve_fake import Options
from tests.server.serving import Server, running


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that no test may stop or break."""
    with running(Options()) as server:
        yield server
