"""Writes a model as files: a Hugging Face directory, or a GGUF as the usual converter makes it.

Works on a configuration (the dictionary of config.json) and tensors under their Hugging Face names,
so that the parity suite can use it for models of its own. The safetensors format is written here
by hand, the GGUF container by the ``gguf`` package; nothing of wazn is used.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, RopeScalingType
from numpy.typing import NDArray

from tests.golden import converted
from tests.golden.catalogue import FOLDER, Tiny
from tests.golden.rope import rope_divisors, rope_parameters
from tests.golden.tensors import Config, Tensors, draw, head_dim, spread
from tests.golden.vocabulary import add_vocabulary
from tests.golden.weights import quantised

_T = GGMLQuantizationType

_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
}
_ONE_EXPERT = re.compile(r"(.*\.experts\.)(\d+)\.(.*)")


def tiny_directory(tiny: Tiny, folder: Path, shards: int = 0) -> Path:
    """A tiny model as a Hugging Face directory: float32, or bfloat16 in ``shards`` files."""
    shutil.copytree(FOLDER / "tokenizers" / tiny.vocabulary, folder)
    config = read_config(tiny)
    kind = _T.BF16 if shards else _T.F32
    config["torch_dtype"] = "bfloat16" if shards else "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    tensors = draw(config, tiny.seed)
    if shards:
        write_shards(tensors, folder, kind, shards)
    else:
        write_safetensors(tensors, folder / "model.safetensors", kind)
    return folder


def tiny_gguf(tiny: Tiny, path: Path, kind: GGMLQuantizationType = _T.F32) -> Path:
    """A tiny model as a GGUF file whose matrices have the number format ``kind``."""
    config = read_config(tiny)
    write_gguf(config, draw(config, tiny.seed), path, kind, tiny.vocabulary)
    return path


def read_config(tiny: Tiny) -> dict[str, Any]:
    """The checked-in configuration of a tiny model."""
    config: dict[str, Any] = json.loads((tiny.folder / "config.json").read_text())
    return config


# --- safetensors ---------------------------------------------------------------------------------


def write_safetensors(
    tensors: Mapping[str, NDArray[Any]], path: Path, kind: GGMLQuantizationType
) -> None:
    """One safetensors file: 8 bytes of header length, the header in JSON, the data end to end.

    Numbers are floats of this kind, or bytes.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    offset = 0
    for name, values in tensors.items():
        is_bytes = values.dtype == np.uint8
        part = (values if is_bytes else encoded(values, kind)).tobytes()
        offsets = [offset, offset + len(part)]
        dtype = "U8" if is_bytes else kind.name
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": offsets}
        parts.append(part)
        offset += len(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def write_shards(tensors: Tensors, folder: Path, kind: GGMLQuantizationType, shards: int) -> None:
    """The tensors dealt out over several files, with the index that says where each one is."""
    names = list(tensors)
    weight_map: dict[str, str] = {}
    for index in range(shards):
        file = f"model-{index + 1:05}-of-{shards:05}.safetensors"
        mine = names[index::shards]
        weight_map |= dict.fromkeys(mine, file)
        write_safetensors({name: tensors[name] for name in mine}, folder / file, kind)
    total = sum(values.size for values in tensors.values()) * (4 if kind == _T.F32 else 2)
    index_json = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index_json, indent=1))


def encoded(values: NDArray[np.float32], kind: GGMLQuantizationType) -> NDArray[np.generic]:
    """The values in a float format, rounded to nearest even; bfloat16 as its bits."""
    if kind == _T.F32:
        return values.astype("<f4")
    if kind == _T.F16:
        return values.astype("<f2")
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


# --- GGUF ----------------------------------------------------------------------------------------


def write_gguf(
    config: Config,
    tensors: Tensors,
    path: Path,
    kind: GGMLQuantizationType = _T.F32,
    vocabulary: str | None = None,
) -> None:
    """A GGUF file. Float formats round ``tensors``; block formats draw blocks of their own."""
    if converted.is_converted(config):
        return _write_converted(config, tensors, path, vocabulary)
    family = config["model_type"].replace("mistral", "llama").replace("_moe", "moe")
    writer = GGUFWriter(path, family)
    _add_metadata(writer, config)
    if vocabulary is not None:
        add_vocabulary(writer, FOLDER / "tokenizers" / vocabulary)
    divisors = rope_divisors(config)
    if divisors is not None:
        writer.add_tensor("rope_freqs.weight", divisors)
    for name, values in stack_experts(tensors).items():
        _add_tensor(writer, config, name, values, kind)
    _finish(writer)


def _write_converted(config: Config, tensors: Tensors, path: Path, vocabulary: str | None) -> None:
    writer = converted.new_writer(config, path)
    if vocabulary is not None:
        add_vocabulary(writer, FOLDER / "tokenizers" / vocabulary)
    for name, values in converted.converted(config, stack_experts(tensors)).items():
        writer.add_tensor(name, values)
    _finish(writer)


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_metadata(writer: GGUFWriter, config: Config) -> None:
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope_parameters(config)["rope_theta"])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if "num_experts" in config:
        writer.add_expert_count(config["num_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if "shared_expert_intermediate_size" in config:
        width = config["shared_expert_intermediate_size"]
        writer.add_expert_shared_feed_forward_length(width)
    if config["model_type"] in ("llama", "mistral"):
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(head_dim(config))
    rope = rope_parameters(config)
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if "beta_fast" in rope:
            writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
            writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])


def _add_tensor(
    writer: GGUFWriter,
    config: Config,
    name: str,
    values: NDArray[np.float32],
    kind: GGMLQuantizationType,
) -> None:
    is_llama = config["model_type"] in ("llama", "mistral")
    if is_llama and name.endswith(("q_proj.weight", "q_proj.bias")):
        values = interleaved(values, config["num_attention_heads"])
    if is_llama and name.endswith(("k_proj.weight", "k_proj.bias")):
        values = interleaved(values, config["num_key_value_heads"])
    if name.endswith("shared_expert_gate.weight"):  # one row, which the converter squeezes
        writer.add_tensor(name_in_gguf(config, name), values[0])
    elif values.ndim == 1 or kind == _T.F32 or name.endswith("mlp.gate.weight"):
        writer.add_tensor(name_in_gguf(config, name), values)
    elif kind in (_T.F16, _T.BF16):
        raw = encoded(values, kind).view(np.uint8)
        writer.add_tensor(name_in_gguf(config, name), raw, raw_dtype=kind)
    else:
        writer.add_tensor(
            name_in_gguf(config, name), _blocks(name, values.shape, kind), raw_dtype=kind
        )


def _blocks(name: str, shape: tuple[int, ...], kind: GGMLQuantizationType) -> NDArray[np.uint8]:
    if len(shape) == 2:
        return quantised(name, (shape[0], shape[1]), kind, spread(name, shape))
    one = ".experts.{}."
    names = [name.replace(".experts.", one.format(expert)) for expert in range(shape[0])]
    return np.stack([_blocks(expert, shape[1:], kind) for expert in names])


def stack_experts(tensors: Tensors) -> Tensors:
    """The same with the matrices of all experts as one tensor (experts, rows, columns)."""
    stacks: dict[str, list[NDArray[np.float32]]] = {}
    for name, values in tensors.items():
        match = _ONE_EXPERT.fullmatch(name)
        stacks.setdefault(match[1] + match[3] if match else name, []).append(values)
    return {
        name: parts[0] if name in tensors else np.stack(parts) for name, parts in stacks.items()
    }


def gguf_name(name: str) -> str:
    """A Hugging Face tensor name in GGUF's spelling."""
    stem, _, suffix = name.rpartition(".")
    prefix = ""
    if stem.startswith("model.layers."):
        _, _, index, stem = stem.split(".", 3)
        prefix = f"blk.{index}."
    return f"{prefix}{_GGUF_NAMES[stem]}.{suffix}"


def name_in_gguf(config: Config, name: str) -> str:
    """The GGUF name of a tensor; Seed-OSS' norm before the network is named after what precedes."""
    name = gguf_name(name)
    is_seed = config["model_type"] == "seed_oss"
    return name.replace("ffn_norm", "post_attention_norm") if is_seed else name


def interleaved(values: NDArray[np.float32], num_heads: int) -> NDArray[np.float32]:
    """Rows from half-split rope order (i, i + d/2) to pairs side by side, head by head."""
    split = values.reshape(num_heads, 2, -1, *values.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(values.shape)
