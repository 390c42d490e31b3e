"""GGUF files that keep to the format: what is read from them."""

import os
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.weights.build import (
    F16,
    F32,
    LIST,
    STRING,
    GGUFFile,
    GGUFTensor,
    elements,
    entry,
    float_bytes,
    q4_0_bytes,
    strings,
    text,
    uint32,
    valid_gguf,
)
from wazn.errors import BadFile
from wazn.weights.formats import Format
from wazn.weights.gguf import GGUF


def opened(path: Path, file: GGUFFile) -> GGUF:
    path.write_bytes(file.build())
    return GGUF(path)


def test_metadata_of_every_type_is_read(tmp_path: Path) -> None:
    with opened(tmp_path / "m.gguf", valid_gguf()) as model:
        metadata = dict(model.metadata)
    assert metadata.pop("tokens") == ["a", "", "Ġthe", "\udce2\udc96"]
    assert metadata == {
        "general.architecture": "llama",
        "u8": 255,
        "i8": -1,
        "u16": 65535,
        "i16": -32768,
        "u32": 2**32 - 1,
        "i32": -(2**31),
        "f32": 0.5,
        "flag": True,
        "u64": 2**64 - 1,
        "i64": -(2**63),
        "f64": 1e300,
        "numbers": [-1, 0, 7],
        "flags": [True, False],
        "nested": [[1, 2], [True]],
        "empty": [],
    }
    assert metadata["flag"] is True


def test_invalid_utf8_in_strings_can_be_turned_back_into_bytes(tmp_path: Path) -> None:
    with opened(tmp_path / "m.gguf", valid_gguf()) as model:
        tokens = model.metadata["tokens"]
    assert isinstance(tokens, list) and isinstance(tokens[3], str)
    assert tokens[3].encode("utf-8", "surrogateescape") == b"\xe2\x96"


def test_tensors_are_described_rows_first(tmp_path: Path) -> None:
    with opened(tmp_path / "m.gguf", valid_gguf()) as model:
        assert list(model.tensors) == ["norm.weight", "blk.0.ffn_up.weight", "experts.weight"]
        experts = model.tensors["experts.weight"]
        assert (experts.shape, experts.format, experts.nbytes) == ((2, 3, 4), Format.F16, 48)
        assert (experts.rows, experts.columns, experts.row_bytes) == (6, 4, 8)
        norm = model.tensors["norm.weight"]
        assert (norm.rows, norm.columns, norm.row_bytes, norm.file) == (1, 6, 24, 0)
        assert model.paths == (tmp_path / "m.gguf",)


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    with opened(tmp_path / "m.gguf", valid_gguf()) as model:
        rows = model.read("blk.0.ffn_up.weight")
        assert rows.shape == (3, 36) and rows.tobytes() == q4_0_bytes(6)
        assert np.array_equal(model.read("blk.0.ffn_up.weight", 1, 2), rows[1:2])
        assert model.read("blk.0.ffn_up.weight", 2).shape == (1, 36)
        assert model.read("blk.0.ffn_up.weight", 3).shape == (0, 36)
        assert model.read("norm.weight").tobytes() == float_bytes(6, "<f4")
        assert model.read("experts.weight", 1, 5).tobytes() == float_bytes(24, "<f2")[8:40]


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 1), (0, 4), (4, None)])
def test_rows_out_of_range_are_a_programming_error(
    tmp_path: Path, start: int, stop: int | None
) -> None:
    with (
        opened(tmp_path / "m.gguf", valid_gguf()) as model,
        pytest.raises(ValueError, match="which has 3"),
    ):
        model.read("blk.0.ffn_up.weight", start, stop)


def test_a_tensor_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "m.gguf", valid_gguf()) as model,
        pytest.raises(BadFile, match=r"m\.gguf: no tensor named 'output\.weight'"),
    ):
        model.read("output.weight")


def test_a_closed_model_cannot_be_read_and_closes_twice(tmp_path: Path) -> None:
    model = opened(tmp_path / "m.gguf", valid_gguf())
    model.close()
    model.close()
    with pytest.raises(ValueError, match="read after close"):
        model.read("norm.weight")


def test_version_2_is_read(tmp_path: Path) -> None:
    file = valid_gguf()
    file.magic = b"GGUF" + struct.pack("<I", 2)
    with opened(tmp_path / "m.gguf", file) as model:
        assert model.read("norm.weight").tobytes() == float_bytes(6, "<f4")


@pytest.mark.parametrize("alignment", [1, 8, 64, 4096])
def test_the_alignment_of_the_metadata_is_honoured(tmp_path: Path, alignment: int) -> None:
    file = valid_gguf()
    file.entries.append(uint32("general.alignment", alignment))
    file.alignment = alignment
    with opened(tmp_path / "m.gguf", file) as model:
        assert model.read("blk.0.ffn_up.weight").tobytes() == q4_0_bytes(6)
        assert model.read("experts.weight").tobytes() == float_bytes(24, "<f2")


def test_a_file_without_tensors_is_read(tmp_path: Path) -> None:
    with opened(tmp_path / "m.gguf", GGUFFile([text("general.type", "vocab")])) as model:
        assert not model.tensors and model.metadata == {"general.type": "vocab"}


def test_strings_that_cross_the_windows_of_the_reader_are_whole(tmp_path: Path) -> None:
    words: list[str | bytes] = [f"{number:07d}" * (number % 40) for number in range(20_000)]
    words[777] = "long " * 500_000
    file = GGUFFile([strings("first", words), strings("second", words), text("third", "end")])
    with opened(tmp_path / "m.gguf", file) as model:
        assert model.metadata == {"first": words, "second": words, "third": "end"}


def test_numbers_that_cross_the_windows_of_the_reader_are_whole(tmp_path: Path) -> None:
    numbers = np.arange(400_000, dtype="<f4")
    value = elements(6, len(numbers), numbers.tobytes())
    file = GGUFFile([entry(str(index), LIST, value) for index in range(3)])
    with opened(tmp_path / "m.gguf", file) as model:
        assert all(model.metadata[str(index)] == numbers.tolist() for index in range(3))


def test_lists_nest_four_deep(tmp_path: Path) -> None:
    value = elements(STRING, 1, struct.pack("<Q", 1) + b"x")
    for _ in range(3):
        value = elements(LIST, 1, value)
    with opened(tmp_path / "m.gguf", GGUFFile([entry("deep", LIST, value)])) as model:
        assert model.metadata["deep"] == [[[["x"]]]]


def test_a_file_that_is_cut_short_under_us_is_an_error(tmp_path: Path) -> None:
    with opened(tmp_path / "m.gguf", valid_gguf()) as model:
        os.truncate(tmp_path / "m.gguf", model.tensors["experts.weight"].offset + 5)
        assert model.read("blk.0.ffn_up.weight").tobytes() == q4_0_bytes(6)
        with pytest.raises(BadFile, match=r"tensor 'experts\.weight' ends at .* it changed"):
            model.read("experts.weight")


def write_with_gguf_package(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_token_list(["a", "b"])
    writer.add_token_scores([0.5, -1.0])
    writer.add_tensor("w", np.arange(12, dtype=np.float32).reshape(3, 4))
    writer.add_tensor("v", np.arange(5, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("general.architecture", "llama"),
        ("llama.block_count", 2),
        ("tokenizer.ggml.tokens", ["a", "b"]),
        ("tokenizer.ggml.scores", [0.5, -1.0]),
    ],
)
def test_metadata_written_by_the_gguf_package_is_read(
    tmp_path: Path, key: str, value: object
) -> None:
    write_with_gguf_package(tmp_path / "m.gguf")
    with GGUF(tmp_path / "m.gguf") as model:
        assert model.metadata[key] == value


def test_tensors_written_by_the_gguf_package_are_read(tmp_path: Path) -> None:
    write_with_gguf_package(tmp_path / "m.gguf")
    with GGUF(tmp_path / "m.gguf") as model:
        rows = model.read("w").view(np.float32)
        assert np.array_equal(rows, np.arange(12, dtype=np.float32).reshape(3, 4))
        assert np.array_equal(model.read("v").view(np.float16)[0], np.arange(5))


def test_missing_padding_after_the_last_tensor_is_harmless(tmp_path: Path) -> None:
    file = GGUFFile(
        tensors=[GGUFTensor("w", [3], F32, bytes(12)), GGUFTensor("v", [1], F16, b"12")]
    )
    for padding in range(40):
        (tmp_path / "m.gguf").write_bytes(file.build() + bytes(padding))
        with GGUF(tmp_path / "m.gguf") as model:
            assert model.read("v").tobytes() == b"12"
