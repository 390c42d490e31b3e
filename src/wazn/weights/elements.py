"""Tensors of a safetensors file as arrays of elements, whatever their type.

Quantised checkpoints keep one matrix in several tensors of integers, bytes and scales; these are
read here, by rows or by columns, as NumPy arrays. It refuses to know what they mean: ``Format``
and the makers of quantised matrices do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile
from wazn.weights.files import WeightFile
from wazn.weights.quoting import quoted

_NAMES = {
    4: "F4",
    6: "F6_E2M3 F6_E3M2",
    8: "BOOL U8 I8 F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ",
    16: "U16 I16 F16 BF16",
    32: "U32 I32 F32",
    64: "U64 I64 F64 C64",
}
BITS = {name: bits for bits, names in _NAMES.items() for name in names.split()}
"""Every element type of the safetensors format, with its size in bits."""

_ARRAYS = {
    name: f"<{name[0].lower()}{bits // 8}"
    for name, bits in BITS.items()
    if name[0] in "UIF" and name[1:].isdigit() and bits >= 8
}
_ARRAYS["BF16"] = "<u2"
"""What an array holds; of the types that are not here, bytes."""

MAX_WHOLE_BYTES = 1 << 28
"""No more of a tensor is read at once: scales of the largest matrices are far below."""


@dataclass(frozen=True, slots=True)
class ElementInfo:
    """Where one tensor is: ``nbytes`` from ``offset`` of file number ``file``.

    ``dtype`` is a key of ``BITS``; every dimension of ``shape`` is at least 1.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: int
    offset: int
    nbytes: int


class Elements:
    """The tensors of open safetensors files, by name; the files belong to somebody else."""

    def __init__(self, files: Sequence[WeightFile], infos: Mapping[str, ElementInfo]) -> None:
        self._files = tuple(files)
        self.infos = dict(infos)

    def __contains__(self, name: str) -> bool:
        return name in self.infos

    def __getitem__(self, name: str) -> ElementInfo:
        """Raises BadFile when there is no such tensor."""
        info = self.infos.get(name)
        if info is None:
            raise BadFile(
                f"{self._files[0].path}: no tensor named {quoted(name)}; the model is incomplete"
            )
        return info

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.generic]:
        """Rows ``[start, stop)`` of a tensor viewed as 2-D, (rows, elements of a row).

        F4 comes as bytes of two elements, BF16 as its bits, the other small floats as bytes.
        """
        info = self[name]
        row_bytes = info.nbytes // math.prod(info.shape[:-1])
        raw = np.empty((stop - start, row_bytes), np.uint8)
        self._read(info, raw, start * row_bytes)
        return _typed(raw, info.dtype)

    def columns(self, name: str, start: int, stop: int) -> NDArray[np.generic]:
        """Columns ``[start, stop)`` of a matrix whose elements are whole bytes, (rows, columns)."""
        info = self[name]
        rows, columns = info.shape
        size = BITS[info.dtype] // 8
        raw = np.empty((rows, (stop - start) * size), np.uint8)
        for row in range(rows):
            self._read(info, raw[row], (row * columns + start) * size)
        return _typed(raw, info.dtype)

    def bytes_of(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes ``[start, stop)`` of a tensor."""
        raw = np.empty(stop - start, np.uint8)
        self._read(self[name], raw, start)
        return raw

    def whole(self, name: str) -> NDArray[np.generic]:
        """A small tensor in its shape; raises BadFile when it is not small."""
        info = self[name]
        if info.nbytes > MAX_WHOLE_BYTES:
            raise BadFile(
                f"tensor {quoted(name)} has {info.nbytes} bytes, at most {MAX_WHOLE_BYTES} are "
                "scales or indices; the file is damaged or of another format"
            )
        raw = np.empty((1, info.nbytes), np.uint8)
        self._read(info, raw, 0)
        return _typed(raw, info.dtype).reshape(info.shape)

    def _read(self, info: ElementInfo, out: NDArray[np.uint8], offset: int) -> None:
        what = f"tensor {quoted(info.name)}"
        self._files[info.file].read_into(out, info.offset + offset, what)


def _typed(raw: NDArray[np.uint8], dtype: str) -> NDArray[np.generic]:
    return raw.view(_ARRAYS.get(dtype, "u1"))


def to_float32(values: NDArray[np.generic], dtype: str) -> NDArray[np.float32] | None:
    """Elements of a float type as float32, exactly; None for types that are not plain scales.

    F8_E8M0 is a power of two from 2^-127 to 2^127, 255 is NaN (OCP microscaling formats, 2023).
    """
    if dtype == "BF16":
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == "F8_E8M0":
        return np.where(values == 255, np.float32(np.nan), _power_of_two(values))
    return values.astype(np.float32) if dtype in ("F32", "F16") else None


def _power_of_two(exponents: NDArray[np.generic]) -> NDArray[np.float32]:
    powers: NDArray[np.float32] = np.ldexp(
        np.float32(1), np.minimum(exponents.astype(np.int32), 254) - 127
    )
    return powers
