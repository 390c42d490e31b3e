"""GPTQ, AWQ and compressed-tensors: every weight is worth what the format's formula says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.weights.quantised import writers
from tests.weights.quantised.reading import assert_same_bits, opened, packed_values, values_of
from tests.weights.quantised.writers import Coding, Written
from wazn.errors import UnsupportedModel
from wazn.weights.formats import Format
from wazn.weights.loss import Loss

NAME = "model.layers.0.mlp.up_proj"
GPTQ = {"quant_method": "gptq", "bits": 4}
AWQ = {"quant_method": "awq", "bits": 4}
COMPRESSED = {"quant_method": "compressed-tensors", "format": "pack-quantized"}

CODINGS = [
    Coding(),
    Coding(scales="BF16", group=32),
    Coding(scales="F32", group=64),
    Coding(columns=384, group=384),
    Coding(columns=96, group=96, scales="BF16"),
    Coding(rows=40, bits=8),
    Coding(bits=8, scales="F32", group=32),
]
every_coding = pytest.mark.parametrize("coding", CODINGS, ids=str)
every_4_bit_coding = pytest.mark.parametrize("coding", [c for c in CODINGS if c.bits == 4], ids=str)


def assert_reads(folder: Path, written: Written, settings: dict[str, Any]) -> None:
    """The matrix has the values of the formula, in the container and in panels, and lost none."""
    loss = Loss()
    container = opened(folder, written.named(NAME), settings, loss=loss)
    assert list(container.tensors) == [f"{NAME}.weight"]
    info = container.tensors[f"{NAME}.weight"]
    assert info.shape == written.values.shape
    assert info.format.name.startswith("INT")
    assert_same_bits(values_of(container, info.name), written.values)
    assert_same_bits(packed_values(container, info.name), written.values)
    assert loss.sums == {}
    container.close()


@every_coding
@pytest.mark.parametrize("v2", [False, True])
def test_gptq_keeps_every_value(tmp_path: Path, coding: Coding, v2: bool) -> None:
    written = writers.gptq(np.random.default_rng(1), coding, v2=v2)
    settings = {**GPTQ, "bits": coding.bits, "checkpoint_format": "gptq_v2" if v2 else "gptq"}
    assert_reads(tmp_path, written, settings)


def test_gptq_without_g_idx_is_in_order(tmp_path: Path) -> None:
    written = writers.gptq(np.random.default_rng(2), Coding())
    del written.tensors["g_idx"]
    assert_reads(tmp_path, written, GPTQ)


@every_4_bit_coding
def test_awq_keeps_every_value(tmp_path: Path, coding: Coding) -> None:
    assert_reads(tmp_path, writers.awq(np.random.default_rng(3), coding), AWQ)


@every_coding
@pytest.mark.parametrize("symmetric", [True, False])
def test_packed_integers_of_compressed_tensors_keep_every_value(
    tmp_path: Path, coding: Coding, symmetric: bool
) -> None:
    written = writers.pack_quantized(np.random.default_rng(4), coding, symmetric=symmetric)
    assert_reads(tmp_path, written, COMPRESSED)


@every_coding
@pytest.mark.parametrize("symmetric", [True, False])
def test_bytes_of_compressed_tensors_keep_every_value(
    tmp_path: Path, coding: Coding, symmetric: bool
) -> None:
    written = writers.int_quantized(np.random.default_rng(5), coding, symmetric=symmetric)
    assert_reads(tmp_path, written, {**COMPRESSED, "format": "int-quantized"})


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (24,)])
def test_one_scale_for_a_matrix_or_a_row_is_spread(tmp_path: Path, shape: tuple[int, ...]) -> None:
    coding = Coding(group=256)
    written = writers.int_quantized(np.random.default_rng(6), coding, symmetric=True)
    scales = np.full(24, 0.25, "<f2") if shape == (24,) else np.full(1, 0.25, "<f2")
    written.tensors["weight_scale"] = "F16", scales.reshape(shape)
    written.values = written.tensors["weight"][1].astype(np.float32) * np.float32(0.25)
    assert_reads(tmp_path, written, {**COMPRESSED, "format": "int-quantized"})


def test_groups_of_128_columns_share_a_block(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    wide = opened(tmp_path, writers.awq(rng, Coding(group=128)).named("a"), AWQ)
    assert wide.tensors["a.weight"].format is Format.INT4_128
    narrow = opened(tmp_path, writers.awq(rng, Coding(group=64)).named("a"), AWQ)
    assert narrow.tensors["a.weight"].format is Format.INT4


def disordered(coding: Coding) -> list[int]:
    groups = [column // coding.group for column in range(coding.columns)]
    return [int(group) for group in np.random.default_rng(8).permutation(groups)]


def gptq_with_act_order() -> Written:
    coding = Coding(columns=256, group=64)
    return writers.gptq(np.random.default_rng(8), coding, groups=disordered(coding))


def compressed_with_act_order() -> Written:
    coding = Coding(columns=256, group=64)
    rng = np.random.default_rng(9)
    return writers.pack_quantized(rng, coding, symmetric=False, groups=disordered(coding))


@pytest.mark.parametrize(
    ("write", "settings"),
    [(gptq_with_act_order, GPTQ), (compressed_with_act_order, COMPRESSED)],
    ids=["gptq", "compressed-tensors"],
)
def test_act_order_is_refused_by_name_unless_weights_are_quantised_anew(
    tmp_path: Path, write: Callable[[], Written], settings: dict[str, Any]
) -> None:
    written = write()
    with pytest.raises(UnsupportedModel, match=r"up_proj.*act-order.*--weights q8"):
        opened(tmp_path, written.named(NAME), settings)
    container = opened(tmp_path, written.named(NAME), settings, as_floats=True)
    assert container.tensors[f"{NAME}.weight"].format is Format.F32
    assert_same_bits(values_of(container, f"{NAME}.weight"), written.values)
