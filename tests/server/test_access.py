"""Loopback without a key, everything else with one."""

from collections.abc import Iterator

import pytest
from openai import AuthenticationError

from tests.server.serve_fake import Options
from tests.server.serving import Server, ask, running
from wazn.errors import BadRequest
from wazn.server.access import check_exposure


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    check_exposure(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org", ""])
def test_other_addresses_are_refused_without_a_key(host: str) -> None:
    with pytest.raises(BadRequest, match="WAZN_API_KEY"):
        check_exposure(host, None)
    check_exposure(host, "secret")


@pytest.mark.parametrize("api_key", ["", "clé", "two\nlines"])
def test_a_key_that_no_header_could_carry_is_refused(api_key: str) -> None:
    with pytest.raises(BadRequest, match="printable ASCII"):
        check_exposure("127.0.0.1", api_key)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A lenient server of two models that demands a key."""
    options = Options(models=["one", "two"], api_key="secret", lenient=True)
    with running(options) as server:
        yield server


def test_with_a_key_only_health_and_readiness_are_public(guarded: Server) -> None:
    for value in [b"", b"Bearer wrong", b"secret", "Bearer clé".encode("latin-1")]:
        for path in ["/v1/models", "/v1/chat/completions", "/v1/nothing", "/docs"]:
            response = guarded.get(path, headers={b"authorization": value})
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["error"]["type"] == "authentication_error"
    assert guarded.get("/health").status_code == 200
    assert guarded.get("/ready").status_code == 200
    assert guarded.post(ask("hello")).status_code == 401
    with guarded.client("wrong") as client, pytest.raises(AuthenticationError):
        client.models.list()


def test_with_the_key_every_model_answers(guarded: Server) -> None:
    with guarded.client("secret") as client:
        names = [model.id for model in client.models.list()]
        answers = [
            client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "hello"}]
            )
            for name in names
        ]
    assert names == ["one", "two"]
    assert [answer.model for answer in answers] == names


def test_a_lenient_server_answers_and_says_what_it_ignored(guarded: Server) -> None:
    body = ask("hello", temprature=1) | {"model": "one"}
    response = guarded.post(body, headers={"authorization": "Bearer secret"})
    assert response.status_code == 200
    assert response.headers["x-wazn-ignored"] == "temprature"
