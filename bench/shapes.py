"""GGUF files of real shapes, cut to a few layers, with random weights: for speed, not quality.

    python -m bench.shapes SHAPE TARGET.gguf --vocabulary SOURCE.gguf [--seed N]

How long a step takes does not depend on what the weights are, as long as tokens go to different
experts, which those of random routers do. So random blocks are fair to every engine that reads the
file, and a shape is a list of tensors: name, sizes and number format. The sizes are those of the
published checkpoints, names and metadata those that llama.cpp's converter writes; only layers are
missing, and the vocabulary is that of SOURCE, filled up. Needs gguf.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import ExpertGatingFuncType, GGMLQuantizationType, GGUFWriter, RopeScalingType
from gguf.constants import GGML_QUANT_SIZES
from numpy.typing import NDArray

from bench.vocabulary import copy_vocabulary
from wazn.weights.gguf import GGUF

VOCABULARY = 64000
_T = GGMLQuantizationType


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor to write: ``sizes`` with the columns last; ones for norms, noise for all else."""

    name: str
    sizes: tuple[int, ...]
    kind: GGMLQuantizationType = _T.F32

    @property
    def bytes(self) -> int:
        """What it takes in the file."""
        block, size = GGML_QUANT_SIZES[self.kind]
        return math.prod(self.sizes) // block * size


@dataclass(frozen=True, slots=True)
class Shape:
    """``describe`` writes the metadata; ``tensors`` lists what a layer has, given its number."""

    family: str
    layers: int
    hidden: int
    kind: GGMLQuantizationType  # of all matrices outside of the layers
    describe: Callable[[GGUFWriter], None]
    layer: Callable[[int], Iterator[Planned]]

    def tensors(self) -> Iterator[Planned]:
        """Every tensor, in the order of the file."""
        yield Planned("token_embd.weight", (VOCABULARY, self.hidden), self.kind)
        yield Planned("output.weight", (VOCABULARY, self.hidden), self.kind)
        yield Planned("output_norm.weight", (self.hidden,))
        for index in range(self.layers):
            for planned in self.layer(index):
                yield Planned(f"blk.{index}.{planned.name}", planned.sizes, planned.kind)


def _experts(writer: GGUFWriter, count: int, used: int, width: int) -> None:
    writer.add_expert_count(count)
    writer.add_expert_used_count(used)
    writer.add_expert_feed_forward_length(width)


def _network(suffix: str, stack: tuple[int, ...], hidden: int, width: int) -> Iterator[Planned]:
    """Gate, up and down of an ordinary network, or of a stack of experts, in Q4_0."""
    yield Planned(f"ffn_gate{suffix}.weight", (*stack, width, hidden), _T.Q4_0)
    yield Planned(f"ffn_up{suffix}.weight", (*stack, width, hidden), _T.Q4_0)
    yield Planned(f"ffn_down{suffix}.weight", (*stack, hidden, width), _T.Q4_0)


def _describe_qwen3_moe(writer: GGUFWriter) -> None:
    """Qwen3-30B-A3B: config.json of Qwen/Qwen3-30B-A3B."""
    writer.add_context_length(40960)
    writer.add_feed_forward_length(6144)
    writer.add_head_count(32)
    writer.add_head_count_kv(4)
    writer.add_key_length(128)
    writer.add_value_length(128)
    writer.add_rope_freq_base(1000000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    _experts(writer, 128, 8, 768)


def _qwen3_moe_layer(_: int) -> Iterator[Planned]:
    for name, size in (("attn_norm", 2048), ("ffn_norm", 2048)):
        yield Planned(f"{name}.weight", (size,))
    for name in ("attn_q_norm", "attn_k_norm"):
        yield Planned(f"{name}.weight", (128,))
    yield Planned("attn_q.weight", (32 * 128, 2048), _T.Q4_0)
    yield Planned("attn_k.weight", (4 * 128, 2048), _T.Q4_0)
    yield Planned("attn_v.weight", (4 * 128, 2048), _T.Q4_0)
    yield Planned("attn_output.weight", (2048, 32 * 128), _T.Q4_0)
    yield Planned("ffn_gate_inp.weight", (128, 2048))
    yield from _network("_exps", (128,), 2048, 768)


def _describe_deepseek_v2_lite(writer: GGUFWriter) -> None:
    """DeepSeek-V2-Lite: config.json of deepseek-ai/DeepSeek-V2-Lite.

    llama.cpp knows by the number of layers (26, 27) that a query is not compressed; in a file with
    fewer, a rank of 0 has to say it.
    """
    writer.add_context_length(163840)
    writer.add_feed_forward_length(10944)
    writer.add_head_count(16)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_q_lora_rank(0)
    writer.add_kv_lora_rank(512)
    writer.add_key_length(512 + 64)
    writer.add_value_length(512)
    writer.add_key_length_mla(128 + 64)
    writer.add_value_length_mla(128)
    writer.add_rope_dimension_count(64)
    _yarn(writer, base=10000.0, factor=40.0)
    writer.add_rope_scaling_yarn_log_mul(0.1 * 0.707)
    writer.add_leading_dense_block_count(1)
    _experts(writer, 64, 6, 1408)
    writer.add_expert_shared_count(2)
    writer.add_expert_weights_scale(1.0)
    writer.add_expert_gating_func(ExpertGatingFuncType.SOFTMAX)


def _deepseek_v2_lite_layer(index: int) -> Iterator[Planned]:
    yield Planned("attn_norm.weight", (2048,))
    yield Planned("ffn_norm.weight", (2048,))
    yield Planned("attn_kv_a_norm.weight", (512,))
    yield Planned("attn_q.weight", (16 * 192, 2048), _T.Q4_0)
    yield Planned("attn_kv_a_mqa.weight", (512 + 64, 2048), _T.Q4_0)
    yield Planned("attn_k_b.weight", (16, 512, 128), _T.Q4_0)
    yield Planned("attn_v_b.weight", (16, 128, 512), _T.Q4_0)
    yield Planned("attn_output.weight", (2048, 16 * 128), _T.Q4_0)
    if index == 0:
        yield from _network("", (), 2048, 10944)
        return
    yield Planned("ffn_gate_inp.weight", (64, 2048))
    yield from _network("_exps", (64,), 2048, 1408)
    yield from _network("_shexp", (), 2048, 2 * 1408)


def _describe_gpt_oss(writer: GGUFWriter) -> None:
    """gpt-oss-20b: config.json of openai/gpt-oss-20b. Every other layer has the window."""
    writer.add_context_length(131072)
    writer.add_feed_forward_length(2880)
    writer.add_head_count(64)
    writer.add_head_count_kv(8)
    writer.add_key_length(64)
    writer.add_value_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    _yarn(writer, base=150000.0, factor=32.0)
    writer.add_sliding_window(128)
    _experts(writer, 32, 4, 2880)


def _gpt_oss_layer(_: int) -> Iterator[Planned]:
    yield Planned("attn_norm.weight", (2880,))
    yield Planned("post_attention_norm.weight", (2880,))
    yield Planned("attn_sinks.weight", (64,))
    yield from _biased("attn_q", (64 * 64, 2880), _T.Q8_0)
    yield from _biased("attn_k", (8 * 64, 2880), _T.Q8_0)
    yield from _biased("attn_v", (8 * 64, 2880), _T.Q8_0)
    yield from _biased("attn_output", (2880, 64 * 64), _T.Q8_0)
    yield from _biased("ffn_gate_inp", (32, 2880), _T.F32)
    for name in ("gate", "up", "down"):
        yield from _biased(f"ffn_{name}_exps", (32, 2880, 2880), _T.MXFP4)


def _biased(name: str, sizes: tuple[int, ...], kind: GGMLQuantizationType) -> Iterator[Planned]:
    yield Planned(f"{name}.weight", sizes, kind)
    yield Planned(f"{name}.bias", sizes[:-1])


def _yarn(writer: GGUFWriter, base: float, factor: float) -> None:
    writer.add_rope_freq_base(base)
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(factor)
    writer.add_rope_scaling_orig_ctx_len(4096)
    writer.add_rope_scaling_yarn_beta_fast(32.0)
    writer.add_rope_scaling_yarn_beta_slow(1.0)


SHAPES = {
    "qwen3-moe-12": Shape("qwen3moe", 12, 2048, _T.Q4_0, _describe_qwen3_moe, _qwen3_moe_layer),
    "deepseek-v2-lite-9": Shape(
        "deepseek2", 9, 2048, _T.Q4_0, _describe_deepseek_v2_lite, _deepseek_v2_lite_layer
    ),
    "gpt-oss-6": Shape("gpt-oss", 6, 2880, _T.Q8_0, _describe_gpt_oss, _gpt_oss_layer),
}


def noise(planned: Planned, random: np.random.Generator) -> NDArray[Any]:
    """Its values in the bytes of its format, scaled so that a row maps variance 1 to about 1."""
    if planned.kind is _T.F32:
        if len(planned.sizes) == 1 and "norm" in planned.name:
            return np.ones(planned.sizes, np.float32)
        values = random.standard_normal(planned.sizes, dtype=np.float32)
        return values / np.float32(math.sqrt(planned.sizes[-1]))
    block, size = GGML_QUANT_SIZES[planned.kind]
    *rows, columns = planned.sizes
    blocks = random.integers(0, 256, (*rows, columns // block, size), dtype=np.uint8)
    wanted = 1 / math.sqrt(columns)
    if planned.kind is _T.MXFP4:  # one byte of exponent; the root mean square of codes is 2.93
        blocks[..., 0] = 127 + round(math.log2(wanted / 2.93))
    else:  # a float16; the root mean squares of uniform codes of 4 and 8 bits
        code = {_T.Q4_0: 4.64, _T.Q8_0: 73.9}[planned.kind]
        blocks[..., :2] = np.array([wanted / code], np.float16).view(np.uint8)
    return blocks.reshape(*rows, -1)


def begin(shape: Shape, vocabulary: Path, target: Path) -> GGUFWriter:
    """The file up to its tensors' values, with the vocabulary of the GGUF file ``vocabulary``."""
    writer = GGUFWriter(target, shape.family)
    writer.add_block_count(shape.layers)
    writer.add_embedding_length(shape.hidden)
    writer.add_vocab_size(VOCABULARY)
    shape.describe(writer)
    with GGUF(vocabulary) as source:
        copy_vocabulary(source, writer, VOCABULARY)
    for t in shape.tensors():
        writer.add_tensor_info(t.name, t.sizes, np.dtype(np.float32), t.bytes, t.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return writer


def write_shape(shape: Shape, vocabulary: Path, target: Path, seed: int = 0) -> None:
    """Write the whole file, one tensor at a time."""
    random = np.random.default_rng(seed)
    writer = begin(shape, vocabulary, target)
    for planned in shape.tensors():
        writer.write_tensor_data(noise(planned, random))
    writer.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("target", type=Path)
    parser.add_argument("--vocabulary", type=Path, required=True, metavar="SOURCE")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    write_shape(SHAPES[asked.shape], asked.vocabulary, asked.target, asked.seed)


if __name__ == "__main__":
    main()
