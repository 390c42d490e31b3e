"""The conversations that every chat template under ``templates/`` renders, as clients send them.

``make_prompts`` renders them with transformers into ``prompts.json``; the tests with wazn.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Template:
    """A maker's template: its special tokens, and what it can express."""

    bos: str
    eos: str
    tools: bool = True
    parallel: bool = True  # several calls in one message
    system: bool = True  # beside tools
    variables: dict[str, Any] = field(default_factory=dict)  # always given
    switches: tuple[dict[str, Any], ...] = ()  # for thinking

    def cases(self) -> dict[str, tuple[list[Message], dict[str, Any]]]:
        """Name → messages and variables."""
        plain = {"add_generation_prompt": True, **self.variables}
        cases: dict[str, tuple[list[Message], dict[str, Any]]] = {
            "plain": ([SYSTEM, QUESTION, ANSWER, AGAIN], plain)
        }
        for number, switch in enumerate(self.switches):
            cases[f"switch {number}"] = ([QUESTION], plain | switch)
        if self.tools:
            start = [SYSTEM, QUESTION] if self.system else [QUESTION]
            call = calls(2 if self.parallel else 1)
            results = [RESULT, SECOND][: 2 if self.parallel else 1]
            offered = plain | {"tools": TOOLS}
            cases["tools"] = (start, offered)
            cases["call"] = ([*start, call], offered | {"add_generation_prompt": False})
            cases["result"] = ([*start, call, *results], offered)
            cases["after"] = ([*start, call, *results, ANSWER, AGAIN], offered)
        return cases


SYSTEM = {"role": "system", "content": "You are kind."}
QUESTION = {"role": "user", "content": "How warm is it in 北京?\nAnd when?"}
ANSWER = {"role": "assistant", "reasoning_content": "22 is warm.", "content": "It is 22 °C."}
AGAIN = {"role": "user", "content": "Thanks! 👍"}
RESULT = {"role": "tool", "tool_call_id": "abcdefgh1", "name": "get_weather",
          "content": '{"celsius": 22}'}  # fmt: skip
SECOND = {"role": "tool", "tool_call_id": "abcdefgh2", "name": "now", "content": "12:30"}
CALLS = [
    ("abcdefgh1", "get_weather", {"city": "北京", "days": 2, "places": ["a", "b"]}),
    ("abcdefgh2", "now", {"zone": "UTC"}),
]
TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "The weather in a city.",
        "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "Its name."},
            "days": {"type": "integer", "description": "How many."},
            "places": {"type": "array", "items": {"type": "string"}, "description": "Which."}}}}},
    {"type": "function", "function": {
        "name": "now", "description": "The time.",
        "parameters": {"type": "object", "required": [], "properties": {
            "zone": {"type": "string", "description": "Of time."}}}}},
]  # fmt: skip


def calls(number: int, arguments: str = "text") -> Message:
    """An answer with so many calls; ``arguments`` as "text", the API's form, or as "object"."""
    import json

    return {
        "role": "assistant",
        "content": None,
        "reasoning_content": "I have to look.",
        "tool_calls": [
            {"id": call_id, "type": "function", "function": {
                "name": name,
                "arguments": json.dumps(values, ensure_ascii=False)
                if arguments == "text" else values}}
            for call_id, name, values in CALLS[:number]
        ],
    }  # fmt: skip


_CHATML = ("<|endoftext|>", "<|im_end|>")
_DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>")
_LLAMA = ("<|begin_of_text|>", "<|eot_id|>")
_ENABLE = ({"enable_thinking": True}, {"enable_thinking": False})

TEMPLATES = {
    "smollm2": Template("<|im_start|>", "<|im_end|>", tools=False),
    "llama3.1": Template(*_LLAMA, parallel=False, variables={"date_string": "26 Jul 2024"}),
    "llama3.2": Template(*_LLAMA, parallel=False, variables={"date_string": "26 Jul 2024"}),
    "mistral-nemo": Template("<s>", "</s>"),
    "ministral3": Template("<s>", "</s>"),
    "qwen2.5": Template(*_CHATML),
    "qwq": Template(*_CHATML),
    "qwen3": Template(*_CHATML, switches=_ENABLE),
    "qwen3-coder": Template(*_CHATML),
    "qwen3.5": Template(*_CHATML, switches=_ENABLE),
    "deepseek-r1": Template(*_DEEPSEEK),
    "deepseek-v3.1": Template(*_DEEPSEEK, switches=({"thinking": True}, {"thinking": False})),
    "seed-oss": Template(
        "<seed:bos>", "<seed:eos>", switches=({"thinking_budget": 512}, {"thinking_budget": 0})
    ),
    "ernie4.5": Template("<s>", "</s>", tools=False),
    "gpt-oss": Template(
        "<|startoftext|>", "<|return|>", parallel=False, switches=({"reasoning_effort": "high"},)
    ),
}
