"""Builds the tokenizers library's encoder from a vocabulary document.

The document is plain JSON as ``wazn.text.vocabulary`` writes it. The same code serves this process
and the helper process, so both cut text alike. The library gets no decoder, no template of special
tokens, no truncation and no padding: it only turns text into ids.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer
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
    tokens = document["tokens"]
    tokenizer.add_tokens(
        [
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
    )
    return tokenizer


def _model(document: Mapping[str, Any]) -> Model:
    tokens = document["tokens"]
    unknown_id = document["unknown_id"]
    if document["scores"] is not None:
        pieces = list(zip(tokens, document["scores"], strict=True))
        return Unigram(pieces, unk_id=unknown_id, byte_fallback=document["byte_fallback"])
    token = tokens.__getitem__
    merges = iter(document["merges"])
    return BPE(
        vocab={token: id for id, token in enumerate(tokens) if token is not None},
        merges=[(token(left), token(right)) for left, right in zip(merges, merges, strict=True)],
        unk_token=None if unknown_id is None else tokens[unknown_id],
        fuse_unk=document["fuse_unknown"],
        byte_fallback=document["byte_fallback"],
        ignore_merges=document["ignore_merges"],
    )


def prepare(document: dict[str, Any]) -> Callable[[str], list[int]]:
    """The helper's entry: a function from text to ids."""
    tokenizer = build(document)

    def encode(text: str) -> list[int]:
        # Unlike encode, encode_batch lets other threads run: a long prompt stalls no decoding.
        ids: list[int] = tokenizer.encode_batch([text], add_special_tokens=False)[0].ids
        return ids

    return encode
