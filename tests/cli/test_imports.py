"""What a start may load: a command only when it is called, heavy libraries never early."""

import subprocess
import sys

import pytest

# Each would cost a start of `wazn chat` tens to hundreds of milliseconds, or is the server's.
TOO_HEAVY = (
    *("fastapi", "httpx", "huggingface_hub", "pydantic", "requests", "rich", "starlette"),
    *("torch", "transformers", "urllib3", "uvicorn", "wazn.server", "prompt_toolkit"),
)

MODULES_OF_AN_ANSWER = """
import wazn.cli.answer, wazn.cli.chat, wazn.cli.conversation, wazn.cli.loading
import wazn.engine.llm, wazn.models.load, wazn.weights.store
"""


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after running ``code``."""
    program = f"{code}\nimport sys\nsys.stderr.write(' '.join(sys.modules))"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return set(finished.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "from wazn.cli.main import run_command; run_command(['chat', '--help'])",
        "from wazn.cli.main import run_command; run_command(['chat', 'none', '-p', 'x'])",
        MODULES_OF_AN_ANSWER,
    ],
    ids=["help", "parsing", "answering"],
)
def test_chat_loads_nothing_heavy(code: str) -> None:
    assert not loaded_after(code) & set(TOO_HEAVY)


def test_the_list_of_commands_imports_no_command_and_no_numpy() -> None:
    loaded = loaded_after("from wazn.cli.main import run_command; run_command([])")
    commands = {name for name in loaded if name.startswith("wazn.")}
    assert "numpy" not in loaded
    assert not commands & {"wazn.cli.chat", "wazn.cli.models", "wazn.cli.doctor", "wazn.cli.serve"}
