"""Prompt formats for checkpoints whose makers ship no chat template, by their architecture's name.

A template in the checkpoint always comes first: it is what the model was trained on.
"""

from __future__ import annotations

from wazn.text.chat_template import ChatTemplate
from wazn.text.deepseek_encoding import DeepSeekEncoding, DeepSeekV4, DeepSeekV32
from wazn.text.tokenizer import Tokenizer

GROK_2 = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "{{ 'Human: ' + message['content'].strip() + '<|separator|>\\n\\n' }}"
    "{% elif message['role'] == 'system' %}"
    "{{ 'System: ' + message['content'].strip() + '<|separator|>\\n\\n' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ 'Assistant: ' + message['content'] + '<|separator|>\\n\\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""As engines that serve Grok-2 write it; xAI published no template with the weights."""

_DEEPSEEK: dict[str, type[DeepSeekEncoding]] = {
    "deepseek_v32": DeepSeekV32,  # Hugging Face
    "deepseek32": DeepSeekV32,  # GGUF
    "deepseek_v4": DeepSeekV4,
    "deepseek4": DeepSeekV4,
}


def built_in_template(
    architecture: str, tokenizer: Tokenizer
) -> ChatTemplate | DeepSeekEncoding | None:
    """The format of an architecture, over the checkpoint's own tokenizer; None if there is none."""
    template: ChatTemplate | DeepSeekEncoding
    if architecture in _DEEPSEEK:
        template = _DEEPSEEK[architecture]()
    elif tokenizer.added_id("<|separator|>") is not None and architecture.startswith("grok"):
        template = ChatTemplate(GROK_2)
    else:
        return None
    template.use_tokens_of(tokenizer)
    return template
