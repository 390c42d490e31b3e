"""GGUF files that break the format, by accident or on purpose: each is one clear error."""

import os
import struct
from pathlib import Path

import pytest

from tests.weights.build import (
    BOOL,
    F16,
    F32,
    INT32,
    IQ2_XXS,
    LIST,
    Q4_0,
    STRING,
    UINT8,
    UINT32,
    UINT64,
    GGUFFile,
    GGUFTensor,
    elements,
    entry,
    string,
    strings,
    text,
    uint32,
    valid_gguf,
)
from tests.weights.refusal import refuses
from wazn.errors import BadFile, ModelNotFound, UnsupportedModel, WaznError
from wazn.weights import gguf_cursor
from wazn.weights.gguf import GGUF

HUGE = [2**63, 2**64 - 1, 2**62, 2**40]


def refuses_gguf(tmp_path: Path, content: bytes | GGUFFile, *fragments: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content if isinstance(content, bytes) else content.build())
    refuses(BadFile, GGUF, path, *fragments)


def with_entry(*entries: bytes) -> GGUFFile:
    return GGUFFile([text("general.architecture", "llama"), *entries])


def with_tensor(tensor: GGUFTensor) -> GGUFFile:
    return GGUFFile(tensors=[GGUFTensor("first", [8], F32, bytes(32)), tensor])


def sparse(path: Path, content: bytes, num_bytes: int) -> Path:
    """A file of ``num_bytes`` that takes no room on the disk."""
    path.write_bytes(content)
    os.truncate(path, num_bytes)
    return path


def test_cutting_a_file_at_any_byte_is_an_error(tmp_path: Path) -> None:
    content = valid_gguf().build()
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    GGUF(path).close()
    for num_bytes in reversed(range(len(content))):
        os.truncate(path, num_bytes)
        with pytest.raises(WaznError) as caught:
            GGUF(path)
        assert caught.type is BadFile


def test_changing_any_byte_is_read_or_refused(tmp_path: Path) -> None:
    content = bytearray(valid_gguf().build())
    path = tmp_path / "m.gguf"
    outcomes = set()
    for index in range(len(content)):
        content[index] ^= 0xFF
        path.write_bytes(content)
        try:
            with GGUF(path) as model:
                for name in model.tensors:
                    model.read(name)
            outcomes.add("read")
        except (BadFile, UnsupportedModel):
            outcomes.add("refused")
        content[index] ^= 0xFF
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GG", b"GGUF\3\0\0\0" + bytes(15)])
def test_a_file_shorter_than_its_first_fields_is_refused(tmp_path: Path, content: bytes) -> None:
    refuses_gguf(tmp_path, content, f"the file has {len(content)}")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    refuses_gguf(tmp_path, b"<!DOCTYPE html>", "b'<!DO'", "no GGUF file")


@pytest.mark.parametrize("version", [0, 1, 4, 2**32 - 1])
def test_another_version_is_refused(tmp_path: Path, version: int) -> None:
    file = GGUFFile(magic=b"GGUF" + struct.pack("<I", version))
    refuses_gguf(tmp_path, file, f"GGUF version {version},")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_big_endian_file_is_refused(tmp_path: Path, version: int) -> None:
    file = GGUFFile(magic=b"GGUF" + struct.pack(">I", version))
    refuses_gguf(tmp_path, file, "big-endian")


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    refuses(ModelNotFound, GGUF, tmp_path / "m.gguf", "no such file")


def test_a_folder_a_pipe_and_a_file_used_as_a_folder_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.gguf").mkdir()
    refuses(BadFile, GGUF, tmp_path / "pipe.gguf", "not a regular file")
    refuses(BadFile, GGUF, tmp_path / "folder.gguf", "not a regular file")
    refuses(BadFile, GGUF, tmp_path / "file" / "m.gguf", "cannot be opened")


@pytest.mark.parametrize("count", HUGE)
def test_absurd_counts_are_refused(tmp_path: Path, count: int) -> None:
    padding = bytes(4096)
    refuses_gguf(tmp_path, GGUFFile(num_entries=count).build() + padding, "metadata count")
    refuses_gguf(tmp_path, GGUFFile(num_tensors=count).build() + padding, "tensor count")


@pytest.mark.parametrize("count", HUGE)
@pytest.mark.parametrize("kind", [UINT8, BOOL, STRING, LIST, UINT64])
def test_absurd_list_lengths_are_refused(tmp_path: Path, kind: int, count: int) -> None:
    value = elements(kind, count, bytes(4096))
    refuses_gguf(tmp_path, with_entry(entry("tokens", LIST, value)), "metadata 'tokens'", "needs")


@pytest.mark.parametrize("length", HUGE)
def test_absurd_string_lengths_are_refused(tmp_path: Path, length: int) -> None:
    long = struct.pack("<Q", length) + bytes(4096)
    refuses_gguf(tmp_path, with_entry(entry("name", STRING, long)), "metadata 'name'")
    in_list = elements(STRING, 2, string("a") + long)
    refuses_gguf(tmp_path, with_entry(entry("tokens", LIST, in_list)), "metadata 'tokens'")
    refuses_gguf(tmp_path, with_entry(long), "metadata key number 1")
    row = long + struct.pack("<IQIQ", 1, 8, F32, 0)
    refuses_gguf(tmp_path, GGUFFile([row], num_entries=0, num_tensors=1), "name of tensor number 0")


@pytest.mark.parametrize("kind", [UINT8, BOOL, STRING, LIST, UINT64])
def test_a_sparse_terabyte_does_not_justify_a_long_list(tmp_path: Path, kind: int) -> None:
    content = with_entry(entry("tokens", LIST, elements(kind, 2**35, b""))).build()
    path = sparse(tmp_path / "m.gguf", content, 2**40)
    refuses(BadFile, GGUF, path, "metadata 'tokens'", "at most")


def test_a_sparse_terabyte_does_not_justify_anything_long(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    long = struct.pack("<Q", 2**35)
    for file, field in [
        (GGUFFile(num_entries=2**35), "metadata count"),
        (GGUFFile(num_tensors=2**34), "tensor count"),
        (GGUFFile([long]), "metadata key number 0"),
        (GGUFFile([entry("name", STRING, long)]), "metadata 'name'"),
        (GGUFFile([entry("list", LIST, elements(STRING, 1, long))]), "metadata 'list'"),
        (GGUFFile([long], num_entries=0, num_tensors=1), "name of tensor number 0"),
    ]:
        refuses(BadFile, GGUF, sparse(path, file.build(), 2**40), field, "at most")


def test_the_header_as_a_whole_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_cursor, "MAX_HEADER_BYTES", 10_000)
    value = elements(UINT8, 3000, bytes(3000))
    file = with_entry(*[entry(f"list {index}", LIST, value) for index in range(4)])
    refuses_gguf(tmp_path, file, "metadata 'list 3'", "at most 10000")


@pytest.mark.parametrize("limit", ["MAX_STRINGS", "MAX_NUMBERS", "MAX_NESTED_LISTS"])
def test_elements_are_counted_over_all_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(gguf_cursor, limit, 100)
    value = {
        "MAX_STRINGS": elements(STRING, 40, string("x") * 40),
        "MAX_NUMBERS": elements(UINT32, 40, bytes(160)),
        "MAX_NESTED_LISTS": elements(LIST, 40, elements(UINT8, 0, b"") * 40),
    }[limit]
    file = with_entry(*[entry(f"list {index}", LIST, value) for index in range(3)])
    refuses_gguf(tmp_path, file, "metadata 'list 2'", "40 elements, at most 20")


@pytest.mark.parametrize("depth", [5, 1000, 100_000])
def test_lists_nested_too_deeply_are_refused(tmp_path: Path, depth: int) -> None:
    value = struct.pack("<IQ", LIST, 1) * (depth - 1) + elements(UINT8, 1, b"x")
    refuses_gguf(tmp_path, with_entry(entry("deep", LIST, value)), "metadata 'deep'", "deeper than")


def test_a_tree_of_lists_is_refused(tmp_path: Path) -> None:
    value = elements(LIST, 70_000, elements(LIST, 0, b"") * 70_000)
    refuses_gguf(tmp_path, with_entry(entry("wide", LIST, value)), "metadata 'wide'", "at most")


@pytest.mark.parametrize("kind", [13, 99, 2**32 - 1])
def test_unknown_value_types_are_refused(tmp_path: Path, kind: int) -> None:
    refuses_gguf(tmp_path, with_entry(entry("odd", kind, bytes(64))), "'odd'", f"type {kind}")
    value = elements(kind, 2, bytes(64))
    refuses_gguf(tmp_path, with_entry(entry("odd", LIST, value)), "'odd'", f"type {kind}")


def test_booleans_are_zero_or_one(tmp_path: Path) -> None:
    refuses_gguf(tmp_path, with_entry(entry("flag", BOOL, b"\2")), "'flag'", "value 2")
    value = elements(BOOL, 3, b"\0\xff\1")
    refuses_gguf(tmp_path, with_entry(entry("flags", LIST, value)), "'flags'", "value 255")


def test_duplicate_keys_are_refused(tmp_path: Path) -> None:
    file = with_entry(uint32("a", 1), uint32("b", 1), uint32("a", 1))
    refuses_gguf(tmp_path, file, "metadata 'a' appears twice")


@pytest.mark.parametrize(("name", "fact"), [(b"", "is empty"), (b"\xff", "not valid UTF-8")])
def test_keys_and_tensor_names_must_be_text(tmp_path: Path, name: bytes, fact: str) -> None:
    refuses_gguf(tmp_path, with_entry(entry(name, UINT8, b"1")), "metadata key number 1", fact)
    file = with_tensor(GGUFTensor(name, [8], F32, bytes(32)))
    refuses_gguf(tmp_path, file, "name of tensor number 1", fact)


def test_names_are_shown_on_one_short_line(tmp_path: Path) -> None:
    key = "a\n\x1b[31m\u202e" + "x" * 60_000
    refuses_gguf(tmp_path, with_entry(entry(key, 99, b"")), r"metadata 'a\n\x1b[31m\u202exxx")


def test_long_tensor_names_are_refused(tmp_path: Path) -> None:
    file = with_tensor(GGUFTensor("x" * 256, [8], F32, bytes(32)))
    refuses_gguf(tmp_path, file, "name of tensor number 1", "256", "at most 255")


def test_duplicate_tensors_are_refused(tmp_path: Path) -> None:
    file = with_tensor(GGUFTensor("first", [8], F32, bytes(32)))
    refuses_gguf(tmp_path, file, "tensor 'first' appears twice")


@pytest.mark.parametrize("count", [0, 5, 2**31])
def test_dimension_counts_are_one_to_four(tmp_path: Path, count: int) -> None:
    row = string("w") + struct.pack("<I", count) + bytes(8 * 5) + struct.pack("<IQ", F32, 0)
    file = GGUFFile([row], num_entries=0, num_tensors=1)
    refuses_gguf(tmp_path, file, "tensor 'w'", f"{count} dimensions")


@pytest.mark.parametrize("dimensions", [[0], [0, 3], [8, 0], [2**63, 0, 2]])
def test_empty_dimensions_are_refused(tmp_path: Path, dimensions: list[int]) -> None:
    file = with_tensor(GGUFTensor("w", dimensions, F32, bytes(32)))
    refuses_gguf(tmp_path, file, "tensor 'w'", "dimension of 0")


@pytest.mark.parametrize(
    "dimensions", [[2**63], [2**64 - 1], [2**32, 2**32], [2**62, 4], [9], [8, 2, 1, 1], [2**16] * 4]
)
def test_sizes_beyond_the_file_are_refused(tmp_path: Path, dimensions: list[int]) -> None:
    file = with_tensor(GGUFTensor("w", dimensions, F32, bytes(32)))
    refuses_gguf(tmp_path, file, "tensor 'w'", "bytes at", str(dimensions[::-1]))


@pytest.mark.parametrize("columns", [1, 31, 48, 2**63 + 1])
def test_columns_that_are_no_whole_blocks_are_refused(tmp_path: Path, columns: int) -> None:
    file = with_tensor(GGUFTensor("w", [columns, 32], Q4_0, bytes(4096)))
    refuses_gguf(tmp_path, file, "tensor 'w'", f"{columns} columns", "Q4_0 block of 32")


@pytest.mark.parametrize("offset", [64, 2**63, 2**64 - 32])
def test_offsets_out_of_the_file_are_refused(tmp_path: Path, offset: int) -> None:
    file = with_tensor(GGUFTensor("w", [8], F32, bytes(32), offset))
    refuses_gguf(tmp_path, file, "tensor 'w'", "32 bytes at", "the file has")


@pytest.mark.parametrize("offset", [1, 16, 2**64 - 1])
def test_misaligned_offsets_are_refused(tmp_path: Path, offset: int) -> None:
    file = with_tensor(GGUFTensor("w", [8], F32, bytes(64), offset))
    refuses_gguf(tmp_path, file, "tensor 'w'", f"offset {offset}, no multiple of 32")


@pytest.mark.parametrize("offset", [0, 32])
def test_overlapping_tensors_are_refused(tmp_path: Path, offset: int) -> None:
    file = GGUFFile(
        tensors=[
            GGUFTensor("first", [12], F32, bytes(48)),
            GGUFTensor("second", [12], F32, bytes(48), offset),
        ]
    )
    refuses_gguf(tmp_path, file, "tensor 'second'", "overlaps tensor 'first'")


@pytest.mark.parametrize(
    ("ggml_type", "type_name"),
    [(IQ2_XXS, "IQ2_XXS"), (26, "I32"), (40, "NVFP4"), (200, "ggml type 200"), (2**31, str(2**31))],
)
def test_a_format_that_wazn_cannot_run_is_named(
    tmp_path: Path, ggml_type: int, type_name: str
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(with_tensor(GGUFTensor("blk.0.w", [256], ggml_type, bytes(66))).build())
    refuses(UnsupportedModel, GGUF, path, "tensor 'blk.0.w'", type_name, "choose another")


@pytest.mark.parametrize(
    "alignment",
    [
        *[uint32("general.alignment", value) for value in (0, 3, 31, 2**32 - 1)],
        entry("general.alignment", INT32, struct.pack("<i", -32)),
        entry("general.alignment", BOOL, b"\1"),
        text("general.alignment", "32\n" * 1000),
        strings("general.alignment", ["32"]),
    ],
)
def test_an_alignment_that_is_no_power_of_two_is_refused(tmp_path: Path, alignment: bytes) -> None:
    file = with_tensor(GGUFTensor("w", [8], F16, bytes(16)))
    file.entries = [alignment]
    refuses_gguf(tmp_path, file, "'general.alignment'", "power of two")


def test_a_huge_alignment_puts_the_data_out_of_the_file(tmp_path: Path) -> None:
    file = with_tensor(GGUFTensor("w", [8], F16, bytes(16)))
    file.entries = [entry("general.alignment", UINT64, struct.pack("<Q", 2**63))]
    refuses_gguf(tmp_path, file, "tensor 'first'", f"bytes at {2**63}")
