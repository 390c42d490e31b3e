"""Safetensors files that break the format, by accident or on purpose: each is one clear error."""

import json
import os
import struct
from pathlib import Path

import pytest

from tests.weights.build import (
    described,
    one_tensor,
    safetensors,
    valid_safetensors,
    write_index,
    write_shards,
)
from tests.weights.refusal import refuses
from wazn.errors import BadFile, ModelNotFound, UnsupportedModel, WaznError
from wazn.weights import bounded_json
from wazn.weights import safetensors as reader
from wazn.weights.safetensors import Safetensors


def refuses_file(tmp_path: Path, content: bytes, *fragments: str) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    refuses(BadFile, Safetensors, tmp_path / "m.safetensors", *fragments)


def refuses_entry(tmp_path: Path, entry: object, *fragments: str, data: bytes = bytes(24)) -> None:
    refuses_file(tmp_path, safetensors({"w": entry}, data), "tensor 'w'", *fragments)


def sparse(path: Path, content: bytes, num_bytes: int) -> Path:
    """A file of ``num_bytes`` that takes no room on the disk."""
    path.write_bytes(content)
    os.truncate(path, num_bytes)
    return path


def test_cutting_a_file_at_any_byte_is_an_error(tmp_path: Path) -> None:
    content = valid_safetensors()
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    Safetensors(path).close()
    for num_bytes in reversed(range(len(content))):
        os.truncate(path, num_bytes)
        with pytest.raises(WaznError) as caught:
            Safetensors(path)
        assert caught.type is BadFile


def test_cutting_an_index_at_any_byte_is_an_error(tmp_path: Path) -> None:
    write_shards(tmp_path)
    path = tmp_path / reader.INDEX_NAME
    Safetensors(tmp_path).close()
    for num_bytes in reversed(range(path.stat().st_size)):
        os.truncate(path, num_bytes)
        with pytest.raises(WaznError) as caught:
            Safetensors(tmp_path)
        assert caught.type is BadFile


def test_changing_any_byte_is_read_or_refused(tmp_path: Path) -> None:
    content = bytearray(valid_safetensors())
    path = tmp_path / "m.safetensors"
    outcomes = set()
    for index in range(len(content)):
        content[index] ^= 0x0B
        path.write_bytes(content)
        try:
            with Safetensors(path) as model:
                for name in model.tensors:
                    model.read(name)
            outcomes.add("read")
        except (BadFile, UnsupportedModel):
            outcomes.add("refused")
        content[index] ^= 0x0B
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("length", [100 * 10**9, 2**63, 2**64 - 1, 9])
def test_a_header_longer_than_the_file_is_refused(tmp_path: Path, length: int) -> None:
    content = safetensors({}, b"123456", length)
    refuses_file(tmp_path, content, f"header length is {length} bytes, the file has 16")


def test_a_header_of_100_gb_in_a_file_that_has_them_is_refused(tmp_path: Path) -> None:
    content = struct.pack("<Q", 100 * 10**9) + b"{"
    path = sparse(tmp_path / "m.safetensors", content, 200 * 10**9)
    refuses(BadFile, Safetensors, path, "header length", "at most 100000000")


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    refuses(ModelNotFound, Safetensors, tmp_path / "m.safetensors", "no such file")
    refuses(ModelNotFound, Safetensors, tmp_path, "neither model.safetensors nor")


@pytest.mark.parametrize(
    "header",
    [b"", b"[]", b"1", b'"x"', b"null", b"{", b'{"a"', b'{"a":}', b"{}}", b"{'a': 1}", b"\0" * 99],
)
def test_a_header_that_is_no_json_object_is_refused(tmp_path: Path, header: bytes) -> None:
    refuses_file(tmp_path, safetensors(header), "header is not")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"9" * 5000])
def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path, number: bytes) -> None:
    refuses_file(tmp_path, safetensors(b'{"a":' + number + b"}"), "header is not valid JSON")


def test_a_header_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    refuses_file(tmp_path, safetensors(b'{"\xff":1}'), "header is not valid JSON: byte 2")
    refuses_file(tmp_path, safetensors('{"a":1}'.encode("utf-16")), "header is not valid JSON")


def test_duplicate_names_are_refused(tmp_path: Path) -> None:
    entry = json.dumps(described("F32", [1], 0, 4))
    header = f'{{"a":{entry},"a":{entry}}}'.encode()
    refuses_file(tmp_path, safetensors(header, b"1234"), "key 'a' appears twice")
    header = b'{"w":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    refuses_file(tmp_path, safetensors(header, b"1234"), "key 'dtype' appears twice")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_refused(tmp_path: Path, opening: bytes) -> None:
    refuses_file(tmp_path, safetensors(b'{"w":' + opening * 100_000), "header nests JSON too deep")


@pytest.mark.parametrize("value", [b"[],", b"{},", b"1,", b"[["])
def test_a_header_of_millions_of_values_is_refused(tmp_path: Path, value: bytes) -> None:
    header = b'{"w":[' + value * bounded_json.MAX_VALUES + b"1]}"
    refuses_file(tmp_path, safetensors(header), "header holds up to", "JSON values")


def test_metadata_that_is_no_object_is_refused(tmp_path: Path) -> None:
    refuses_file(tmp_path, safetensors({"__metadata__": [1]}), "header '__metadata__'")


@pytest.mark.parametrize(
    "entry",
    [
        *[None, [], "F32", {}, {"dtype": "F32", "shape": [1]}],
        {**described("F32", [6], 0, 24), "scale": 2},
    ],
)
def test_an_entry_of_another_form_is_refused(tmp_path: Path, entry: object) -> None:
    refuses_entry(tmp_path, entry, "dtype, shape and data_offsets")


@pytest.mark.parametrize("dtype", ["F8_E4M3", "U8", "f32", "", "BF16\n" * 100, None, [], 7])
def test_a_dtype_that_wazn_cannot_read_is_named(tmp_path: Path, dtype: object) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors({"w": described(dtype, [6], 0, 24)}, bytes(24)))
    fragment = ascii(str(dtype)[:10])[1:-1]
    refuses(UnsupportedModel, Safetensors, path, "tensor 'w' has dtype", fragment, "F32, F16, BF16")


@pytest.mark.parametrize(
    "shape", [None, 6, "6", {}, [6.0], [True, 6], [-6], [0, 6], [2**63], ["6"], [[6]], [1] * 9]
)
def test_a_shape_that_is_no_list_of_sizes_is_refused(tmp_path: Path, shape: object) -> None:
    refuses_entry(tmp_path, described("F32", shape, 0, 24), "shape")


@pytest.mark.parametrize("shape", [[], [5], [7], [2**62, 4], [2**32, 2**32], [2**62] * 8])
def test_a_shape_that_does_not_match_its_bytes_is_refused(tmp_path: Path, shape: list[int]) -> None:
    refuses_entry(tmp_path, described("F32", shape, 0, 24), "24 bytes, its shape", str(shape))


@pytest.mark.parametrize(
    "offsets", [None, 24, [], [0], [0, 12, 24], [24, 0], [-24, 0], [0.0, 24], ["0", 24], [0, True]]
)
def test_offsets_that_are_no_start_and_end_are_refused(tmp_path: Path, offsets: object) -> None:
    entry = {"dtype": "F32", "shape": [6], "data_offsets": offsets}
    refuses_entry(tmp_path, entry, "data_offsets")


@pytest.mark.parametrize(("start", "end"), [(4, 28), (2**62, 2**62 + 24), (0, 2**63 - 1)])
def test_offsets_out_of_the_file_are_refused(tmp_path: Path, start: int, end: int) -> None:
    refuses_entry(tmp_path, described("F32", [6], start, end), "ends at byte", "the file has")


@pytest.mark.parametrize("start", [0, 20, 28])
def test_overlaps_and_holes_are_refused(tmp_path: Path, start: int) -> None:
    header = {"a": described("F32", [6], 0, 24), "b": described("F32", [6], start, start + 24)}
    flaw = "follows a hole" if start > 24 else "overlaps"
    refuses_file(tmp_path, safetensors(header, bytes(64)), "tensor 'b'", flaw)


def test_data_that_no_tensor_claims_is_refused(tmp_path: Path) -> None:
    content = safetensors({"w": described("F32", [6], 0, 24)}, bytes(25))
    refuses_file(tmp_path, content, "data ends at byte")


def test_names_are_shown_on_one_short_line(tmp_path: Path) -> None:
    name = "a\n\ud800\x1b[31m" + "x" * 100_000
    refuses_file(tmp_path, safetensors({name: 1}), r"tensor 'a\n\ud800\x1b[31mxxx")


@pytest.mark.parametrize(
    "shard",
    [
        *["../a.safetensors", "/etc/a.safetensors", "sub/a.safetensors", "..\\a.safetensors"],
        *["c:a.safetensors", "..", ".", "", "a", "config.json", "a\0.safetensors", ".safetensors"],
        *["a\n.safetensors", "\ud800.safetensors", None, 1, ["a.safetensors"], {}],
    ],
)
def test_a_shard_name_that_is_no_plain_file_name_is_refused(tmp_path: Path, shard: object) -> None:
    write_index(tmp_path, {"weight_map": {"w": shard}})
    refuses(BadFile, Safetensors, tmp_path / "", "'weight_map'", "'w'", "no plain file name")


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["a.safetensors"]}])
def test_an_index_without_a_weight_map_is_refused(tmp_path: Path, index: object) -> None:
    write_index(tmp_path, index)
    refuses(BadFile, Safetensors, tmp_path / "", "'weight_map' is missing or empty")


@pytest.mark.parametrize("index", [b"", b"[]", b'{"a":1,"a":2}', b'{"a":NaN}', b"[" * 100_000])
def test_an_index_that_is_no_json_object_is_refused(tmp_path: Path, index: bytes) -> None:
    write_index(tmp_path, index)
    refuses(BadFile, Safetensors, tmp_path / "", "index.json: index")


def test_an_index_of_a_terabyte_is_refused(tmp_path: Path) -> None:
    sparse(tmp_path / reader.INDEX_NAME, b"{", 2**40)
    refuses(BadFile, Safetensors, tmp_path / "", "index.json", "at most")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    refuses(BadFile, Safetensors, tmp_path / "", "model-00002-of-00002.safetensors", "is missing")


def test_a_shard_name_too_long_for_the_file_system_is_refused(tmp_path: Path) -> None:
    write_index(tmp_path, {"weight_map": {"w": "x" * 300 + ".safetensors"}})
    refuses(BadFile, Safetensors, tmp_path / "", "cannot be opened")


def test_a_tensor_that_its_shard_lacks_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(one_tensor("other"))
    refuses(BadFile, Safetensors, tmp_path / "", "tensor 'a' is not in this shard")


def test_files_are_closed_after_success_and_failure(tmp_path: Path) -> None:
    write_shards(tmp_path)
    before = os.listdir("/proc/self/fd")
    Safetensors(tmp_path).close()
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(BadFile):
        Safetensors(tmp_path)
    assert os.listdir("/proc/self/fd") == before
