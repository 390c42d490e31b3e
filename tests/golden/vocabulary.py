"""The vocabulary of a Hugging Face directory, as GGUF metadata."""

import json
from pathlib import Path

from gguf import GGUFWriter, TokenType

_PRE_TOKENIZERS = {"llama3": "llama-bpe", "qwen2": "qwen2", "smollm2": "smollm"}


def add_vocabulary(writer: GGUFWriter, folder: Path) -> None:
    """Adds tokens, their types, merges, special ids and the chat template of ``folder``."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    ids = dict(tokenizer["model"]["vocab"])
    types = dict.fromkeys(ids, TokenType.NORMAL)
    for added in tokenizer["added_tokens"]:
        ids[added["content"]] = added["id"]
        special = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
        types[added["content"]] = special
    tokens = sorted(ids, key=lambda token: ids[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_PRE_TOKENIZERS[folder.name])
    writer.add_token_list(tokens)
    writer.add_token_types([types[token] for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    if settings["bos_token"] is not None:
        writer.add_bos_token_id(ids[settings["bos_token"]])
    writer.add_eos_token_id(ids[settings["eos_token"]])
    writer.add_add_bos_token(settings["add_bos_token"])
    writer.add_chat_template(_chat_template(folder, settings))


def _chat_template(folder: Path, settings: dict[str, str]) -> str:
    separate = folder / "chat_template.jinja"
    return separate.read_text() if separate.exists() else settings["chat_template"]
