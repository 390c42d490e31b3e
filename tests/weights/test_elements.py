"""Tensors of any element type, by rows, by columns and whole."""

from pathlib import Path

import numpy as np
import pytest

from tests.weights.build import described, safetensors
from tests.weights.quantised.writers import Typed, write
from wazn.errors import BadFile
from wazn.weights import elements
from wazn.weights.elements import to_float32
from wazn.weights.formats import Format, dequantize
from wazn.weights.safetensors import Safetensors


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("I32", "<i4"), ("U8", "u1"), ("I8", "i1"), ("F16", "<f2"), ("BF16", "<u2"), ("I64", "<i8")],
)
def test_rows_and_columns_are_parts_of_the_whole(tmp_path: Path, dtype: str, kind: str) -> None:
    array = np.arange(77).reshape(7, 11).astype(kind)
    with Safetensors(write(tmp_path / "m.safetensors", {"a": (dtype, array)})) as model:
        found = model.elements
        np.testing.assert_array_equal(found.whole("a"), array)
        np.testing.assert_array_equal(found.rows("a", 2, 5), array[2:5])
        np.testing.assert_array_equal(found.columns("a", 3, 8), array[:, 3:8])
        assert found.columns("a", 3, 3).shape == (7, 0)
        assert found.bytes_of("a", 4, 9).tobytes() == array.tobytes()[4:9]
        assert "a" in found and "b" not in found


def test_two_4_bit_floats_are_a_byte(tmp_path: Path) -> None:
    packed = np.arange(12, dtype=np.uint8).reshape(3, 4)
    with Safetensors(write(tmp_path / "m.safetensors", {"a": ("F4", packed)})) as model:
        assert model.elements["a"].shape == (3, 8)
        np.testing.assert_array_equal(model.elements.rows("a", 1, 3), packed[1:])


@pytest.mark.parametrize(("shape", "num_bytes"), [([3], 2), ([3], 1), ([3, 4], 12), ([2, 4], 3)])
def test_4_bit_floats_must_fill_their_bytes(
    tmp_path: Path, shape: list[int], num_bytes: int
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors({"a": described("F4", shape, 0, num_bytes)}, bytes(num_bytes)))
    with pytest.raises(BadFile, match="its shape"):
        Safetensors(path)


def test_every_tensor_is_an_element_and_plain_numbers_are_tensors(
    tmp_path: Path,
) -> None:
    tensors: dict[str, Typed] = {
        "a": ("F32", np.zeros(2, "<f4")),
        "b": ("I64", np.zeros((2, 2), "<i8")),
        "c": ("F8_E4M3", np.zeros((2, 2), np.uint8)),
        "d": ("BOOL", np.zeros(3, np.uint8)),
    }
    with Safetensors(write(tmp_path / "m.safetensors", tensors)) as model:
        assert list(model.tensors) == ["a", "b"]
        assert {name: info.dtype for name, info in model.elements.infos.items()} == {
            name: dtype for name, (dtype, _) in tensors.items()
        }
        with pytest.raises(BadFile, match="no tensor named 'e'"):
            model.elements.whole("e")


@pytest.mark.parametrize(("dtype", "kind"), [("I32", "<i4"), ("I64", "<i8")])
def test_whole_numbers_are_read_as_floats_that_hold_them(
    tmp_path: Path, dtype: str, kind: str
) -> None:
    numbers = np.array([[0, -1, 1 << 24], [5, 6, 7]]).astype(kind)
    large = np.full((1, 1), -(1 << 24) - 1).astype(kind)
    tensors: dict[str, Typed] = {"a": (dtype, numbers), "b": (dtype, large)}
    with Safetensors(write(tmp_path / "m.safetensors", tensors)) as model:
        info = model.tensors["a"]
        assert (info.format, info.nbytes, info.row_bytes) == (Format.F32, 24, 12)
        for start, stop in ((0, 2), (1, 2), (1, 1)):
            found = dequantize(model.read("a", start, stop), Format.F32)
            np.testing.assert_array_equal(found, numbers[start:stop])
        np.testing.assert_array_equal(dequantize(model.read("a"), Format.F32), numbers)
        with pytest.raises(BadFile, match="tensor 'b' has a whole number beyond 16777216"):
            model.read("b")
        with pytest.raises(BadFile, match="no tensor named 'c'"):
            model.read("c")


def test_what_should_be_small_is_not_read_when_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elements, "MAX_WHOLE_BYTES", 15)
    path = write(tmp_path / "m.safetensors", {"a": ("F32", np.zeros(4, "<f4"))})
    with Safetensors(path) as model, pytest.raises(BadFile, match="'a' has 16 bytes, at most 15"):
        model.elements.whole("a")


def test_scales_of_every_float_type_become_float32_exactly() -> None:
    halves = np.array([0.1, 65504, 6e-8], np.float16)
    np.testing.assert_array_equal(to_float32(halves, "F16"), halves.astype(np.float32))
    bits = np.array([0x3F80, 0xC040, 0x0001], np.uint16)
    np.testing.assert_array_equal(to_float32(bits, "BF16"), np.array([1, -3, 2.0**-133], "f4"))
    exponents = np.array([0, 1, 127, 254, 255], np.uint8)
    expected = np.array([2.0**-127, 2.0**-126, 1, 2.0**127, np.nan], np.float32)
    np.testing.assert_array_equal(to_float32(exponents, "F8_E8M0"), expected)
    assert to_float32(exponents, "U8") is None
