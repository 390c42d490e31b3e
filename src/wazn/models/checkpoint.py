"""A checkpoint on disk, a GGUF file or a Hugging Face directory, behind one interface.

Knows which files belong to it and where its facts stand; refuses to know how a model runs.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wazn.errors import BadFile, ModelNotFound, UnsupportedModel
from wazn.models import config as configuration
from wazn.models.config import Config
from wazn.models.decoder import Decoder
from wazn.models.deepseek import DeepseekV2, DeepseekV3
from wazn.models.deepseek_compressed import DeepseekV4
from wazn.models.deepseek_sparse import DeepseekV32
from wazn.models.ernie import Ernie45, Ernie45Moe
from wazn.models.expert_stacks import find_stacks
from wazn.models.gpt_oss import GptOss
from wazn.models.grok import Grok
from wazn.models.llama import Llama
from wazn.models.llama4 import Llama4
from wazn.models.names import used_tensors, without_layers_from
from wazn.models.qwen import Qwen2, Qwen3
from wazn.models.qwen_moe import Qwen2Moe, Qwen3Moe
from wazn.models.qwen_next import Qwen3Next, Qwen35, Qwen35Moe
from wazn.models.seed import SeedOss
from wazn.models.weight_choice import requantised
from wazn.weights.arranged import Arranged
from wazn.weights.choice import Weights
from wazn.weights.container import Container
from wazn.weights.formats import dequantize
from wazn.weights.gguf import GGUF
from wazn.weights.loss import Loss
from wazn.weights.packed import Packing
from wazn.weights.quantised.find import make_weights
from wazn.weights.safetensors import Safetensors
from wazn.weights.stacked import Stacked

FAMILIES: tuple[type[Decoder], ...] = (
    Llama,
    Qwen2,
    Qwen3,
    Qwen2Moe,
    Qwen3Moe,
    DeepseekV2,
    DeepseekV3,
    DeepseekV32,
    DeepseekV4,
    Qwen3Next,
    Qwen35,
    Qwen35Moe,
    SeedOss,
    GptOss,
    Ernie45,
    Ernie45Moe,
    Llama4,
    Grok,
)
_MAX_JSON_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An open checkpoint. ``names`` maps Hugging Face tensor names to the container's."""

    path: Path
    container: Container
    names: dict[str, str]
    decoder: Decoder
    metadata: Mapping[str, Any]  # GGUF metadata, or config.json
    is_gguf: bool
    weights: Weights
    loss: Loss  # filled while the container is read
    unread: Mapping[str, str]  # tensors that are no weights as they stand → their element type

    @property
    def packing(self) -> Packing:
        """What to pack, and how."""
        section = None if self.is_gguf else self.metadata.get("quantization_config")
        settings = json.dumps(section, sort_keys=True)
        return Packing(self.container, self.names, self.loss, self.weights, settings)

    @property
    def config(self) -> Config:
        return self.decoder.config

    def close(self) -> None:
        self.container.close()


def open_checkpoint(path: Path, weights: Weights = "native") -> Checkpoint:
    """Raises ModelNotFound, BadFile or UnsupportedModel."""
    if path.is_dir():
        return _open_huggingface(path, weights)
    if not path.exists():
        raise ModelNotFound(f"{path}: no such file or directory; check the path")
    return _open_gguf(path, weights)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a small file; raises BadFile."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise BadFile(f"{path}: larger than {_MAX_JSON_BYTES >> 20} MiB, which no model needs")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(content, dict):
        raise BadFile(f"{path}: holds a {type(content).__name__}, not an object")
    return content


def _open_gguf(path: Path, weights: Weights) -> Checkpoint:
    file = GGUF(path)
    metadata = file.metadata
    family = _family(str(metadata.get("general.architecture")), path, gguf=True)
    container = _stacked(file, family)
    names = used_tensors(container.tensors, is_gguf=True)
    config = configuration.from_gguf(
        metadata,
        str(path),
        _vocab_size(container, names, path),
        family.gguf_rope_interleaved,
        _rope_factors(container),
    )
    decoder = _decoder(family, config, path)
    container, names = _arranged(container, names, decoder, path)
    loss = Loss()
    container = requantised(container, names, weights, loss)
    return Checkpoint(path, container, names, decoder, metadata, True, weights, loss, {})


def _open_huggingface(path: Path, weights: Weights) -> Checkpoint:
    if not (path / "config.json").exists():
        raise BadFile(f"{path}: no config.json; a Hugging Face directory has one")
    values = _text_values(read_json(path / "config.json"), path)
    family = _family(str(values.get("model_type")), path, gguf=False)
    values = {**family.huggingface_defaults, **values}
    loss = Loss()
    files = Safetensors(path)
    where = f"{path}/config.json"
    made = make_weights(files, values, where, loss if weights == "native" else None)
    unread = {
        name: info.dtype for name, info in files.elements.infos.items() if name not in made.tensors
    }
    container = _stacked(made, family)
    names = used_tensors(container.tensors, is_gguf=False)
    config = configuration.from_huggingface(values, where, _vocab_size(container, names, path))
    if values.get("tie_word_embeddings"):
        names.pop("lm_head.weight", None)
    decoder = _decoder(family, config, path)
    container, names = _arranged(container, names, decoder, path)
    container = requantised(container, names, weights, loss)
    return Checkpoint(path, container, names, decoder, values, False, weights, loss, unread)


def _text_values(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The settings of the text part, which models that also see keep apart."""
    nested = values.get("text_config")
    if nested is None:
        return values
    if not isinstance(nested, dict):
        raise BadFile(f"{path}/config.json: text_config is {str(nested)[:60]!r}, not an object")
    return {**values, **nested}


def _stacked(container: Container, family: type[Decoder]) -> Container:
    """The container with the matrices of experts stacked."""
    if apart := family.apart(container.tensors):
        container = Arranged(container, apart)
    stacks = find_stacks(container.tensors)
    return Stacked(container, stacks) if stacks else container


def _arranged(
    container: Container, names: dict[str, str], decoder: Decoder, path: Path
) -> tuple[Container, dict[str, str]]:
    """The container with the tensors that the family wants in another arrangement."""
    names = without_layers_from(names, decoder.config.num_layers)
    tensors = {name: container.tensors[source] for name, source in names.items()}
    arrangement = decoder.arrange(tensors)
    if arrangement.tensors:
        container = Arranged(container, arrangement.tensors)
        names = {name: source for name, source in names.items() if name not in arrangement.replaced}
        names |= {name: name for name in arrangement.tensors}
    _check_stacks(container, names, decoder.config, path)
    return container, names


def _decoder(family: type[Decoder], config: Config, path: Path) -> Decoder:
    if family.has_experts and config.experts is None:
        raise BadFile(f"{path}: {config.family} has experts, and the number of them is not stated")
    if config.experts is not None and not family.has_experts:
        raise UnsupportedModel(
            f"{path}: mixtures of {config.experts.count} experts of the family {config.family} are "
            "not supported yet"
        )
    return family(config)


def _family(name: str, path: Path, *, gguf: bool) -> type[Decoder]:
    known: list[str] = []
    for family in FAMILIES:
        in_gguf = () if family.gguf_architecture is None else (family.gguf_architecture,)
        names = in_gguf if gguf else family.huggingface_types
        if name in names:
            return family
        known.extend(names)
    (nearest,) = difflib.get_close_matches(name[:60], known, n=1, cutoff=0)
    raise UnsupportedModel(
        f"{path}: models of the family {name[:60]!r} are not supported yet; {', '.join(known)} "
        f"are, of which {nearest} is nearest by name"
    )


def _check_stacks(container: Container, names: dict[str, str], config: Config, path: Path) -> None:
    """Before anything is packed: padding could make a stack of another number much larger."""
    experts = 1 if config.experts is None else config.experts.count
    for name, source in names.items():
        shape = container.tensors[source].shape
        count, things = experts, "experts"
        if ".experts." not in name and config.latent is not None:
            count, things = config.num_heads, "heads"
        elif ".experts." not in name and config.compressed is not None:
            count, things = config.compressed.output_groups, "groups of heads"
        if len(shape) == 3 and shape[0] not in (1, count):
            raise BadFile(
                f"{path}: tensor {source} is a stack of {shape[0]} where the model has "
                f"{count} {things}"
            )


def _vocab_size(container: Container, names: dict[str, str], path: Path) -> int:
    if "model.embed_tokens.weight" not in names:
        raise BadFile(f"{path}: there is no embedding tensor; the model is incomplete")
    info = container.tensors[names["model.embed_tokens.weight"]]
    if len(info.shape) != 2:
        raise BadFile(f"{path}: the embedding tensor has {len(info.shape)} dimensions, not 2")
    return info.rows


def _rope_factors(container: Container) -> tuple[float, ...]:
    """The divisors of rope frequencies that GGUF keeps as a tensor."""
    info = container.tensors.get("rope_freqs.weight")
    if info is None:
        return ()
    factors = dequantize(container.read(info.name), info.format).reshape(-1)
    if info.columns > 1024 or not (factors > 0).all():
        raise BadFile(f"{container.paths[0]}: rope_freqs.weight has factors that are not positive")
    return tuple(float(factor) for factor in factors)
