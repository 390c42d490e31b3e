"""Quantised matrices against the packages that publish their formats, bit for bit.

Scales are given to the references as float32, which changes no scale: they then multiply in
float32, as wazn does, where they would round each product to 16 bits.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from wazn.weights.container import Container
from wazn.weights.formats import dequantize
from wazn.weights.loss import Loss
from wazn.weights.quantised.find import make_weights
from wazn.weights.safetensors import Safetensors

NAME = "model.layers.0.mlp.up_proj"


def opened(folder: Path, tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> Container:
    path = folder / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return make_weights(Safetensors(path), {"quantization_config": settings}, "config", Loss())


def values(container: Container, name: str) -> NDArray[np.float32]:
    return dequantize(container.read(name), container.tensors[name].format)


def assert_same(found: NDArray[np.float32], expected: torch.Tensor) -> None:
    np.testing.assert_array_equal(found, expected.to(torch.float32).numpy().reshape(found.shape))


def dequantiser() -> Any:
    """What transformers loads 8-bit floats with."""
    kind: Any = Fp8Dequantize
    return kind(None)


ARGUMENTS = [
    {"num_bits": 4, "strategy": "group", "group_size": 128, "symmetric": True},
    {"num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": False},
    {"num_bits": 4, "strategy": "channel", "symmetric": False},
    {"num_bits": 8, "strategy": "channel", "symmetric": True},
    {"num_bits": 8, "strategy": "group", "group_size": 64, "symmetric": False},
]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("form", ["pack-quantized", "int-quantized"])
def test_compressed_tensors_decompresses_to_the_same_values(
    tmp_path: Path, form: str, arguments: dict[str, Any], dtype: torch.dtype
) -> None:
    if form == "int-quantized" and arguments["num_bits"] == 4:
        arguments = {**arguments, "num_bits": 8}
    torch.manual_seed(0)
    weight = torch.randn(48, 256, dtype=dtype) * 0.02
    groups = 256 // arguments.get("group_size", 256)
    top = 2 ** (arguments["num_bits"] - 1)
    rows = weight.float().reshape(48, groups, -1)
    low, high = rows.amin(-1).clamp(max=0), rows.amax(-1).clamp(min=0)
    scale = (rows.abs().amax(-1) / (top - 0.5)).to(dtype)
    tensors = {"weight": weight, "weight_scale": scale}
    if not arguments["symmetric"]:
        scale = ((high - low) / (2 * top - 1)).to(dtype)
        zeros = torch.round(-top - low / scale.float()).clamp(-top, top - 1).to(torch.int8)
        tensors = {"weight": weight, "weight_scale": scale, "weight_zero_point": zeros}
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**arguments))
    compressor: Any = BaseCompressor.get_value_from_registry(form)
    compressed = compressor.compress(tensors, scheme)
    exact = {**compressed, "weight_scale": compressed["weight_scale"].float()}
    expected = compressor.decompress(exact, scheme)["weight"]
    settings = {"quant_method": "compressed-tensors", "format": form}
    named = {f"{NAME}.{suffix}": tensor for suffix, tensor in compressed.items()}
    assert_same(values(opened(tmp_path, named, settings), f"{NAME}.weight"), expected)


@pytest.mark.parametrize("scale_name", ["weight_scale_inv", "scale"])
def test_transformers_dequantises_blocks_of_8_bit_floats_to_the_same_values(
    tmp_path: Path, scale_name: str
) -> None:
    torch.manual_seed(1)
    codes = torch.randn(256, 384).to(torch.float8_e4m3fn)
    scale = torch.exp2(torch.randint(-12, -4, (2, 3)).float())
    reference = dequantiser()
    expected = reference._dequantize_one(codes, scale, torch.float32)
    tensors = {"a.weight": codes, f"a.{scale_name}": scale.to(torch.float8_e8m0fnu)}
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    assert_same(values(opened(tmp_path, tensors, settings), "a.weight"), expected)
    arbitrary = torch.rand(2, 3) * 0.01
    expected = reference._dequantize_one(codes, arbitrary, torch.float32)
    container = opened(tmp_path, {"a.weight": codes, f"a.{scale_name}": arbitrary}, settings)
    assert_same(values(container, "a.weight"), expected.to(torch.float16))


def test_transformers_dequantises_4_bit_matrices_to_the_same_values(tmp_path: Path) -> None:
    torch.manual_seed(2)
    codes = torch.randint(-128, 128, (64, 48), dtype=torch.int8)
    scale = torch.exp2(torch.randint(-12, 4, (64, 3)).float())
    reference = dequantiser()
    expected = reference._dequantize_one(codes, scale, torch.float32)
    tensors = {"a.weight": codes, "a.scale": scale.to(torch.float8_e8m0fnu)}
    assert_same(values(opened(tmp_path, tensors, {"quant_method": "fp8"}), "a.weight"), expected)


def test_transformers_dequantises_gpt_oss_experts_to_the_same_values(tmp_path: Path) -> None:
    torch.manual_seed(3)
    blocks = torch.randint(0, 256, (4, 64, 3, 16), dtype=torch.uint8)
    scales = torch.randint(110, 130, (4, 64, 3), dtype=torch.uint8)
    both = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)  # (experts, in, out)
    experts = "model.layers.0.mlp.experts"
    tensors = {
        f"{experts}.gate_up_proj_blocks": blocks,
        f"{experts}.gate_up_proj_scales": scales,
        f"{experts}.down_proj_blocks": blocks.clone(),
        f"{experts}.down_proj_scales": scales.clone(),
    }
    container = opened(tmp_path, tensors, {"quant_method": "mxfp4"})
    assert_same(values(container, f"{experts}.gate_proj.weight"), both[..., 0::2].mT)
    assert_same(values(container, f"{experts}.up_proj.weight"), both[..., 1::2].mT)
    assert_same(values(container, f"{experts}.down_proj.weight"), both.mT)
