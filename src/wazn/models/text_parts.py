"""What a checkpoint brings for text: tokenizer, chat template, stop ids, generation defaults.

A checkpoint without a tokenizer loads; then only token ids are accepted.
"""

from __future__ import annotations

from wazn.errors import BadFile
from wazn.models.checkpoint import Checkpoint, read_json
from wazn.models.grok_config import SECOND as GROK_2
from wazn.models.model import TextParts
from wazn.text.built_in import built_in_template
from wazn.text.chat_template import ChatTemplate
from wazn.text.deepseek_encoding import DeepSeekEncoding
from wazn.text.tokenizer import Tokenizer

_SAMPLING = (
    *("do_sample", "temperature", "top_k", "top_p"),
    *("min_p", "typical_p", "repetition_penalty"),
)


def read_text_parts(checkpoint: Checkpoint) -> TextParts:
    """The helper process of the chat template starts while the tokenizer is built."""
    is_gguf, metadata, path = checkpoint.is_gguf, checkpoint.metadata, checkpoint.path
    own = (
        ChatTemplate.from_gguf(metadata, None)
        if is_gguf
        else ChatTemplate.from_directory(path, None)
    )
    if own is not None:
        own.warm()
    tokenizer = Tokenizer.from_gguf(metadata) if is_gguf else Tokenizer.from_directory(path)
    template: ChatTemplate | DeepSeekEncoding | None = own
    if tokenizer is not None and own is None:
        template = built_in_template(_architecture(checkpoint), tokenizer)
    elif tokenizer is not None and own is not None:
        own.use_tokens_of(tokenizer)
    stop_ids, defaults = _generation(checkpoint)
    if tokenizer is not None:
        stop_ids |= tokenizer.stop_ids
    return TextParts(tokenizer, template, defaults, frozenset(stop_ids))


def _architecture(checkpoint: Checkpoint) -> str:
    """The architecture's name as the files state it; "" if they do not. Grok-2's state another."""
    name = checkpoint.metadata.get("general.architecture" if checkpoint.is_gguf else "model_type")
    if name == GROK_2:
        return "grok"
    return name if isinstance(name, str) else ""


def _generation(checkpoint: Checkpoint) -> tuple[set[int], dict[str, float | int]]:
    """Stop ids and sampling defaults of a directory's configuration files; GGUF has neither."""
    if checkpoint.is_gguf:
        return set(), {}
    path = checkpoint.path / "generation_config.json"
    values = read_json(path) if path.exists() else {}
    stop_ids: set[int] = set()
    for source in (checkpoint.metadata, values):
        stated = source.get("eos_token_id")
        for stop_id in stated if isinstance(stated, list) else [stated]:
            if stop_id is not None:
                stop_ids.add(_token_id(stop_id, checkpoint))
    defaults = {name: values[name] for name in _SAMPLING if values.get(name) is not None}
    return stop_ids, defaults


def _token_id(value: object, checkpoint: Checkpoint) -> int:
    if type(value) is not int or not 0 <= value < checkpoint.config.vocab_size:
        raise BadFile(
            f"{checkpoint.path}: eos_token_id is {str(value)[:40]!r}, not a token id below "
            f"{checkpoint.config.vocab_size}"
        )
    return value
