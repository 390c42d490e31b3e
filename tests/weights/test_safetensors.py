"""Safetensors files that keep to the format: what is read from them."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.weights.build import (
    described,
    float_bytes,
    one_tensor,
    safetensors,
    valid_safetensors,
    write_shards,
)
from wazn.errors import BadFile
from wazn.weights.formats import Format
from wazn.weights.safetensors import Safetensors


def opened(path: Path, content: bytes) -> Safetensors:
    path.write_bytes(content)
    return Safetensors(path)


def test_tensors_of_every_readable_dtype_are_described(tmp_path: Path) -> None:
    with opened(tmp_path / "m.safetensors", valid_safetensors()) as model:
        shapes = {name: (info.shape, info.format) for name, info in model.tensors.items()}
        assert shapes == {
            "model.norm.weight": ((6,), Format.BF16),
            "model.embed_tokens.weight": ((3, 2), Format.F32),
            "experts": ((2, 3, 4), Format.F16),
            "scalar": ((), Format.F32),
        }
        scalar = model.tensors["scalar"]
        assert (scalar.rows, scalar.columns, scalar.row_bytes) == (1, 1, 4)


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    with opened(tmp_path / "m.safetensors", valid_safetensors()) as model:
        assert model.read("model.norm.weight").tobytes() == bytes(range(12))
        assert model.read("scalar").shape == (1, 4)
        assert model.read("experts", 1, 3).tobytes() == float_bytes(24, "<f2")[8:24]
        rows = model.read("model.embed_tokens.weight")
        assert rows.shape == (3, 8) and rows.tobytes() == float_bytes(6, "<f4")


def test_a_file_without_tensors_is_read(tmp_path: Path) -> None:
    with opened(tmp_path / "m.safetensors", safetensors({})) as model:
        assert not model.tensors


def test_padding_after_the_header_is_harmless(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(64)
    with opened(tmp_path / "m.safetensors", safetensors(header, b"1234")) as model:
        assert model.read("a").tobytes() == b"1234"


def test_a_file_of_the_safetensors_package_is_read(tmp_path: Path) -> None:
    # safetensors 0.8.0: numpy.save({"w": arange(4, f4).reshape(2, 2), "v": ones(3, f2)}, …)
    content = (
        b'\x90\0\0\0\0\0\0\0{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,2],'
        b'"data_offsets":[0,16]},"v":{"dtype":"F16","shape":[3],"data_offsets":[16,22]}} '
        b"\0\0\0\0\0\0\x80?\0\0\0@\0\0@@\0<\0<\0<"
    )
    with opened(tmp_path / "m.safetensors", content) as model:
        assert np.array_equal(model.read("w").view(np.float32), [[0, 1], [2, 3]])
        assert np.array_equal(model.read("v").view(np.float16), [[1, 1, 1]])


def test_a_directory_with_a_single_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(one_tensor("a"))
    with Safetensors(tmp_path) as model:
        assert model.paths == (tmp_path / "model.safetensors",)
        assert model.read("a").tobytes() == float_bytes(6, "<f4")


def test_a_directory_of_shards_is_read_as_its_index_says(tmp_path: Path) -> None:
    write_shards(tmp_path)
    with Safetensors(str(tmp_path)) as model:
        assert [path.name[:11] for path in model.paths] == ["model-00001", "model-00002"]
        assert {name: info.file for name, info in model.tensors.items()} == {"a": 0, "b": 1}
        assert model.read("a").tobytes() == float_bytes(6, "<f4")
        assert model.read("b").tobytes() == float_bytes(2, "<f4")[:4]


def test_the_single_file_goes_before_the_index(tmp_path: Path) -> None:
    write_shards(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(one_tensor("single"))
    with Safetensors(tmp_path) as model:
        assert list(model.tensors) == ["single"]


def test_shards_may_be_links_into_a_cache(tmp_path: Path) -> None:
    cache, model_directory = tmp_path / "blobs", tmp_path / "snapshot"
    cache.mkdir()
    model_directory.mkdir()
    write_shards(cache)
    for file in cache.iterdir():
        (model_directory / file.name).symlink_to(Path("..") / "blobs" / file.name)
    with Safetensors(model_directory) as model:
        assert model.read("a").tobytes() == float_bytes(6, "<f4")


def test_a_file_that_is_cut_short_under_us_is_an_error(tmp_path: Path) -> None:
    with opened(tmp_path / "m.safetensors", valid_safetensors()) as model:
        os.truncate(tmp_path / "m.safetensors", model.tensors["scalar"].offset)
        with pytest.raises(BadFile, match=r"tensor 'scalar' ends at .* it changed"):
            model.read("scalar")


def test_many_tensors_are_read(tmp_path: Path) -> None:
    header = {f"layer.{i}": described("F32", [1], 4 * i, 4 * i + 4) for i in range(20_000)}
    content = safetensors(header, np.arange(20_000, dtype="<i4").tobytes())
    with opened(tmp_path / "m.safetensors", content) as model:
        assert model.read("layer.12345").view("<i4").item() == 12345


def test_whole_numbers_are_read_as_float32_that_can_hold_them(tmp_path: Path) -> None:
    for dtype, kind in (("I64", "<i8"), ("I32", "<i4")):
        numbers = np.array([[0, 1, -5], [7, 1 << 24, 300]], kind)
        entry = described(dtype, [2, 3], 0, numbers.nbytes)
        content = safetensors({"table": entry}, numbers.tobytes())
        with opened(tmp_path / f"{dtype}.safetensors", content) as model:
            info = model.tensors["table"]
            assert (info.shape, info.format, info.nbytes) == ((2, 3), Format.F32, 24)
            found = model.read("table", 1, 2).view("<f4")
            np.testing.assert_array_equal(found, numbers[1:].astype(np.float32))
        numbers[0, 0] = (1 << 24) + 1
        content = safetensors({"table": entry}, numbers.tobytes())
        with opened(tmp_path / f"{dtype}.safetensors", content) as model:
            with pytest.raises(BadFile, match="a whole number beyond 16777216"):
                model.read("table")
