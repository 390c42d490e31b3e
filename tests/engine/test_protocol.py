"""Messages survive the journey, and what is not one of them is a clear error."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazn.engine.params import SamplingParams
from wazn.engine.protocol import (
    PROTOCOL_VERSION,
    Cancelled,
    Hello,
    Load,
    ScoredToken,
    Submit,
    TextIncrement,
    Token,
    TokenText,
    check_version,
    decode_server_message,
    decode_worker_message,
    encode,
)
from wazn.engine.request import Usage
from wazn.errors import EngineFailed


def test_a_submission_arrives_as_it_was_sent() -> None:
    params = SamplingParams(
        max_tokens=5, logit_bias={3: -1.5}, stop=["a", "b"], stop_token_ids=[7], seed=2**64 - 1
    )
    message = Submit("id", [{"role": "user", "content": "مرحبا"}], params, {"deep": [1, None]})
    assert decode_server_message(encode(message)) == message


def test_increments_arrive_as_they_were_sent() -> None:
    token = TokenText(" �", b" \xc3", -float("inf"))
    increment = TextIncrement(
        "id", 1, "text", "thought", [ScoredToken(token, [token])], "stop", Usage(1, 2, 1, 0, 0, 0)
    )
    message = Token([increment, TextIncrement("other", 0, "", "")])
    assert decode_worker_message(encode(message)) == message


def test_a_later_version_may_add_fields_to_the_handshake() -> None:
    raw = msgspec.msgpack.encode({"type": "hello", "protocol": 9, "new": True})
    assert decode_worker_message(raw) == Hello(9)


def test_another_version_is_refused_with_both_numbers() -> None:
    check_version("worker", PROTOCOL_VERSION)
    with pytest.raises(EngineFailed, match=f"version 9 .* version {PROTOCOL_VERSION}"):
        check_version("worker", 9)


def test_messages_of_the_other_direction_are_refused() -> None:
    with pytest.raises(EngineFailed, match="server process"):
        decode_server_message(encode(Cancelled("id")))
    with pytest.raises(EngineFailed, match="worker process"):
        decode_worker_message(encode(Load(PROTOCOL_VERSION, "model")))


@given(st.binary(max_size=40))
def test_no_bytes_are_worse_than_an_error(frame: bytes) -> None:
    with pytest.raises(EngineFailed):
        decode_worker_message(frame)
    with pytest.raises(EngineFailed):
        decode_server_message(frame)
