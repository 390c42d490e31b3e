"""Answers over a real socket, asked for with the official client."""

import httpx
import pytest
from openai import APIError, BadRequestError, NotFoundError
from openai.types.chat import ChatCompletionMessageParam

from tests.server.serve_fake import Options
from tests.server.serving import Server, ask, eventually, running
from wazn.server.replies import LEAST_LOGPROB

HELLO: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "Repeat."},
    {"role": "user", "content": "one two three"},
]


def say(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def test_a_whole_answer_has_text_usage_and_a_unique_id(server: Server) -> None:
    with server.client() as client:
        first = client.chat.completions.create(model="fake", messages=HELLO)
        second = client.chat.completions.create(model="fake", messages=HELLO)
    assert first.choices[0].message.content == " one two three"
    assert first.choices[0].message.role == "assistant"
    assert first.choices[0].finish_reason == "stop"
    assert first.usage is not None
    assert (first.usage.prompt_tokens, first.usage.completion_tokens) == (3, 3)
    assert first.usage.total_tokens == 6
    assert first.object == "chat.completion"
    assert first.created > 0
    assert first.id.startswith("chatcmpl-") and first.id != second.id


def test_a_stream_says_the_same_as_a_whole_answer(server: Server) -> None:
    with server.client() as client:
        whole = client.chat.completions.create(model="fake", messages=HELLO)
        chunks = list(
            client.chat.completions.create(
                model="fake",
                messages=HELLO,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] == "stop" and set(reasons[:-1]) == {None}
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_ends_with_done_and_has_no_usage_unless_asked(server: Server) -> None:
    lines = server.post(ask("one two", stream=True)).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert "usage" not in "".join(lines)


def test_n_answers_come_whole_and_streamed(server: Server) -> None:
    with server.client() as client:
        whole = client.chat.completions.create(model="fake", messages=HELLO, n=3)
        stream = client.chat.completions.create(model="fake", messages=HELLO, n=3, stream=True)
        texts = {0: "", 1: "", 2: ""}
        for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 9)
    assert set(texts.values()) == {" one two three"}


def test_logprobs_name_each_token_its_bytes_and_its_rivals(server: Server) -> None:
    with server.client() as client:
        answer = client.chat.completions.create(
            model="fake", messages=say("über alles"), logprobs=True, top_logprobs=2
        )
        stream = client.chat.completions.create(
            model="fake", messages=say("über alles"), logprobs=True, top_logprobs=2, stream=True
        )
        streamed = [
            token
            for chunk in stream
            if chunk.choices[0].logprobs
            for token in chunk.choices[0].logprobs.content or []
        ]
    assert answer.choices[0].logprobs is not None
    tokens = answer.choices[0].logprobs.content
    assert tokens is not None
    assert [token.token for token in tokens] == [" über", " alles"]
    assert tokens[0].bytes == list(" über".encode())
    assert tokens[0].logprob == -0.5
    assert [top.logprob for top in tokens[0].top_logprobs] == [-0.5, LEAST_LOGPROB]
    assert streamed == tokens


def test_logprobs_without_rivals_are_only_the_chosen_tokens(server: Server) -> None:
    reply = server.post(ask("one", logprobs=True)).json()
    assert reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    assert server.post(ask("one")).json()["choices"][0]["logprobs"] is None


def test_reasoning_is_apart_from_the_answer(server: Server) -> None:
    message = server.post(ask("think done")).json()["choices"][0]["message"]
    assert message["reasoning_content"] == "hmm"
    assert message["content"] == " done"
    assert '"delta":{"reasoning_content":"hmm"}' in server.post(ask("think a", stream=True)).text
    assert "reasoning_content" not in server.post(ask("done")).text


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_the_token_limit_are_honoured(server: Server, field: str) -> None:
    reply = server.post(ask("one two three", **{field: 2})).json()
    assert reply["choices"][0]["message"]["content"] == " one two"
    assert reply["choices"][0]["finish_reason"] == "length"


def test_template_variables_reach_the_template(server: Server) -> None:
    reply = server.post(ask("one", chat_template_kwargs={"shout": True})).json()
    assert reply["choices"][0]["message"]["content"] == " ONE"


def test_text_parts_are_joined_by_line_breaks(server: Server) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    reply = server.post(ask("x") | {"messages": [{"role": "user", "content": parts}]}).json()
    assert reply["choices"][0]["message"]["content"] == " one two"


def test_harmless_fields_are_listed_in_a_header(server: Server) -> None:
    body = ask("one", user="me", store=False, metadata={"a": "b"})
    body["messages"][0]["name"] = "Ada"
    response = server.post(body)
    assert response.status_code == 200
    assert response.headers["x-wazn-ignored"] == "user, store, metadata, messages.name"
    assert "x-wazn-ignored" not in server.post(ask("one")).headers
    assert server.post(ask("one", user="me", stream=True)).headers["x-wazn-ignored"] == "user"


def test_a_model_that_is_not_served_is_a_404_that_names_those_that_are(server: Server) -> None:
    with server.client() as client, pytest.raises(NotFoundError) as caught:
        client.chat.completions.create(model="gpt-9", messages=HELLO)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "'gpt-9'" in caught.value.message and "'fake'" in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_a_400_with_both_numbers(server: Server, stream: bool) -> None:
    with server.client() as client, pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="fake", messages=say("long 5000"), stream=stream)
    assert caught.value.code == "context_length_exceeded"
    assert "5000" in caught.value.message and "1000" in caught.value.message


def test_a_template_that_refuses_the_conversation_is_a_400(server: Server) -> None:
    response = server.post(ask("template"))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "chat_template_failed"


def test_a_fault_of_ours_is_a_500_that_keeps_its_details_to_itself(server: Server) -> None:
    response = server.post(ask("bug"))
    assert response.status_code == 500
    error = response.json()["error"]
    assert error["type"] == "server_error" and "ZeroDivision" not in error["message"]


def test_models_are_listed(server: Server) -> None:
    with server.client() as client:
        models = client.models.list().data
    assert [(model.id, model.owned_by) for model in models] == [("fake", "wazn")]


def test_health_and_readiness_reveal_nothing(server: Server) -> None:
    assert server.get("/health").json() == {"status": "ok"}
    assert server.get("/ready").json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/docs", 404), ("GET", "/v1/chat/completions", 405)],
)
def test_unknown_routes_answer_with_an_error_object(
    server: Server, method: str, path: str, status: int
) -> None:
    response = server.http.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["code"] == "unknown_url"


def num_cancelled(server: Server) -> int:
    text = server.post(ask("cancelled")).json()["choices"][0]["message"]["content"]
    return int(text.split()[0])


def test_closing_a_stream_cancels_the_work(server: Server) -> None:
    before = num_cancelled(server)
    with server.client() as client:
        stream = client.chat.completions.create(
            model="fake", messages=say("slow 100000"), stream=True
        )
        for _ in range(5):
            next(iter(stream))
        stream.close()
    eventually(lambda: num_cancelled(server) > before)


def test_a_client_that_leaves_before_the_answer_cancels_the_work(server: Server) -> None:
    before = num_cancelled(server)
    with pytest.raises(httpx.ReadTimeout):
        server.post(ask("slow 100000"), timeout=0.2)
    eventually(lambda: num_cancelled(server) > before)


def test_an_error_in_mid_stream_is_an_event_and_not_the_end_of_a_good_one() -> None:
    with running(Options()) as server:
        text = server.post(ask("now die", stream=True)).text
        assert text.rstrip().rpartition("\n\n")[2].startswith('data: {"error":{')
        assert "[DONE]" not in text
        eventually(lambda: server.get("/ready").status_code == 200)
        with server.client() as client, pytest.raises(APIError, match="restarted"):
            list(client.chat.completions.create(model="fake", messages=say("die"), stream=True))
