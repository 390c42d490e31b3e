"""Every number format against the gguf package, bit for bit, and the check of its scales."""

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.weights.formats import GGML_FORMATS, UNREADABLE_GGML_TYPES, Format, dequantize
from wazn.weights.scales import check_scales

every_format = pytest.mark.parametrize("format", list(Format), ids=lambda format: format.name)
every_ggml_format = pytest.mark.parametrize("format", GGML_FORMATS, ids=lambda format: format.name)


def scale_fields(format: Format) -> list[str]:
    """The fields of a block that must be finite."""
    names = format.layout.names or ()
    return [name for name in names if name in ("d", "m", "value", "exponent")]


def assert_equals_gguf(raw: NDArray[np.uint8], format: Format) -> None:
    """Bit equality with the gguf package; any NaN equals any other."""
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(raw, GGMLQuantizationType(format.ggml_type))
    actual = dequantize(raw, format)
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    both_nan = np.isnan(actual) & np.isnan(expected)
    assert np.all(both_nan | (actual.view(np.uint32) == expected.view(np.uint32)))


@every_ggml_format
def test_a_format_has_the_name_type_and_block_of_ggml(format: Format) -> None:
    ggml_type = GGMLQuantizationType(format.ggml_type)
    assert ggml_type.name == format.name
    assert GGML_QUANT_SIZES[ggml_type] == (format.block_size, format.block_bytes)


def test_every_other_ggml_type_has_a_name_for_error_messages() -> None:
    readable = {format.ggml_type for format in Format}
    for ggml_type in GGMLQuantizationType:
        if ggml_type not in readable:
            assert UNREADABLE_GGML_TYPES[ggml_type] == ggml_type.name
    assert not readable & UNREADABLE_GGML_TYPES.keys()


@every_ggml_format
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_random_bytes_dequantize_as_the_gguf_package_does(
    format: Format, data: st.DataObject
) -> None:
    rows = data.draw(st.integers(1, 3))
    blocks = data.draw(st.integers(1, 3))
    num_bytes = rows * blocks * format.block_bytes
    raw = data.draw(st.binary(min_size=num_bytes, max_size=num_bytes))
    assert_equals_gguf(np.frombuffer(raw, np.uint8).reshape(rows, -1), format)


@every_ggml_format
def test_every_kind_of_scale_dequantizes_as_the_gguf_package_does(format: Format) -> None:
    random = np.random.default_rng(format.ggml_type)
    num_blocks = 65536 // (16 if format.block_size == 256 else 1)
    raw = random.integers(0, 256, (num_blocks, format.block_bytes), np.uint8)
    blocks = raw.reshape(-1).view(format.layout)
    for field in scale_fields(format):
        bits = blocks[field].view(f"<u{format.layout[field].itemsize}")
        # Odd step: all exponents, both signs, zero, subnormals, infinities, NaNs.
        patterns = np.arange(num_blocks, dtype=np.uint32) * (65536 // num_blocks | 1)
        bits[:] = random.permutation(patterns).astype(bits.dtype)
    assert_equals_gguf(raw.reshape(64, -1), format)


@every_format
def test_leading_dimensions_are_kept(format: Format) -> None:
    raw = np.zeros((2, 3, 4 * format.block_bytes), np.uint8)
    assert dequantize(raw, format).shape == (2, 3, 4 * format.block_size)
    assert dequantize(raw[:, :0], format).shape == (2, 0, 4 * format.block_size)
    assert dequantize(raw[:, ::2], format).shape == (2, 2, 4 * format.block_size)


def test_a_partial_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="17 bytes are no whole number of Q4_0 blocks"):
        dequantize(np.zeros((2, 17), np.uint8), Format.Q4_0)


def finite_rows(format: Format, rows: int, blocks: int) -> NDArray[np.uint8]:
    """Random packed rows whose scales are finite."""
    random = np.random.default_rng(1)
    raw = random.integers(0, 256, (rows, blocks * format.block_bytes), np.uint8)
    view = raw.reshape(-1).view(format.layout)
    for field in scale_fields(format):
        view[field] = 1
    return raw


@every_format
def test_finite_scales_pass_the_check_whatever_the_quants_are(format: Format) -> None:
    check_scales(finite_rows(format, 5, 3), format, "w")
    check_scales(np.zeros((0, 3 * format.block_bytes), np.uint8), format, "w")


def not_finite(format: Format, field: str) -> list[int]:
    """Bit patterns of infinities and NaNs of a field."""
    if format is Format.MXFP4:
        return [0xFF]
    if format is Format.BF16:
        return [0x7F80, 0xFF80, 0x7F81, 0xFFFF]
    if format.layout[field].itemsize == 4:
        return [0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF]
    return [0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFFFF]


@every_format
def test_a_scale_that_is_not_finite_is_refused_with_its_place(format: Format) -> None:
    for field in scale_fields(format):
        for bits in not_finite(format, field):
            raw = finite_rows(format, 4, 3)
            values = raw.reshape(-1).view(format.layout)[field]
            values.view(f"<u{values.itemsize}")[2 * 3 + 1] = bits
            with pytest.raises(BadFile, match=r"'blk\.0\.w' row 102: .* 1 is NaN or") as caught:
                check_scales(raw, format, "blk.0.w", first_row=100)
            assert f"{bits:#x}" in str(caught.value)


@every_format
def test_the_largest_finite_scale_passes_the_check(format: Format) -> None:
    for field in scale_fields(format):
        raw = finite_rows(format, 1, 2)
        values = raw.reshape(-1).view(format.layout)[field]
        values.view(f"<u{values.itemsize}")[1] = min(not_finite(format, field)) - 1
        check_scales(raw, format, "w")
