"""Builds the tokenizers library's encoder from a vocabulary document.

The document is plain JSON as ``wazn.text.vocabulary`` writes it. The same code serves this process
and the helper process, so both cut text alike. The library gets no decoder, no template of special
tokens, no truncation and no padding: it only turns text into ids.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tokenizers import AddedToken, Tokenizer, normalizers
from tokenizers.models import BPE, Model, Unigram


def build(document: Mapping[str, Any]) -> Tokenizer:
    """An encoder; raises whatever the library raises when the document makes no sense to it."""
    skeleton = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": document["normalizer"],
        "pre_tokenizer": document["pre_tokenizer"],
        "post_processor": None,
        "decoder": None,
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(skeleton))
    tokenizer.model = _model(document)
    tokenizer.add_tokens(_added_tokens(document))
    return tokenizer


def _added_tokens(document: Mapping[str, Any]) -> list[AddedToken]:
    tokens = document["tokens"]
    return [
        AddedToken(
            tokens[added["id"]],
            special=added["special"],
            normalized=added["normalized"],
            lstrip=added["lstrip"],
            rstrip=added["rstrip"],
            single_word=added["single_word"],
        )
        for added in document["added"]
    ]


def build_marked(document: Mapping[str, Any], tokenizer: Tokenizer, mark: str) -> Tokenizer:
    """The same encoder, sharing its model, that drops the mark after it has looked for tokens.

    Tokens have to stand in the text as it came: one that only appears once the text is normalised
    would appear once the mark is gone.
    """
    marked: Tokenizer = Tokenizer(tokenizer.model)
    drop = normalizers.Replace(mark, "")
    own = tokenizer.normalizer
    marked.normalizer = drop if own is None else normalizers.Sequence([drop, own])
    marked.pre_tokenizer = tokenizer.pre_tokenizer
    marked.add_tokens(
        _added_tokens(
            {**document, "added": [{**added, "normalized": False} for added in document["added"]]}
        )
    )
    return marked


def _model(document: Mapping[str, Any]) -> Model:
    tokens = document["tokens"]
    unknown_id = document["unknown_id"]
    if document["scores"] is not None:
        pieces = list(zip(tokens, document["scores"], strict=True))
        return Unigram(pieces, unk_id=unknown_id, byte_fallback=document["byte_fallback"])
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    ids.pop(None, None)
    return BPE(
        vocab=ids,
        merges=list(map(tuple, document["merges"])),  # JSON makes lists of them
        unk_token=None if unknown_id is None else tokens[unknown_id],
        fuse_unk=document["fuse_unknown"],
        byte_fallback=document["byte_fallback"],
        ignore_merges=document["ignore_merges"],
    )


def prepare(document: dict[str, Any]) -> Callable[[Sequence[str]], list[int]]:
    """The helper's entry: a function from (text, mark) to ids; the mark is "" where none is."""
    tokenizer = build(document)
    added = {name: document[name] for name in ("tokens", "added")}  # merges are megabytes: let go

    @lru_cache(maxsize=2)  # a mark is nearly always the same one
    def marked(mark: str) -> Tokenizer:
        return build_marked(added, tokenizer, mark)

    def encode(request: Sequence[str]) -> list[int]:
        text, mark = request
        encoder = marked(mark) if mark else tokenizer
        # Unlike encode, encode_batch lets other threads run: a long prompt stalls no decoding.
        ids: list[int] = encoder.encode_batch([text], add_special_tokens=False)[0].ids
        return ids

    return encode
