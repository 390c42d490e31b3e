"""Small models of random packed weights in any number format, without a file."""

import numpy as np
from numpy.typing import NDArray

from tests.native.programs import random_raw
from wazn import native
from wazn.models.config import Config, RopeScaling
from wazn.models.expert_config import ExpertConfig
from wazn.models.llama import Llama
from wazn.models.model import Model, Options, TextParts
from wazn.models.qwen import Qwen2, Qwen3
from wazn.models.qwen_moe import Qwen2Moe, Qwen3Moe
from wazn.weights.formats import Format
from wazn.weights.packed import VECTOR, PackedWeights, Place

FAMILIES = {
    "llama": Llama,
    "qwen2": Qwen2,
    "qwen3": Qwen3,
    "qwen2_moe": Qwen2Moe,
    "qwen3_moe": Qwen3Moe,
}
EXPERTS, EXPERT_WIDTH = 9, 256
HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 256, 512, 6, 2, 32, 300


def random_config(family: str) -> Config:
    return Config(
        family=family,
        num_layers=2,
        hidden_size=HIDDEN,
        intermediate_size=FEED_FORWARD,
        num_heads=HEADS,
        num_kv_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        vocab_size=VOCAB,
        context_length=4096,
        norm_eps=1e-5,
        rope_theta=10000.0,
        rope_scaling=RopeScaling(),
        rope_interleaved=family == "llama",
        experts=ExpertConfig(EXPERTS, 3, EXPERT_WIDTH, family == "qwen3_moe")
        if family.endswith("_moe")
        else None,
    )


def _shapes(family: str) -> dict[str, tuple[int, ...]]:
    """Rows and columns of each tensor; vectors have one row, experts are stacked."""
    query, key = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    # attn_output has 192 columns: K-quants need 256, so real files store it in another format
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (1, HIDDEN),
        "post_attention_layernorm.weight": (1, HIDDEN),
        "self_attn.q_proj.weight": (query, HIDDEN),
        "self_attn.k_proj.weight": (key, HIDDEN),
        "self_attn.v_proj.weight": (key, HIDDEN),
        "self_attn.o_proj.weight": (HIDDEN, query),
        "mlp.gate_proj.weight": (FEED_FORWARD, HIDDEN),
        "mlp.up_proj.weight": (FEED_FORWARD, HIDDEN),
        "mlp.down_proj.weight": (HIDDEN, FEED_FORWARD),
    }
    if family.endswith("_moe"):
        layer = {name: shape for name, shape in layer.items() if not name.startswith("mlp.")}
        layer |= {
            "mlp.gate.weight": (EXPERTS, HIDDEN),
            "mlp.experts.gate_proj.weight": (EXPERTS, EXPERT_WIDTH, HIDDEN),
            "mlp.experts.up_proj.weight": (EXPERTS, EXPERT_WIDTH, HIDDEN),
            "mlp.experts.down_proj.weight": (EXPERTS, HIDDEN, EXPERT_WIDTH),
        }
    if family == "qwen2_moe":
        layer |= {
            "mlp.shared_expert_gate.weight": (1, HIDDEN),
            "mlp.shared_expert.gate_proj.weight": (FEED_FORWARD, HIDDEN),
            "mlp.shared_expert.up_proj.weight": (FEED_FORWARD, HIDDEN),
            "mlp.shared_expert.down_proj.weight": (HIDDEN, FEED_FORWARD),
        }
    if family in ("qwen2", "qwen2_moe"):
        layer |= {f"self_attn.{name}_proj.bias": (1, key) for name in "kv"}
        layer["self_attn.q_proj.bias"] = (1, query)
    if family in ("qwen3", "qwen3_moe"):
        layer |= {f"self_attn.{name}_norm.weight": (1, HEAD_DIM) for name in "qk"}
    shapes: dict[str, tuple[int, ...]] = {
        f"model.layers.{i}.{name}": shape for i in range(2) for name, shape in layer.items()
    }
    shapes["model.embed_tokens.weight"] = (VOCAB, HIDDEN)
    shapes["model.norm.weight"] = (1, HIDDEN)
    return shapes


def _packed(
    format: Format, shape: tuple[int, int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    count, rows, columns = shape
    layout = native.LAYOUTS[format.name]
    data = np.empty((count, native.packed_bytes(layout, rows, columns)), np.uint8)
    for part in data:
        native.pack(layout, random_raw(format, rows, columns, rng), columns, part)
    return data.reshape(-1)


def random_weights(family: str, format: Format, seed: int = 0) -> PackedWeights:
    rng = np.random.default_rng(seed)
    parts, places, offset = [], {}, 0
    for name, (*counts, rows, columns) in _shapes(family).items():
        if rows == 1 and not name.endswith("shared_expert_gate.weight"):
            data = rng.normal(1, 0.1, columns).astype(np.float32).view(np.uint8)
            place = Place(VECTOR, 1, columns, offset, data.size)
        else:
            used = format if columns % format.block_size == 0 else Format.Q8_0
            used = Format.F32 if "gate.weight" in name else used  # routers are stored as float32
            count = counts[0] if counts else 1
            data = _packed(used, (count, rows, columns), rng)
            place = Place(used.name, rows, columns, offset, data.size, count)
        places[name] = place
        parts.append(np.pad(data, (0, -data.size % 64)))
        offset += parts[-1].size
    memory = native.Memory.allocate(offset)
    memory.writable()[:] = np.concatenate(parts)
    return PackedWeights(memory, places)


def random_model(
    family: str,
    format: Format,
    *,
    threads: int = 1,
    exact: bool = False,
    pages: int = 64,
    cpus: tuple[int, ...] = (),
) -> Model:
    decoder = FAMILIES[family](random_config(family))
    weights = random_weights(family, format)
    model = Model(decoder, weights, Options(threads, exact, "auto", cpus), TextParts())
    model.open_cache(pages)
    return model
