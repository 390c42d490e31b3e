"""compressed-tensors: integers packed in words or kept as bytes, and 8-bit floats.

"pack-quantized" keeps ``weight_packed`` (rows, columns * bits / 32), the lowest bits first, codes
stored with half their range added; ``weight_scale`` (rows, groups); asymmetric ones
``weight_zero_point`` (rows * bits / 32, groups), packed along the rows; and ``weight_shape``.
"int-quantized" keeps ``weight`` as int8 and zeros as int8 (rows, groups). "float-quantized" keeps
e4m3 (see ``float8``). Scales may be one for a row or for the whole matrix, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from wazn.errors import BadFile, UnsupportedModel
from wazn.weights.elements import Elements
from wazn.weights.quantised import float8
from wazn.weights.quantised.coded import CodedMatrix
from wazn.weights.quantised.integers import Coded, num_groups, unpacked
from wazn.weights.quantised.made import Maker
from wazn.weights.quantised.parts import Parts, modules_with
from wazn.weights.quantised.settings import REMEDY, QuantisedSettings, refuse
from wazn.weights.quoting import quoted

_FORMATS = ("pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "dense")
_SCALE_TYPES = ("F16", "BF16", "F32")
_ZERO = "weight_zero_point"


class _Scaled(CodedMatrix):
    """What both ways of keeping integers share: scales (rows, groups), one each or one for all."""

    def __init__(
        self, parts: Parts, settings: QuantisedSettings, shape: tuple[int, int], bits: int
    ) -> None:
        info = parts.info("weight_scale")
        parts.expect("weight_scale", info.shape, _SCALE_TYPES)
        rows = 1 if info.shape in ((), (1,), (1, 1)) else shape[0]
        groups = 1 if len(info.shape) < 2 else info.shape[1]
        if info.shape not in ((), (rows,), (rows, groups)):
            raise BadFile(
                f"{parts.where}: tensor {quoted(info.name)} has the shape {list(info.shape)}, "
                f"which does not fit {list(shape)}; the file is damaged or badly converted; "
                f"{REMEDY}"
            )
        self.scale_shape = rows, groups
        group = num_groups(shape[1], groups, parts.name)
        order = parts.order("weight_g_idx", shape[1], group)
        super().__init__(parts, settings, shape, (bits, group), order)

    def _spread(self, suffix: str, start: int, stop: int) -> NDArray[np.generic]:
        """Rows of scales or zeros (rows, groups), those of the whole matrix repeated."""
        whole = self.parts.elements
        name, (rows, groups) = self.parts.full(suffix), self.scale_shape
        if rows == 1:
            return np.repeat(whole.whole(name).reshape(1, groups), stop - start, axis=0)
        if groups == 1:
            return whole.whole(name).reshape(rows, 1)[start:stop]
        return whole.rows(name, start, stop)

    def _scales(self, start: int, stop: int) -> NDArray[np.float32]:
        return self.parts.floats("weight_scale", self._spread("weight_scale", start, stop))


class PackedIntegers(_Scaled):
    """A matrix of "pack-quantized"."""

    def __init__(self, parts: Parts, settings: QuantisedSettings) -> None:
        rows, words = parts.matrix("weight_packed", ("I32", "U32"))
        parts.expect("weight_shape", (2,), ("I64", "I32"))
        sizes = [int(size) for size in parts.elements.whole(parts.full("weight_shape"))]
        bits = next((bits for bits in (4, 8) if -(-sizes[1] * bits // 32) == words), None)
        if sizes[0] != rows or bits is None or sizes[1] < 1:
            raise refuse(
                parts.where,
                quoted(parts.full("weight_packed")),
                f"of {[rows, words]} words does not hold {sizes} codes of 4 or 8 bits",
            )
        super().__init__(parts, settings, (rows, sizes[1]), bits)
        names = ["weight_packed", "weight_scale", "weight_shape"]
        if parts.has(_ZERO):
            words_of_zeros = -(-rows * bits // 32)
            parts.expect(_ZERO, (words_of_zeros, self.scale_shape[1]), ("I32", "U32"))
            names.append(_ZERO)
        names.extend(["weight_g_idx"] if parts.has("weight_g_idx") else [])
        self.sources = tuple(parts.full(name) for name in names)

    def coded(self, start: int, stop: int) -> Coded:
        elements, half = self.parts.elements, 1 << (self.bits - 1)
        offset = half if self.bits == 8 else 0  # 8-bit codes are packed as signed ones
        words = elements.rows(self.parts.full("weight_packed"), start, stop)
        codes = unpacked(words, self.bits, axis=1)[:, : self.shape[1]].astype(np.int16) - offset
        scales = self._scales(start, stop)
        if not self.parts.has(_ZERO):
            return Coded(codes, scales, np.full(scales.shape, half - offset, np.int16))
        number = 32 // self.bits
        first = start // number
        packed = elements.rows(self.parts.full(_ZERO), first, -(-stop // number))
        zeros = unpacked(packed, self.bits, axis=0)[start - first * number :][: stop - start]
        return Coded(codes, scales, zeros.astype(np.int16) - offset)


class ByteIntegers(_Scaled):
    """A matrix of "int-quantized"."""

    def __init__(self, parts: Parts, settings: QuantisedSettings) -> None:
        super().__init__(parts, settings, parts.matrix("weight", ("I8",)), 8)
        names = ["weight", "weight_scale"]
        if parts.has(_ZERO):
            parts.expect(_ZERO, parts.info("weight_scale").shape, ("I8",))
            names.append(_ZERO)
        names.extend(["weight_g_idx"] if parts.has("weight_g_idx") else [])
        self.sources = tuple(parts.full(name) for name in names)

    def coded(self, start: int, stop: int) -> Coded:
        codes = self.parts.elements.rows(self.parts.full("weight"), start, stop)
        scales = self._scales(start, stop)
        if not self.parts.has(_ZERO):
            return Coded(codes.astype(np.int8), scales, np.zeros(scales.shape, np.int8))
        zeros = self._spread(_ZERO, start, stop)
        return Coded(codes.astype(np.int8), scales, zeros.astype(np.int8))


def find(elements: Elements, settings: QuantisedSettings) -> Iterator[Maker]:
    """The matrices of a compressed-tensors checkpoint."""
    _check(settings)
    for parts in modules_with(settings, elements, "weight_packed"):
        yield PackedIntegers(parts, settings)
    for parts in modules_with(settings, elements, "weight"):
        if parts.info("weight").dtype == "I8":
            yield ByteIntegers(parts, settings)
    yield from float8.find(elements, settings)


def _check(settings: QuantisedSettings) -> None:
    """Raises UnsupportedModel for what changes the meaning of the weights and is not known."""
    groups = settings.values.get("config_groups")
    schemes = list(groups.values()) if isinstance(groups, Mapping) else []
    kinds = [settings.values.get("format", "dense")]
    kinds += [scheme.get("format") for scheme in schemes if isinstance(scheme, Mapping)]
    for kind in kinds:
        if kind is not None and kind not in (*_FORMATS, "mixed-precision"):
            raise UnsupportedModel(
                f"{settings.where}: weights of compressed-tensors in the format "
                f"{str(kind)[:60]!r} cannot be read, {', '.join(_FORMATS)} can; {REMEDY}"
            )
    sparsity = settings.values.get("sparsity_config")
    if isinstance(sparsity, Mapping) and sparsity.get("format", "dense") != "dense":
        raise UnsupportedModel(
            f"{settings.where}: sparse weights ({str(sparsity.get('format'))[:60]!r}) of "
            f"compressed-tensors cannot be read; {REMEDY}"
        )
    if settings.values.get("transform_config"):
        raise UnsupportedModel(
            f"{settings.where}: compressed-tensors with a transform_config needs rotations at run "
            f"time, which are not supported; {REMEDY}"
        )
