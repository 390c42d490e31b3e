"""The conversation file: complete, private, and checked when it comes back."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazn.cli.conversation import Conversation, load, save
from wazn.engine.params import SamplingParams
from wazn.errors import BadFile, StorageError

TURNS = [{"role": "user", "content": "مرحبا"}, {"role": "assistant", "content": "hello"}]
GOOD = {
    "format": "wazn conversation",
    "version": 1,
    "model": "smollm2",
    "parameters": {},
    "messages": TURNS,
}


def write(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**GOOD, **changes}))
    return path


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    params = SamplingParams(temperature=0.5, stop=["x"], seed=1)
    conversation = Conversation("smollm2", params, [{"role": "system", "content": "s"}, *TURNS])
    save(conversation, tmp_path / "c.json")
    assert load(tmp_path / "c.json") == conversation


def test_the_file_is_for_its_owner_only_and_legible(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    save(Conversation("smollm2", SamplingParams(), TURNS), path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "مرحبا" in path.read_text()
    assert os.listdir(tmp_path) == ["c.json"]


def test_a_saved_conversation_can_be_saved_again(tmp_path: Path) -> None:
    path = write(tmp_path / "c.json")
    save(Conversation("smollm2", SamplingParams(), []), path)
    assert load(path).messages == []


def test_another_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    with pytest.raises(StorageError, match="exists and is no conversation"):
        save(Conversation("smollm2", SamplingParams(), TURNS), path)
    assert path.read_text() == "years of work"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written: No such file"):
        save(Conversation("smollm2", SamplingParams(), TURNS), tmp_path / "no" / "c.json")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"format": "other"}, "is no conversation saved by"),
        ({"version": 2}, "is no conversation saved by"),
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"model": None}, "model must be a text"),
        ({"messages": {}}, "messages must be a list"),
        ({"messages": ["hi"]}, r"messages\[0\] must have a role and a content"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\] must have a role and a content"),
        (
            {"messages": [TURNS[0], {"role": "root", "content": ""}]},
            r"messages\[1\].role is 'root'",
        ),
        ({"messages": [{"role": "user", "content": 3}]}, r"messages\[0\].content must be a text"),
        (
            {"messages": [TURNS[0], {"role": "system", "content": ""}]},
            r"messages\[1\]: a system message can only come first",
        ),
        ({"messages": [{"role": ["user"], "content": ""}]}, r"messages\[0\].role is \['user'\]"),
        ({"parameters": []}, "parameters must be an object"),
        ({"parameters": {"heat": 1}}, "parameters.heat is not a sampling parameter"),
        ({"parameters": {"temperature": -1}}, "parameters: temperature is -1"),
    ],
)
def test_each_wrong_field_is_named(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadFile, match=complaint):
        load(write(tmp_path / "c.json", **changes))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "must hold one JSON object"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(BadFile, match=complaint):
        load(tmp_path / "c.json")


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadFile, match="is not a file"):
        load(tmp_path / "pipe")


def test_an_enormous_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "c.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadFile, match="longer than 64 MiB"):
        load(tmp_path / "c.json")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read: No such file"):
        load(tmp_path / "c.json")


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), max_size=4))
def test_any_text_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("saved") / "c.json"
    conversation = Conversation("smollm2", SamplingParams())
    for role, content in turns:
        conversation.add(role, content)
    save(conversation, path)
    assert load(path) == conversation


def test_the_system_message_is_replaced_kept_and_removed() -> None:
    conversation = Conversation("smollm2", SamplingParams(), list(TURNS))
    conversation.set_system("one")
    conversation.set_system("two")
    assert conversation.messages == [{"role": "system", "content": "two"}, *TURNS]
    conversation.clear()
    assert conversation.messages == [{"role": "system", "content": "two"}]
    conversation.set_system(None)
    assert conversation.messages == []
