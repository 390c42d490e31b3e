"""Split GGUF models: parts that find each other, and parts that do not belong together."""

import os
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.weights.build import (
    BOOL,
    INT32,
    STRING,
    UINT64,
    GGUFFile,
    entry,
    float_bytes,
    split_entries,
    string,
    uint32,
    valid_gguf,
    valid_split,
    write_split,
)
from tests.weights.refusal import refuses
from wazn.errors import BadFile
from wazn.weights.gguf import GGUF


@pytest.mark.parametrize("given", [0, 1, 2])
def test_a_split_model_is_found_from_any_part(tmp_path: Path, given: int) -> None:
    paths = write_split(tmp_path, valid_split())
    with GGUF(paths[given]) as model:
        assert model.paths == tuple(paths)
        assert model.metadata["general.architecture"] == "llama"
        assert [tensor.file for tensor in model.tensors.values()] == [1, 2, 2]
        assert model.read("norm.weight").tobytes() == float_bytes(6, "<f4")
        assert model.read("experts.weight").tobytes() == float_bytes(24, "<f2")


def test_a_split_of_one_part_needs_no_special_name(tmp_path: Path) -> None:
    file = valid_gguf()
    file.entries.append(uint32("split.count", 1))
    (tmp_path / "m.gguf").write_bytes(file.build())
    with GGUF(tmp_path / "m.gguf") as model:
        assert len(model.tensors) == 3


def test_files_are_closed_after_success_and_failure(tmp_path: Path) -> None:
    paths = write_split(tmp_path, valid_split())
    before = os.listdir("/proc/self/fd")
    GGUF(paths[0]).close()
    paths[2].unlink()
    with pytest.raises(BadFile):
        GGUF(paths[0])
    assert os.listdir("/proc/self/fd") == before


def test_a_split_written_by_the_gguf_package_is_read(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    for index in range(5):
        writer.add_tensor(f"w{index}", np.full((2, 4), index, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GGUF(tmp_path / "m-00002-of-00003.gguf") as model:
        assert [tensor.file for tensor in model.tensors.values()] == [0, 0, 1, 1, 2]
        assert all(np.all(model.read(f"w{i}").view(np.float32) == i) for i in range(5))


def refuses_split(tmp_path: Path, parts: list[GGUFFile], *fragments: str) -> None:
    refuses(BadFile, GGUF, write_split(tmp_path, parts)[0], *fragments)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    paths = write_split(tmp_path, valid_split())
    paths[1].unlink()
    for path in (paths[0], paths[2]):
        refuses(BadFile, GGUF, path, "model-00002-of-00003.gguf", "part 2 of 3 is missing")


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    paths = write_split(tmp_path, valid_split())
    os.truncate(paths[2], paths[2].stat().st_size - 1)
    refuses(BadFile, GGUF, paths[0], "model-00003-of-00003.gguf", "tensor 'experts.weight'")


def test_a_renamed_part_is_refused(tmp_path: Path) -> None:
    paths = write_split(tmp_path, valid_split())
    paths[0].rename(tmp_path / "m.gguf")
    refuses(BadFile, GGUF, tmp_path / "m.gguf", "must end in '-00001-of-00003.gguf'")


def test_parts_in_each_others_place_are_refused(tmp_path: Path) -> None:
    parts = valid_split()
    parts[1], parts[2] = parts[2], parts[1]
    refuses_split(tmp_path, parts, "model-00002-of-00003.gguf", "'split.no'")


def test_a_part_of_another_model_is_refused(tmp_path: Path) -> None:
    parts = valid_split()
    parts[1].entries = split_entries(1, 4, 3)
    refuses_split(tmp_path, parts, "model-00002-of-00003.gguf", "'split.count'")
    parts[1].entries = []
    refuses_split(tmp_path, parts, "model-00002-of-00003.gguf", "'split.no'")


def test_a_tensor_in_two_parts_is_refused(tmp_path: Path) -> None:
    parts = valid_split()
    parts[2].tensors.append(parts[1].tensors[0])
    refuses_split(tmp_path, parts, "tensor 'norm.weight' is also in part 2")


def test_a_wrong_number_of_tensors_is_refused(tmp_path: Path) -> None:
    parts = valid_split()
    del parts[2].tensors[0]
    refuses_split(tmp_path, parts, "'split.tensors.count' is 3", "hold 2 tensors")


@pytest.mark.parametrize("key", ["split.no", "split.count", "split.tensors.count"])
@pytest.mark.parametrize(
    ("kind", "value"), [(STRING, string("3")), (INT32, b"\xff" * 4), (BOOL, b"\1")]
)
def test_split_values_of_the_wrong_type_are_refused(
    tmp_path: Path, key: str, kind: int, value: bytes
) -> None:
    parts = valid_split()
    names = ["split.no", "split.count", "split.tensors.count"]
    good = dict(zip(names, split_entries(0, 3, 3), strict=True))
    parts[0].entries = list({**good, key: entry(key, kind, value)}.values())
    refuses_split(tmp_path, parts, f"metadata '{key}'", "not a count")


@pytest.mark.parametrize("count", [2**64 - 1, 100_000])
def test_an_absurd_number_of_parts_is_refused(tmp_path: Path, count: int) -> None:
    file = GGUFFile(
        [
            entry("split.no", UINT64, struct.pack("<Q", count - 2)),
            entry("split.count", UINT64, struct.pack("<Q", count)),
        ]
    )
    (tmp_path / "m.gguf").write_bytes(file.build())
    refuses(BadFile, GGUF, tmp_path / "m.gguf", f"of {count} by its metadata")
    named = tmp_path / f"m-{count - 1}-of-{count}.gguf"
    named.write_bytes(file.build())
    refuses(BadFile, GGUF, named, f"m-00001-of-{count}.gguf", "is missing")
