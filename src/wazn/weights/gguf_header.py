"""The header of one GGUF file: version, metadata, and the table of tensors, all of it checked.

A tensor that passes has a known format, one to four dimensions, whole blocks in each row, and
bytes of its own inside the file. Knows one file only: parts of a split model meet in ``gguf``.
"""

import itertools
import math
import struct
from dataclasses import dataclass

from wazn.errors import BadFile, UnsupportedModel
from wazn.weights.container import TensorInfo
from wazn.weights.files import WeightFile
from wazn.weights.formats import FORMAT_OF_GGML_TYPE, UNREADABLE_GGML_TYPES, Format
from wazn.weights.gguf_cursor import HeaderCursor
from wazn.weights.gguf_metadata import MetadataValue, read_metadata
from wazn.weights.quoting import quoted

MAX_TENSORS = 1 << 16
"""In one file; the largest models have a few thousand."""

MAX_NAME_BYTES = 255
MAX_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_VERSION = struct.Struct("<4sI")
_COUNTS = struct.Struct("<QQ")  # tensors, metadata entries
_NUM_DIMENSIONS = struct.Struct("<I")
_DIMENSIONS = [struct.Struct(f"<{count}Q") for count in range(MAX_DIMENSIONS + 1)]
_PLACE = struct.Struct("<IQ")  # ggml type, offset from the start of the data
_MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + _PLACE.size  # a name of one letter, one dimension


@dataclass(frozen=True, slots=True)
class Header:
    """What one GGUF file says about itself."""

    metadata: dict[str, MetadataValue]
    tensors: dict[str, TensorInfo]


def read_header(file: WeightFile) -> Header:
    """Read and check the header of ``file``, which counts as file number 0 of its tensors.

    Raises BadFile naming the field, UnsupportedModel for a tensor in a format wazn cannot run.
    """
    cursor = HeaderCursor(file)
    _check_version(cursor)
    num_tensors, num_entries = cursor.unpack(_COUNTS, "tensor count and metadata count field")
    metadata = read_metadata(cursor, num_entries)
    cursor.require_elements(num_tensors, _MIN_TENSOR_BYTES, MAX_TENSORS, "tensor count")
    entries = [_read_entry(cursor, f"tensor number {index}") for index in range(num_tensors)]
    alignment = _alignment(cursor, metadata)
    data_start = -(-cursor.position // alignment) * alignment
    tensors: dict[str, TensorInfo] = {}
    for entry in entries:
        if entry.name in tensors:
            raise cursor.bad(f"tensor {quoted(entry.name)}", "appears twice")
        tensors[entry.name] = _locate(cursor, entry, data_start, alignment)
    _check_overlaps(cursor, tensors)
    return Header(metadata, tensors)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of the tensor table as the file has it, its format known."""

    name: str
    shape: tuple[int, ...]
    format: Format
    offset: int


def _check_version(cursor: HeaderCursor) -> None:
    cursor.require(_VERSION.size, "magic number and version")
    magic, version = _VERSION.unpack(cursor.file.read(0, _VERSION.size, "magic number"))
    cursor.position = _VERSION.size
    path = cursor.file.path
    if magic != _MAGIC:
        raise BadFile(f"{path}: starts with {magic!r}, not {_MAGIC!r}; it is no GGUF file")
    if version not in _VERSIONS and version & 0xFFFF == 0 and version:
        raise BadFile(f"{path}: is a big-endian GGUF file; use the little-endian one")
    if version not in _VERSIONS:
        raise BadFile(
            f"{path}: is GGUF version {version}, wazn reads versions 2 and 3; convert it anew"
        )


def _read_entry(cursor: HeaderCursor, field: str) -> _Entry:
    raw_name = cursor.string(f"name of {field}", MAX_NAME_BYTES)
    try:
        name = raw_name.decode("utf-8")
    except UnicodeDecodeError:
        raise cursor.bad(f"name of {field}", "is not valid UTF-8") from None
    if not name:
        raise cursor.bad(f"name of {field}", "is empty")
    field = f"tensor {quoted(name)}"
    (num_dimensions,) = cursor.unpack(_NUM_DIMENSIONS, field)
    if not 1 <= num_dimensions <= MAX_DIMENSIONS:
        raise cursor.bad(field, f"has {num_dimensions} dimensions, not 1 to {MAX_DIMENSIONS}")
    dimensions = cursor.unpack(_DIMENSIONS[num_dimensions], field)
    ggml_type, offset = cursor.unpack(_PLACE, field)
    format = FORMAT_OF_GGML_TYPE.get(ggml_type)
    if format is None:
        type_name = UNREADABLE_GGML_TYPES.get(ggml_type, "an unknown type")
        raise UnsupportedModel(
            f"{cursor.file.path}: {field} is stored as {type_name} (ggml type {ggml_type}), which "
            "wazn cannot run; choose another quantisation of this model, such as Q4_K_M"
        )
    return _Entry(name, dimensions[::-1], format, offset)


def _alignment(cursor: HeaderCursor, metadata: dict[str, MetadataValue]) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(value) is not int or value < 1 or value & (value - 1):
        shown = quoted(str(value)[:100])
        raise cursor.bad("metadata 'general.alignment'", f"is {shown}, not a power of two")
    return value


def _locate(cursor: HeaderCursor, entry: _Entry, data_start: int, alignment: int) -> TensorInfo:
    """Check a tensor's size and place against the file."""
    field = f"tensor {quoted(entry.name)}"
    format = entry.format
    if min(entry.shape) < 1:
        raise cursor.bad(field, f"has a dimension of 0 in its shape {list(entry.shape)}")
    if entry.shape[-1] % format.block_size:
        raise cursor.bad(
            field,
            f"has {entry.shape[-1]} columns, no multiple of the {format.name} block of "
            f"{format.block_size}",
        )
    num_bytes = math.prod(entry.shape) // format.block_size * format.block_bytes
    if entry.offset % alignment:
        raise cursor.bad(field, f"has offset {entry.offset}, no multiple of {alignment}")
    offset = data_start + entry.offset
    if offset + num_bytes > cursor.file.size:
        raise cursor.bad(
            field,
            f"needs {num_bytes} bytes at {offset} for its shape {list(entry.shape)}, the file has "
            f"{cursor.file.size}",
        )
    return TensorInfo(entry.name, entry.shape, format, 0, offset, num_bytes)


def _check_overlaps(cursor: HeaderCursor, tensors: dict[str, TensorInfo]) -> None:
    in_order = sorted(tensors.values(), key=lambda tensor: tensor.offset)
    for before, after in itertools.pairwise(in_order):
        if before.offset + before.nbytes > after.offset:
            raise cursor.bad(
                f"tensor {quoted(after.name)}",
                f"at byte {after.offset} overlaps tensor {quoted(before.name)}, which ends at "
                f"{before.offset + before.nbytes}",
            )
