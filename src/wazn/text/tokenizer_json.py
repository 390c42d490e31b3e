"""A vocabulary read from ``tokenizer.json``, the file of the tokenizers library.

Its model, added tokens and rules are checked field by field and taken over; unknown fields are
dropped, and so are truncation, padding and dropout, which have no place in inference. The decoder
is not run but recognised: this engine spells tokens itself. The post-processor only tells whether
a text begins or ends with a special token.
"""

from math import isfinite
from typing import Any

from wazn.errors import BadFile, UnsupportedModel
from wazn.text.json_file import JSON, parse_json
from wazn.text.vocabulary import (
    MAX_TOKENS,
    AddedToken,
    Vocabulary,
    check_id,
    find_stop_ids,
    index_tokens,
)

_FLAGS = ("special", "normalized", "lstrip", "rstrip", "single_word")


def read_tokenizer_json(data: bytes) -> Vocabulary:
    """The vocabulary in the bytes of a ``tokenizer.json``.

    BadFile names the field that breaks the format, UnsupportedModel the kind that is not known.
    """
    document = parse_json(data, "tokenizer.json")
    try:
        return _read(document)
    except (AttributeError, KeyError, TypeError) as error:
        raise BadFile(f"tokenizer.json does not have the expected shape ({error}).") from None


def _read(document: JSON) -> Vocabulary:
    model = document["model"]
    kind = model.get("type", "BPE")
    if kind not in ("BPE", "Unigram"):
        raise UnsupportedModel(
            f"model.type in tokenizer.json is {str(kind)[:40]!r}; this version reads BPE, Unigram."
        )
    tokens, scores = _unigram_pieces(model) if kind == "Unigram" else (_bpe_tokens(model), None)
    added = [
        _added_token(one, tokens, f"added_tokens[{index}]")
        for index, one in enumerate(document.get("added_tokens") or ())
    ]
    if scores is not None:
        if None in tokens:
            raise BadFile("added_tokens in tokenizer.json leave ids without a piece.")
        scores += [0.0] * (len(tokens) - len(scores))
    ids = index_tokens(tokens, "added_tokens or model.vocab in tokenizer.json")
    spelling, strips_leading_space = _spelling(document.get("decoder"))
    first, last = _template_ends(document.get("post_processor"))
    return Vocabulary(
        tokens=tokens,
        spelling=spelling,
        merges=() if scores is not None else _merges(model),
        scores=scores,
        added=added,
        normalizer=document.get("normalizer"),
        pre_tokenizer=document.get("pre_tokenizer"),
        unknown_id=_unknown_id(model, ids),
        fuse_unknown=_flag(model, "fuse_unk"),
        byte_fallback=_flag(model, "byte_fallback"),
        ignore_merges=_flag(model, "ignore_merges"),
        strips_leading_space=strips_leading_space,
        bos_id=ids.get(first) if first else None,
        eos_id=ids.get(last) if last else None,
        stop_ids=sorted(find_stop_ids(tokens, added)),
        adds_bos=first in ids,
        adds_eos=last in ids,
    )


def _bpe_tokens(model: JSON) -> list[str | None]:
    for field in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(field):
            raise UnsupportedModel(f"model.{field} in tokenizer.json is not supported.")
    vocab: dict[str, int] = model["vocab"]
    if not set(map(type, vocab.values())) <= {int} or not vocab:
        raise BadFile("model.vocab in tokenizer.json is empty, or holds an id that is no integer.")
    lowest, highest = min(vocab.values()), max(vocab.values())
    check_id(lowest, MAX_TOKENS, "the lowest id of model.vocab in tokenizer.json")
    check_id(highest, MAX_TOKENS, "the highest id of model.vocab in tokenizer.json")
    tokens: list[str | None] = [None] * (highest + 1)
    for token, id in vocab.items():
        if tokens[id] is not None:
            raise BadFile(f"model.vocab in tokenizer.json gives the id {id} to two tokens.")
        tokens[id] = token
    return tokens


def _unigram_pieces(model: JSON) -> tuple[list[str | None], list[float]]:
    tokens: list[str | None] = []
    scores: list[float] = []
    for piece, score in model["vocab"]:
        is_piece = type(piece) is str and piece != "" and type(score) in (int, float)
        if not is_piece or not isfinite(score):
            raise BadFile(f"model.vocab[{len(tokens)}] in tokenizer.json is no piece and score.")
        tokens.append(piece)
        scores.append(float(score))
    return tokens, scores


def _added_token(one: JSON, tokens: list[str | None], name: str) -> AddedToken:
    """The token, also entered among the tokens, which grow where needed."""
    id = check_id(one["id"], MAX_TOKENS, f"{name}.id in tokenizer.json")
    content = one["content"]
    flags = {flag: one.get(flag, False) for flag in _FLAGS}
    if type(content) is not str or not content or not set(map(type, flags.values())) == {bool}:
        raise BadFile(f"{name} in tokenizer.json has no content, or a flag that is no boolean.")
    tokens += [None] * (id + 1 - len(tokens))
    if tokens[id] not in (None, content):
        raise BadFile(f"{name}.id in tokenizer.json is {id}, which is another token's id.")
    tokens[id] = content
    return AddedToken(id, **flags)


def _merges(model: JSON) -> list[tuple[str, str]]:
    name = "model.merges in tokenizer.json"
    merges = model["merges"]
    if type(merges) is not list:
        raise BadFile(f"{name} is no list.")

    pairs: list[tuple[str, str]] = []
    for merge in merges:
        parts = merge.split(" ") if type(merge) is str else merge
        if type(parts) is not list or len(parts) != 2 or not all(type(p) is str for p in parts):
            raise BadFile(f"{name}[{len(pairs)}] is no pair of tokens.")
        pairs.append((parts[0], parts[1]))
    return pairs


def _unknown_id(model: JSON, ids: dict[str, int]) -> int | None:
    if model.get("unk_id") is not None:
        return check_id(model["unk_id"], len(model["vocab"]), "model.unk_id in tokenizer.json")
    token = model.get("unk_token")
    if token is not None and token not in ids:
        raise BadFile(f"model.unk_token in tokenizer.json, {token!r:.80}, is not in model.vocab.")
    return None if token is None else ids[token]


def _flag(model: JSON, name: str) -> bool:
    value = model.get(name)
    if value is not None and type(value) is not bool:
        raise BadFile(f"model.{name} in tokenizer.json is no boolean.")
    return bool(value)


def _spelling(decoder: JSON) -> tuple[Any, bool]:
    """How tokens are spelled, and whether a decoded text loses its first space."""
    steps = [decoder] if decoder is None or decoder["type"] != "Sequence" else decoder["decoders"]
    kinds = [None if step is None else step["type"] for step in steps]
    if [kind for kind in kinds if kind != "Fuse"] == ["ByteLevel"]:
        return "byte-level", False
    strips = False
    for kind, step in zip(kinds, steps, strict=True):
        if kind == "Strip" and (step["content"], step["start"], step["stop"]) == (" ", 1, 0):
            strips = True
        elif kind == "Metaspace" and step["replacement"] == "▁":
            strips = strips or step.get("prepend_scheme", "always") != "never"
        elif kind == "Replace" and step["pattern"] == {"String": "▁"} and step["content"] == " ":
            continue
        elif kind not in ("ByteFallback", "Fuse"):
            raise UnsupportedModel(f"decoder in tokenizer.json has an unknown step ({kind}).")
    if not {"Replace", "Metaspace"} & set(kinds):
        raise UnsupportedModel("decoder in tokenizer.json is of an unknown kind.")
    return "sentencepiece", strips


def _template_ends(processor: JSON) -> tuple[str | None, str | None]:
    """The special tokens that the post-processor puts before and after a text."""
    if processor is None:
        return None, None
    steps = processor["processors"] if processor["type"] == "Sequence" else [processor]
    for step in steps:
        if step["type"] == "TemplateProcessing" and step["single"]:
            ends = (step["single"][0], step["single"][-1])
            first, last = (end.get("SpecialToken", {}).get("id") for end in ends)
            return first, last
    return None, None
