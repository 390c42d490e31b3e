"""What a checkpoint says of itself, read from its headers alone: no weight is touched.

Reads GGUF metadata or a Hugging Face directory's ``config.json`` under their usual keys, whether
or not this version can run the family. Values are shown, never trusted: a key that is missing or
of another type is None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from wazn.weights.container import TensorInfo


@dataclass(frozen=True, slots=True)
class TensorType:
    """All tensors of one number format: how many, their elements and their bytes."""

    format: str
    tensors: int
    elements: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The facts of one checkpoint; None where it does not say."""

    container: str
    name: str | None
    architecture: str | None
    license: str | None
    parameters: int
    context_length: int | None
    layers: int | None
    hidden_size: int | None
    intermediate_size: int | None
    experts: int | None
    experts_per_token: int | None
    expert_size: int | None
    heads: int | None
    kv_heads: int | None
    vocabulary: int | None
    tokenizer: str | None
    has_chat_template: bool
    tensor_types: tuple[TensorType, ...]


def read_facts(path: Path) -> ModelFacts:
    """The facts of a GGUF file or a Hugging Face directory.

    Raises BadFile, UnsupportedModel (a number format) or ModelNotFound.
    """
    return _read_huggingface(path) if path.is_dir() else _read_gguf(path)


def _read_gguf(path: Path) -> ModelFacts:
    from wazn.weights.gguf import GGUF

    with GGUF(path) as container:
        metadata, tensors = container.metadata, container.tensors
    architecture = _text(metadata.get("general.architecture"))

    def number(key: str) -> int | None:
        return _number(metadata.get(f"{architecture}.{key}"))

    tokens = metadata.get("tokenizer.ggml.tokens")
    return ModelFacts(
        container="GGUF",
        name=_text(metadata.get("general.name")),
        architecture=architecture,
        license=_text(metadata.get("general.license")),
        parameters=_count_elements(tensors),
        context_length=number("context_length"),
        layers=number("block_count"),
        hidden_size=number("embedding_length"),
        intermediate_size=number("feed_forward_length"),
        experts=number("expert_count"),
        experts_per_token=number("expert_used_count"),
        expert_size=number("expert_feed_forward_length"),
        heads=number("attention.head_count"),
        kv_heads=number("attention.head_count_kv"),
        vocabulary=len(tokens) if isinstance(tokens, list | tuple) else number("vocab_size"),
        tokenizer=_text(metadata.get("tokenizer.ggml.model")),
        has_chat_template="tokenizer.chat_template" in metadata,
        tensor_types=_tensor_types(tensors),
    )


def _read_huggingface(path: Path) -> ModelFacts:
    from wazn.weights.safetensors import Safetensors

    with Safetensors(path) as container:
        tensors = container.tensors
    config = _read_json(path / "config.json")
    tokenizer = _read_json(path / "tokenizer_config.json")
    return ModelFacts(
        container="safetensors",
        name=_text(config.get("_name_or_path")) or path.absolute().name,
        architecture=_text(config.get("model_type")),
        license=None,
        parameters=_count_elements(tensors),
        context_length=_number(config.get("max_position_embeddings")),
        layers=_number(config.get("num_hidden_layers")),
        hidden_size=_number(config.get("hidden_size")),
        intermediate_size=_number(config.get("intermediate_size")),
        experts=_number(config.get("num_experts", config.get("num_local_experts"))),
        experts_per_token=_number(config.get("num_experts_per_tok")),
        expert_size=_number(config.get("moe_intermediate_size")),
        heads=_number(config.get("num_attention_heads")),
        kv_heads=_number(config.get("num_key_value_heads")),
        vocabulary=_number(config.get("vocab_size")),
        tokenizer=_text(tokenizer.get("tokenizer_class"))
        or ("tokenizer.json" if (path / "tokenizer.json").exists() else None),
        has_chat_template="chat_template" in tokenizer or (path / "chat_template.jinja").exists(),
        tensor_types=_tensor_types(tensors),
    )


def _read_json(path: Path) -> dict[str, Any]:
    from wazn.weights.bounded_json import parse_object

    return parse_object(path.read_bytes(), str(path)) if path.exists() else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _count_elements(tensors: Mapping[str, TensorInfo]) -> int:
    return sum(prod(tensor.shape) for tensor in tensors.values())


def _tensor_types(tensors: Mapping[str, TensorInfo]) -> tuple[TensorType, ...]:
    """The formats that really occur, the largest share of bytes first."""
    by_format: defaultdict[str, list[TensorInfo]] = defaultdict(list)
    for tensor in tensors.values():
        by_format[tensor.format.name].append(tensor)
    types = [
        TensorType(
            format=name,
            tensors=len(members),
            elements=sum(prod(tensor.shape) for tensor in members),
            num_bytes=sum(tensor.nbytes for tensor in members),
        )
        for name, members in by_format.items()
    ]
    return tuple(sorted(types, key=lambda group: group.num_bytes, reverse=True))
