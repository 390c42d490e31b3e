"""What a checkpoint says of itself, read from its headers alone: no weight is touched.

Reads GGUF metadata or a Hugging Face directory's ``config.json`` under their usual keys, whether
or not this version can run the family or read its way of quantising. Values are shown, never
trusted: a key that is missing or of another type is None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wazn.cli.labs import lab_of
from wazn.cli.model_parts import Part, parts_of
from wazn.errors import WaznError
from wazn.weights.container import TensorInfo

if TYPE_CHECKING:
    from wazn.weights.safetensors import Safetensors

_MAX_CARD_HEAD = 65536  # characters


@dataclass(frozen=True, slots=True)
class TensorType:
    """All tensors of one number format: how many, their elements and their bytes."""

    format: str
    tensors: int
    elements: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The facts of one checkpoint; None where it does not say.

    ``lab`` is who made the model, ``architecture_lab`` who made its architecture. ``parameters``
    is None where weights are quantised in a way that is not known.
    """

    container: str
    name: str | None
    lab: str | None
    architecture: str | None
    architecture_lab: str | None
    license: str | None
    quantisation: str | None
    parameters: int | None
    context_length: int | None
    layers: int | None
    hidden_size: int | None
    intermediate_size: int | None
    experts: int | None
    experts_per_token: int | None
    expert_size: int | None
    heads: int | None
    kv_heads: int | None
    head_size: int | None
    window: int | None  # of the layers whose attention has one
    vocabulary: int | None
    tokenizer: str | None
    has_chat_template: bool
    tensor_types: tuple[TensorType, ...]
    parts: tuple[Part, ...]


def read_facts(path: Path) -> ModelFacts:
    """The facts of a GGUF file or a Hugging Face directory.

    Raises BadFile, UnsupportedModel (a number format) or ModelNotFound.
    """
    return _read_huggingface(path) if path.is_dir() else _read_gguf(path)


def _read_gguf(path: Path) -> ModelFacts:
    from wazn.weights.gguf import GGUF

    with GGUF(path) as container:
        metadata, tensors = container.metadata, container.tensors
        infos = tensors.values()
    architecture = _text(metadata.get("general.architecture"))

    def number(key: str) -> int | None:
        return _number(metadata.get(f"{architecture}.{key}"))

    tokens = metadata.get("tokenizer.ggml.tokens")
    return ModelFacts(
        container="GGUF",
        name=_text(metadata.get("general.name")),
        lab=_text(metadata.get("general.organization")),
        architecture=architecture,
        architecture_lab=lab_of(architecture),
        license=_text(metadata.get("general.license")),
        quantisation=None,
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
        head_size=number("attention.key_length")
        or _share(number("embedding_length"), number("attention.head_count")),
        window=number("attention.sliding_window"),
        vocabulary=len(tokens) if isinstance(tokens, list | tuple) else number("vocab_size"),
        tokenizer=_text(metadata.get("tokenizer.ggml.model")),
        has_chat_template="tokenizer.chat_template" in metadata,
        tensor_types=_tensor_types((t.format.name, prod(t.shape), t.nbytes) for t in infos),
        parts=parts_of(((t.name, t.nbytes) for t in infos), number("block_count")),
    )


def _read_huggingface(path: Path) -> ModelFacts:
    from wazn.weights.safetensors import Safetensors

    whole = _read_json(path / "config.json")
    nested = whole.get("text_config")  # of a model that also sees or hears
    config = {**whole, **nested} if isinstance(nested, dict) else whole
    with Safetensors(path) as container:
        infos = container.elements.infos.values()
        parameters = _count_parameters(container, config, path)
    tokenizer = _read_json(path / "tokenizer_config.json")
    return ModelFacts(
        container="safetensors",
        name=_text(config.get("_name_or_path")) or path.absolute().name,
        lab=None,
        architecture=_architecture(whole),
        architecture_lab=lab_of(_architecture(whole)),
        license=_license(path / "README.md"),
        quantisation=_quantisation(config.get("quantization_config")),
        parameters=parameters,
        context_length=_number(config.get("max_position_embeddings")),
        layers=_number(config.get("num_hidden_layers")),
        hidden_size=_number(config.get("hidden_size")),
        intermediate_size=_number(config.get("intermediate_size")),
        experts=_first_number(config, "num_experts", "num_local_experts", "moe_num_experts"),
        experts_per_token=_first_number(config, "num_experts_per_tok", "moe_k"),
        expert_size=_number(config.get("moe_intermediate_size", config.get("intermediate_size"))),
        heads=_number(config.get("num_attention_heads")),
        kv_heads=_number(config.get("num_key_value_heads")),
        head_size=_number(config.get("head_dim"))
        or _share(_number(config.get("hidden_size")), _number(config.get("num_attention_heads"))),
        window=_window(config),
        vocabulary=_number(config.get("vocab_size")),
        tokenizer=_text(tokenizer.get("tokenizer_class"))
        or ("tokenizer.json" if (path / "tokenizer.json").exists() else None),
        has_chat_template="chat_template" in tokenizer or (path / "chat_template.jinja").exists(),
        tensor_types=_tensor_types((info.dtype, prod(info.shape), info.nbytes) for info in infos),
        parts=parts_of(
            ((info.name, info.nbytes) for info in infos), _number(config.get("num_hidden_layers"))
        ),
    )


def _architecture(config: Mapping[str, Any]) -> str | None:
    """The model_type, but for Grok-2, whose files state that of another model."""
    names = config.get("architectures")
    if config.get("model_type") == "git" and "Grok" in str(names):
        return "grok"
    return _text(config.get("model_type"))


def _first_number(config: Mapping[str, Any], *keys: str) -> int | None:
    """Of the keys that families use, the one that is stated."""
    return next((number for key in keys if (number := _number(config.get(key)))), None)


def _window(config: Mapping[str, Any]) -> int | None:
    is_used = config.get("use_sliding_window", True)
    return _first_number(config, "sliding_window", "attention_chunk_size") if is_used else None


def _count_parameters(container: Safetensors, config: Mapping[str, Any], path: Path) -> int | None:
    """Weights, however they are quantised; None if that cannot be told."""
    from wazn.weights.quantised.find import make_weights

    try:
        made = make_weights(container, config, f"{path}/config.json", loss=None)
    except WaznError:
        return None
    return _count_elements(made.tensors)


def _quantisation(section: object) -> str | None:
    """A quantization_config in a few words, as far as it has the usual keys."""
    if not isinstance(section, Mapping):
        return None
    words = [str(section.get("quant_method", "not named"))[:60]]
    for key, text in (("format", "{}"), ("bits", "{} bits"), ("group_size", "groups of {}")):
        if isinstance(section.get(key), str | int):
            words.append(text.format(str(section[key])[:60]))
    block = section.get("weight_block_size")
    if isinstance(block, list):
        words.append(f"blocks of {'x'.join(str(size)[:20] for size in block[:3])}")
    words.extend(["act-order"] if section.get("desc_act") is True else [])
    return ", ".join(words)


def _license(readme: Path) -> str | None:
    """The licence that a model card names in the YAML at its head."""
    try:
        with open(readme, encoding="utf-8", errors="replace") as file:
            head = file.read(_MAX_CARD_HEAD)
    except OSError:
        return None
    lines = head.splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    facts = {}
    for line in lines[1:]:
        if line.strip() == "---":
            break
        key, _, value = line.partition(":")
        facts[key] = value.strip().strip("'\"")
    name = facts.get("license")
    return _text(facts.get("license_name") if name == "other" else name) or _text(name)


def _read_json(path: Path) -> dict[str, Any]:
    from wazn.weights.bounded_json import parse_object

    return parse_object(path.read_bytes(), str(path)) if path.exists() else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _count_elements(tensors: Mapping[str, TensorInfo]) -> int:
    return sum(prod(tensor.shape) for tensor in tensors.values())


def _share(size: int | None, heads: int | None) -> int | None:
    """The size of a head where it is left out: what both formats then mean."""
    return size // heads if size and heads else None


def _tensor_types(tensors: Iterable[tuple[str, int, int]]) -> tuple[TensorType, ...]:
    """The formats that really occur, of (format, elements, bytes), the most bytes first."""
    by_format: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for name, elements, num_bytes in tensors:
        by_format[name].append((elements, num_bytes))
    types = [
        TensorType(
            format=name,
            tensors=len(members),
            elements=sum(elements for elements, _ in members),
            num_bytes=sum(num_bytes for _, num_bytes in members),
        )
        for name, members in by_format.items()
    ]
    return tuple(sorted(types, key=lambda group: group.num_bytes, reverse=True))
