"""Stacks of matrices: joined from pieces of a file, and packed with whole panels each."""

from pathlib import Path

import numpy as np
import pytest

from tests.native.programs import random_raw
from tests.weights.build import GGUFFile, GGUFTensor
from wazn import native
from wazn.errors import BadFile
from wazn.weights import packed
from wazn.weights.formats import Format, dequantize
from wazn.weights.gguf import GGUF
from wazn.weights.loss import Loss
from wazn.weights.stacked import Piece, Stacked

EXPERTS, ROWS, COLUMNS = 3, 37, 256


@pytest.fixture
def container(tmp_path: Path) -> GGUF:
    """A stack of experts in one tensor, and the same ones by themselves."""
    raw = random_raw(Format.Q4_0, EXPERTS * ROWS, COLUMNS, np.random.default_rng(0))
    code = Format.Q4_0.ggml_type
    tensors = [
        GGUFTensor(f"e{number}", [COLUMNS, ROWS], code, part.tobytes())
        for number, part in enumerate(np.split(raw, EXPERTS))
    ]
    tensors.append(GGUFTensor("all", [COLUMNS, ROWS, EXPERTS], code, raw.tobytes()))
    tensors.append(GGUFTensor("narrow", [32, ROWS], code, bytes(ROWS * 18)))
    path = tmp_path / "model.gguf"
    path.write_bytes(GGUFFile(tensors=tensors).build())
    return GGUF(path)


def joined(container: GGUF) -> Stacked:
    return Stacked(container, {"joined": [Piece(f"e{i}", 0, ROWS) for i in range(EXPERTS)]})


def test_pieces_read_as_one_tensor(container: GGUF) -> None:
    with container:
        stacked = joined(container)
        info = stacked.tensors["joined"]
        assert info.shape == (EXPERTS, ROWS, COLUMNS)
        assert info.row_bytes == container.tensors["all"].row_bytes
        assert stacked.paths == container.paths
        whole = container.read("all")
        np.testing.assert_array_equal(stacked.read("joined"), whole)
        np.testing.assert_array_equal(stacked.read("all"), whole)
        for start, stop in ((0, 1), (36, 38), (5, 80), (74, 111), (37, 37)):
            if start < stop:
                np.testing.assert_array_equal(
                    stacked.read("joined", start, stop), whole[start:stop]
                )


def test_pieces_can_be_parts_of_a_tensor(container: GGUF) -> None:
    with container:
        halves = {"up": [Piece("all", number * ROWS + 20, 10) for number in range(EXPERTS)]}
        up = Stacked(container, halves).read("up").reshape(EXPERTS, 10, -1)
        whole = container.read("all").reshape(EXPERTS, ROWS, -1)
        np.testing.assert_array_equal(up, whole[:, 20:30])


def test_pieces_of_different_shapes_are_refused(container: GGUF) -> None:
    with container, pytest.raises(BadFile, match="narrow differs from e0 in shape"):
        Stacked(container, {"joined": [Piece("e0", 0, ROWS), Piece("narrow", 0, ROWS)]})


@pytest.mark.parametrize("slab_bytes", [1 << 20, 16 * 18 * 8])
def test_every_expert_is_packed_into_panels_of_its_own(
    container: GGUF, slab_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "_SLAB_BYTES", slab_bytes)
    done: list[int] = []
    with container:
        names = {"all": "all", "joined": "joined", "e0": "e0"}
        weights = packed.pack_in_memory(
            packed.Packing(joined(container), names, Loss()), 2, done.append
        )
        whole = container.read("all")
    layout = native.LAYOUTS["Q4_0"]
    size = native.packed_bytes(layout, ROWS, COLUMNS)
    for name in ("all", "joined"):
        place, stack = weights.places[name], weights.stack(name)
        assert (place.rows, place.count, place.num_bytes) == (ROWS, EXPERTS, EXPERTS * size)
        assert (stack.rows, stack.columns, stack.count) == (ROWS, COLUMNS, EXPERTS)
        for number in range(EXPERTS):
            weights.places["one"] = packed.Place(
                "Q4_0", ROWS, COLUMNS, place.offset + number * size, size
            )
            one = weights.matrix("one")
            rows = np.stack([one.row(row) for row in range(ROWS)])
            expected = dequantize(whole[number * ROWS : (number + 1) * ROWS], Format.Q4_0)
            np.testing.assert_array_equal(rows, expected)
    assert sum(done) == 2 * whole.nbytes + whole.nbytes // EXPERTS
    with pytest.raises(BadFile, match="all is a stack of 3 where one matrix is expected"):
        weights.matrix("all")
