"""Builds GGUF and safetensors files byte by byte, valid ones and deliberately broken ones.

Knows the formats from the writer's side only, and shares no code with the readers under test.
Every part of a file can be replaced by a lie; nothing here checks anything.
"""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL = range(8)
STRING, LIST, UINT64, INT64, FLOAT64 = range(8, 13)
F32, F16, Q4_0, Q8_0, Q4_K, IQ2_XXS = 0, 1, 2, 8, 12, 16

INDEX_NAME = "model.safetensors.index.json"


def string(text: str | bytes) -> bytes:
    """A GGUF string: its length and its bytes."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    """A metadata entry of any type with ready-made value bytes."""
    return string(key) + struct.pack("<I", kind) + value


def uint32(key: str, value: int) -> bytes:
    """A metadata entry with a 32-bit integer."""
    return entry(key, UINT32, struct.pack("<I", value))


def text(key: str, value: str | bytes) -> bytes:
    """A metadata entry with a string."""
    return entry(key, STRING, string(value))


def elements(kind: int, count: int, payload: bytes) -> bytes:
    """The value of a list: element type, count, elements."""
    return struct.pack("<IQ", kind, count) + payload


def strings(key: str, values: list[str | bytes]) -> bytes:
    """A metadata entry with a list of strings."""
    return entry(key, LIST, elements(STRING, len(values), b"".join(map(string, values))))


@dataclass
class GGUFTensor:
    """A row of the tensor table, and the tensor's data; ``dimensions`` run fastest first."""

    name: str | bytes
    dimensions: list[int]
    ggml_type: int
    data: bytes
    offset: int | None = None  # None: after the tensor before, aligned

    def row(self, offset: int) -> bytes:
        """The row of the table."""
        count = len(self.dimensions)
        dimensions = struct.pack(f"<I{count}Q", count, *self.dimensions)
        return string(self.name) + dimensions + struct.pack("<IQ", self.ggml_type, offset)


@dataclass
class GGUFFile:
    """A GGUF file; the counts are right unless they are given."""

    entries: list[bytes] = field(default_factory=list)
    tensors: list[GGUFTensor] = field(default_factory=list)
    alignment: int = 32
    magic: bytes = b"GGUF" + struct.pack("<I", 3)
    num_tensors: int | None = None
    num_entries: int | None = None

    def build(self) -> bytes:
        """The bytes; the file ends with the last tensor's data, without padding."""
        num_tensors = len(self.tensors) if self.num_tensors is None else self.num_tensors
        num_entries = len(self.entries) if self.num_entries is None else self.num_entries
        rows, data = b"", b""
        for tensor in self.tensors:
            data += b"\0" * (-len(data) % self.alignment)
            rows += tensor.row(len(data) if tensor.offset is None else tensor.offset)
            data += tensor.data
        head = self.magic + struct.pack("<QQ", num_tensors, num_entries)
        head += b"".join(self.entries) + rows
        return head + b"\0" * (-len(head) % self.alignment) + data


def float_bytes(count: int, dtype: str, seed: int = 0) -> bytes:
    """``count`` finite floats."""
    values = np.random.default_rng(seed).standard_normal(count)
    return values.astype(dtype).tobytes()


def q4_0_bytes(num_blocks: int, seed: int = 0) -> bytes:
    """``num_blocks`` Q4_0 blocks with finite scales."""
    random = np.random.default_rng(seed)
    blocks = np.zeros(num_blocks, [("d", "<f2"), ("quants", "u1", 16)])
    blocks["d"] = random.standard_normal(num_blocks)
    blocks["quants"] = random.integers(0, 256, (num_blocks, 16))
    return blocks.tobytes()


def valid_gguf() -> GGUFFile:
    """A small model with one metadata entry of each type and tensors of three formats."""
    numbers = struct.pack("<3i", -1, 0, 7)
    nested = elements(UINT8, 2, b"\1\2") + elements(BOOL, 1, b"\1")
    return GGUFFile(
        entries=[
            text("general.architecture", "llama"),
            entry("u8", UINT8, b"\xff"),
            entry("i8", INT8, b"\xff"),
            entry("u16", UINT16, struct.pack("<H", 65535)),
            entry("i16", INT16, struct.pack("<h", -32768)),
            uint32("u32", 2**32 - 1),
            entry("i32", INT32, struct.pack("<i", -(2**31))),
            entry("f32", FLOAT32, struct.pack("<f", 0.5)),
            entry("flag", BOOL, b"\1"),
            entry("u64", UINT64, struct.pack("<Q", 2**64 - 1)),
            entry("i64", INT64, struct.pack("<q", -(2**63))),
            entry("f64", FLOAT64, struct.pack("<d", 1e300)),
            entry("numbers", LIST, elements(INT32, 3, numbers)),
            entry("flags", LIST, elements(BOOL, 2, b"\1\0")),
            entry("nested", LIST, elements(LIST, 2, nested)),
            entry("empty", LIST, elements(UINT32, 0, b"")),
            strings("tokens", ["a", "", "Ġthe", b"\xe2\x96"]),
        ],
        tensors=[
            GGUFTensor("norm.weight", [6], F32, float_bytes(6, "<f4")),
            GGUFTensor("blk.0.ffn_up.weight", [64, 3], Q4_0, q4_0_bytes(6)),
            GGUFTensor("experts.weight", [4, 3, 2], F16, float_bytes(24, "<f2")),
        ],
    )


def write_split(directory: Path, parts: list[GGUFFile]) -> list[Path]:
    """Write the parts of a split model under their proper names."""
    paths = []
    for number, part in enumerate(parts):
        path = directory / f"model-{number + 1:05d}-of-{len(parts):05d}.gguf"
        path.write_bytes(part.build())
        paths.append(path)
    return paths


def split_entries(number: int, count: int, num_tensors: int) -> list[bytes]:
    """The metadata that every part of a split model has."""
    return [
        entry("split.no", UINT16, struct.pack("<H", number)),
        entry("split.count", UINT16, struct.pack("<H", count)),
        entry("split.tensors.count", INT32, struct.pack("<i", num_tensors)),
    ]


def valid_split() -> list[GGUFFile]:
    """A model of three tensors in three parts; the first part has the metadata and no tensor."""
    whole = valid_gguf()
    first = GGUFFile([*whole.entries, *split_entries(0, 3, 3)])
    second = GGUFFile(split_entries(1, 3, 3), whole.tensors[:1])
    return [first, second, GGUFFile(split_entries(2, 3, 3), whole.tensors[1:])]


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file; ``header`` is JSON text as bytes, or an object to be written as JSON."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def described(dtype: object, shape: object, start: object, end: object) -> dict[str, object]:
    """A header entry."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def valid_safetensors() -> bytes:
    """A file with a tensor of each readable dtype, a scalar among them."""
    header = {
        "__metadata__": {"format": "pt"},
        "model.norm.weight": described("BF16", [6], 24, 36),
        "model.embed_tokens.weight": described("F32", [3, 2], 0, 24),
        "experts": described("F16", [2, 3, 4], 36, 84),
        "scalar": described("F32", [], 84, 88),
    }
    data = float_bytes(6, "<f4") + bytes(range(12)) + float_bytes(24, "<f2") + float_bytes(1, "<f4")
    return safetensors(header, data)


def one_tensor(name: str, seed: int = 0) -> bytes:
    """A safetensors file with one F32 tensor of two rows and three columns."""
    return safetensors({name: described("F32", [2, 3], 0, 24)}, float_bytes(6, "<f4", seed))


def write_shards(directory: Path) -> None:
    """A valid directory of two shards; the second one holds a tensor that is not listed."""
    extra = {"b": described("F32", [1], 0, 4), "unlisted": described("F32", [1], 4, 8)}
    (directory / "model-00001-of-00002.safetensors").write_bytes(one_tensor("a"))
    (directory / "model-00002-of-00002.safetensors").write_bytes(
        safetensors(extra, float_bytes(2, "<f4"))
    )
    weight_map = {
        "a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
    }
    write_index(directory, {"metadata": {"total_size": 28}, "weight_map": weight_map})


def write_index(directory: Path, index: object) -> None:
    """An index file; ``index`` is JSON text as bytes, or an object to be written as JSON."""
    raw = index if isinstance(index, bytes) else json.dumps(index).encode()
    (directory / INDEX_NAME).write_bytes(raw)
