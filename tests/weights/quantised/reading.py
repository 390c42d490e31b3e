"""How tests read a quantised checkpoint: through the container, and from packed panels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.weights.quantised.writers import Floats, Typed, write
from wazn.weights.container import Container
from wazn.weights.formats import dequantize
from wazn.weights.loss import Loss
from wazn.weights.packed import Packing, pack_in_memory
from wazn.weights.quantised.find import make_weights
from wazn.weights.safetensors import Safetensors


def opened(
    folder: Path,
    tensors: Mapping[str, Typed],
    settings: Mapping[str, Any],
    *,
    loss: Loss | None = None,
    as_floats: bool = False,
) -> Container:
    """The checkpoint of these tensors under a quantization_config of ``settings``."""
    path = write(folder / "model.safetensors", dict(tensors))
    config = {"quantization_config": dict(settings)}
    chosen = None if as_floats else loss or Loss()
    return make_weights(Safetensors(path), config, f"{folder}/config.json", chosen)


def values_of(container: Container, name: str) -> Floats:
    """Every row of a tensor as float32, read in uneven pieces."""
    info = container.tensors[name]
    cuts = sorted({0, 1, 5, 16, info.rows // 2 + 1, info.rows} & set(range(info.rows + 1)))
    pieces = [container.read(name, a, b) for a, b in itertools.pairwise(cuts)]
    assert container.read(name, 3, 3).shape == (0, info.row_bytes)
    return dequantize(np.concatenate(pieces), info.format)


def packed_values(container: Container, name: str) -> Floats:
    """Every row of a matrix as the kernels see it."""
    weights = pack_in_memory(Packing(container, {"w": name}, Loss()), 1, lambda num_bytes: None)
    matrix = weights.matrix("w")
    return np.stack([matrix.row(row) for row in range(matrix.rows)])


def assert_same_bits(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Equal to the bit, but for the sign of zero."""
    np.testing.assert_array_equal(actual, expected)
