"""The vocabulary of a Hugging Face directory: the tokenizer file and the small files around it.

Which ids begin and end a text may stand in ``tokenizer_config.json``, ``special_tokens_map.json``,
``generation_config.json`` or ``config.json``; any of them may be missing. The tokenizer file itself
is read by ``tokenizer_json`` or, where there is only that, ``sentencepiece_model``.
"""

from dataclasses import replace
from pathlib import Path

from wazn.errors import BadFile, UnsupportedModel
from wazn.text.json_file import JSON, read_json
from wazn.text.sentencepiece_model import read_sentencepiece_model
from wazn.text.tokenizer_json import read_tokenizer_json
from wazn.text.vocabulary import (
    MAX_TOKENS,
    AddedToken,
    Vocabulary,
    check_id,
    check_tokens,
    find_stop_ids,
)

MAX_TOKENIZER_BYTES = 64 << 20
"""Bytes of tokenizer.json or tokenizer.model; the largest known one has 33 million."""
MAX_CONFIG_BYTES = 8 << 20
"""Bytes of each of the small files; tokenizer_config.json may list thousands of tokens."""


def read_directory_vocabulary(directory: Path) -> Vocabulary | None:
    """The vocabulary of a Hugging Face directory; None when it holds no tokenizer.

    BadFile names the file and field that break the format, UnsupportedModel what is not known.
    """
    config = read_config(directory / "tokenizer_config.json")
    if (directory / "tokenizer.json").is_file():
        vocabulary = read_tokenizer_json(_read_bytes(directory / "tokenizer.json"))
    elif (directory / "tokenizer.model").is_file():
        vocabulary = read_sentencepiece_model(_read_bytes(directory / "tokenizer.model"))
        vocabulary = _with_added_tokens(vocabulary, config.get("added_tokens_decoder", {}))
    elif (directory / "merges.txt").is_file():
        raise UnsupportedModel(
            f"{directory} has vocab.json and merges.txt but no tokenizer.json; save it again with "
            "the fast tokenizer of transformers, which writes one."
        )
    else:
        return None
    return _with_special_tokens(vocabulary, directory, config)


def read_config(path: Path) -> dict[str, JSON]:
    """The object in one of the small files; empty when the file is missing."""
    if not path.is_file():
        return {}
    config = read_json(path, MAX_CONFIG_BYTES)
    if type(config) is not dict:
        raise BadFile(f"{path} holds no JSON object.")
    return config


def _read_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_TOKENIZER_BYTES + 1)
    if len(data) > MAX_TOKENIZER_BYTES:
        raise BadFile(f"{path} is larger than {MAX_TOKENIZER_BYTES} bytes, the limit.")
    return data


def _with_special_tokens(
    vocabulary: Vocabulary, directory: Path, config: dict[str, JSON]
) -> Vocabulary:
    names = read_config(directory / "special_tokens_map.json") | config
    generation = read_config(directory / "generation_config.json")
    model = read_config(directory / "config.json")
    count = len(vocabulary.tokens)
    stops = set(vocabulary.stop_ids)
    bos_ids: list[int] = []
    for file, values in (("generation_config.json", generation), ("config.json", model)):
        stops.update(_ids(values.get("eos_token_id"), count, f"eos_token_id in {file}"))
        bos_ids += _ids(values.get("bos_token_id"), count, f"bos_token_id in {file}")
    bos_id = _named_id(vocabulary, names.get("bos_token"), "bos_token")
    eos_id = _named_id(vocabulary, names.get("eos_token"), "eos_token")
    bos_id = next((id for id in (bos_id, vocabulary.bos_id, *bos_ids) if id is not None), None)
    eos_id = vocabulary.eos_id if eos_id is None else eos_id
    if eos_id is not None:
        stops.add(eos_id)
    adds_bos = _flag(config, "add_bos_token", vocabulary.adds_bos)
    return replace(
        vocabulary,
        bos_id=bos_id,
        eos_id=eos_id,
        stop_ids=sorted(stops),
        adds_bos=adds_bos and bos_id is not None,
        adds_eos=_flag(config, "add_eos_token", vocabulary.adds_eos) and eos_id is not None,
    )


def _named_id(vocabulary: Vocabulary, token: JSON, name: str) -> int | None:
    """The id of a special token that is given as its text, or as an object with the text in it."""
    text = token.get("content") if type(token) is dict else token
    if text is None:
        return None
    if text not in vocabulary.tokens:
        raise BadFile(f"{name} in tokenizer_config.json, {text!r:.80}, is not in the vocabulary.")
    return vocabulary.tokens.index(text)


def _ids(value: JSON, count: int, name: str) -> list[int]:
    if value is None:
        return []
    return [check_id(id, count, name) for id in (value if type(value) is list else [value])]


def _flag(config: dict[str, JSON], name: str, default: bool) -> bool:
    value = config.get(name)
    if value is not None and type(value) is not bool:
        raise BadFile(f"{name} in tokenizer_config.json is no boolean.")
    return default if value is None else value


def _with_added_tokens(vocabulary: Vocabulary, decoder: JSON) -> Vocabulary:
    """The vocabulary with ``added_tokens_decoder``: id as text → token, beyond the pieces."""
    if type(decoder) is not dict:
        raise BadFile("added_tokens_decoder in tokenizer_config.json is no object.")
    tokens = list(vocabulary.tokens)
    added = {token.id: token for token in vocabulary.added}
    for key, value in decoder.items():
        name = f"added_tokens_decoder[{key[:20]!r}] in tokenizer_config.json"
        id = check_id(int(key) if key.isdecimal() and len(key) < 10 else key, MAX_TOKENS, name)
        if type(value) is not dict or type(value.get("content")) is not str:
            raise BadFile(f"{name} has no content.")
        tokens += [None] * (id + 1 - len(tokens))
        if tokens[id] not in (None, value["content"]):
            raise BadFile(f"{name} has the id of another token.")
        tokens[id] = value["content"]
        added[id] = AddedToken(id, special=value.get("special") is True)
    check_tokens(tokens, "added_tokens_decoder in tokenizer_config.json")
    stops = sorted({*vocabulary.stop_ids, *find_stop_ids(tokens, added.values())})
    return replace(vocabulary, tokens=tokens, added=list(added.values()), stop_ids=stops)
