"""Tools on the command line: read from a file, offered to the model, calls shown."""

import json
from pathlib import Path

import pytest

from tests.cli.command_line import Run
from tests.cli.fakes import Reply, install
from wazn.text.answers.events import ArgumentsDelta, ToolCallEnd, ToolCallStart

TOOLS = [{"type": "function", "function": {"name": "get_weather"}}]
CALLS = (
    ToolCallStart(0, "abcdefghi", "get_weather"),
    ArgumentsDelta(0, '{"city": '),
    ArgumentsDelta(0, '"Paris"}'),
    ToolCallEnd(0),
    ToolCallStart(1, "abcdefghj", "now"),
    ToolCallEnd(1, "now is none of the tools."),
)


@pytest.fixture
def tools(tmp_path: Path) -> str:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(TOOLS))
    return str(path)


def test_a_call_is_shown_on_its_own_line(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, tools: str
) -> None:
    opening = install(monkeypatch, Reply("Let me look.", calls=CALLS))
    assert wazn("chat", "-p", "x", "--tools", tools).stdout == (
        'Let me look.\n→ get_weather {"city": "Paris"}\n→ now \n'
        "  (no valid call: now is none of the tools.)\n"
    )
    assert opening.llm.variables == [{"tools": TOOLS}]


def test_json_has_the_calls(wazn: Run, monkeypatch: pytest.MonkeyPatch, tools: str) -> None:
    install(monkeypatch, Reply("", calls=CALLS[:4]))
    completion = json.loads(wazn("chat", "-p", "x", "--tools", tools, "--json").stdout)
    assert completion["tool_calls"] == [
        {"id": "abcdefghi", "name": "get_weather", "arguments": '{"city": "Paris"}', "error": None}
    ]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("{}", "must hold a list of tools"),
    ],
)
def test_a_file_without_tools_is_an_error(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, named: str
) -> None:
    install(monkeypatch)
    path = tmp_path / "t.json"
    if content is not None:
        path.write_text(content)
    outcome = wazn("chat", "-p", "x", "--tools", str(path))
    assert outcome.status != 0 and named in outcome.stderr


def test_a_folder_is_no_file_of_tools(
    wazn: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch)
    outcome = wazn("chat", "-p", "x", "--tools", str(tmp_path))
    assert "is not a file" in outcome.stderr
