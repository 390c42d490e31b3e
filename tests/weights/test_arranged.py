"""Tensors arranged anew: runs of rows, transposes and vectors, read and packed."""

from pathlib import Path

import numpy as np
import pytest

from tests.native.programs import random_raw
from tests.weights.build import GGUFFile, GGUFTensor
from wazn.errors import BadFile
from wazn.weights import packed
from wazn.weights.arranged import (
    Arranged,
    Arrangement,
    Beside,
    Columns,
    Flat,
    Rows,
    Transposed,
    runs,
)
from wazn.weights.formats import Format, dequantize
from wazn.weights.gguf import GGUF
from wazn.weights.loss import Loss
from wazn.weights.stacked import Piece

ROWS, COLUMNS = 12, 64
FORMATS = (Format.F32, Format.BF16, Format.Q4_0)


@pytest.fixture
def container(tmp_path: Path) -> GGUF:
    """A matrix in each of three formats, a vector and a tensor of three dimensions."""
    rng = np.random.default_rng(0)
    tensors = [
        GGUFTensor(
            f.name, [COLUMNS, ROWS], f.ggml_type, random_raw(f, ROWS, COLUMNS, rng).tobytes()
        )
        for f in FORMATS
    ]
    vector = np.arange(ROWS, dtype=np.float32)
    tensors.append(GGUFTensor("vector", [ROWS], Format.F32.ggml_type, vector.tobytes()))
    tensors.append(GGUFTensor("deep", [4, 1, 3], Format.F32.ggml_type, vector.tobytes()))
    path = tmp_path / "model.gguf"
    path.write_bytes(GGUFFile(tensors=tensors).build())
    return GGUF(path)


def test_parts_of_heads_are_runs_of_rows(container: GGUF) -> None:
    with container:
        first, second = runs(container.tensors["F32"], 3, (1, 3))
        assert first == [Piece("F32", 0, 1), Piece("F32", 4, 1), Piece("F32", 8, 1)]
        assert second == [Piece("F32", 1, 3), Piece("F32", 5, 3), Piece("F32", 9, 3)]
        with pytest.raises(
            BadFile, match="tensor F32 has 12 rows where the model's shape needs 15"
        ):
            runs(container.tensors["F32"], 3, (2, 3))


@pytest.mark.parametrize("format", FORMATS)
def test_runs_of_rows_read_as_one_matrix_from_anywhere_to_anywhere(
    container: GGUF, format: Format
) -> None:
    with container:
        _, parts = runs(container.tensors[format.name], 3, (1, 3))
        arranged = Arranged(container, {"parts": Rows(parts), "stack": Rows(parts, 3)})
        assert arranged.tensors["parts"].shape == (9, COLUMNS)
        assert arranged.tensors["stack"].shape == (3, 3, COLUMNS)
        assert arranged.paths == container.paths
        whole = container.read(format.name)
        expected = whole.reshape(3, 4, -1)[:, 1:].reshape(9, -1)
        for start, stop in ((0, 9), (0, 1), (2, 7), (8, 9), (4, 4)):
            if start < stop:
                found = arranged.read("parts", start, stop)
                np.testing.assert_array_equal(found, expected[start:stop])
        np.testing.assert_array_equal(arranged.read(format.name, 2, 3), whole[2:3])


@pytest.mark.parametrize("format", FORMATS)
def test_transposes_keep_values_to_the_last_bit(container: GGUF, format: Format) -> None:
    with container:
        first, _ = runs(container.tensors[format.name], 3, (3, 1))
        arranged = Arranged(container, {"turned": Transposed(first)})
        info = arranged.tensors["turned"]
        assert info.shape == (3, COLUMNS, 3)
        assert info.format == (Format.F32 if format is Format.Q4_0 else format)
        values = dequantize(container.read(format.name), format).reshape(3, 4, COLUMNS)[:, :3]
        expected = values.transpose(0, 2, 1).reshape(-1, 3)
        for start, stop in ((0, 192), (60, 70), (191, 192)):
            found = dequantize(arranged.read("turned", start, stop), info.format)
            np.testing.assert_array_equal(found, expected[start:stop])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("columns", [Columns(1, None, 2), Columns(0, 24), Columns(24)])
def test_some_columns_can_be_transposed(container: GGUF, format: Format, columns: Columns) -> None:
    with container:
        pieces, _ = runs(container.tensors[format.name], 3, (4, 0))
        arranged = Arranged(container, {"turned": Transposed(pieces, columns)})
        info = arranged.tensors["turned"]
        values = dequantize(container.read(format.name), format).reshape(3, 4, COLUMNS)
        expected = values[..., slice(*columns)].transpose(0, 2, 1)
        assert info.shape == expected.shape
        count = info.rows
        for start, stop in ((0, count), (count - 1, count), (20, count // 2)):
            found = dequantize(arranged.read("turned", start, stop), info.format)
            np.testing.assert_array_equal(found, expected.reshape(count, 4)[start:stop])


def test_vectors_are_taken_apart_element_by_element_and_made_of_any_tensor(
    container: GGUF,
) -> None:
    with container:
        first, second = runs(container.tensors["vector"], 4, (1, 2))
        tensors: dict[str, Arrangement] = {
            "first": Rows(first),
            "second": Rows(second),
            "flat": Flat("deep"),
            "odd": Flat("deep", Columns(1, None, 2)),
        }
        names = {name: name for name in tensors}
        packing = packed.Packing(Arranged(container, tensors), names, Loss())
        weights = packed.pack_in_memory(packing, 1, lambda _: None)
    assert weights.vector("first").tolist() == [0, 3, 6, 9]
    assert weights.vector("second").tolist() == [1, 2, 4, 5, 7, 8, 10, 11]
    assert weights.vector("flat").tolist() == list(range(12))
    columns = 4  # of the innermost dimension
    assert weights.vector("odd").tolist() == [i for i in range(12) if i % columns % 2]


@pytest.mark.parametrize(
    ("arrangement", "message"),
    [
        (Rows([Piece("F32", 0, 2), Piece("BF16", 0, 2)]), "differ in columns or number format"),
        (Rows([Piece("F32", 0, 2), Piece("deep", 0, 2)]), "differ in columns or number format"),
        (Rows([Piece("F32", 0, 2), Piece("vector", 0, 2)]), "differ in columns or number format"),
        (Rows([Piece("F32", 11, 2)]), "has 12 rows where the model's shape needs 13"),
        (Rows([Piece("vector", 11, 2)]), "has 12 rows where the model's shape needs 13"),
        (Transposed([Piece("vector", 0, 2)]), "is a vector where a matrix is expected"),
        (Flat("Q4_0"), "has the number format Q4_0 where the model needs floats"),
    ],
)
def test_what_does_not_fit_is_refused(
    container: GGUF, arrangement: Arrangement, message: str
) -> None:
    with container, pytest.raises(BadFile, match=message):
        Arranged(container, {"new": arrangement})


@pytest.mark.parametrize("format", FORMATS)
def test_matrices_beside_one_another_are_one_matrix(container: GGUF, format: Format) -> None:
    with container:
        arranged = Arranged(container, {"both": Beside([format.name, format.name])})
        assert arranged.tensors["both"].shape == (ROWS, 2 * COLUMNS)
        whole = container.read(format.name)
        for start, stop in ((0, ROWS), (3, 4), (5, 11)):
            rows = np.concatenate([whole[start:stop]] * 2, axis=1)
            np.testing.assert_array_equal(arranged.read("both", start, stop), rows)
        np.testing.assert_array_equal(
            dequantize(arranged.read("both"), format),
            np.concatenate([dequantize(whole, format)] * 2, axis=1),
        )


@pytest.mark.parametrize("other", ["Q4_0", "vector", "deep"])
def test_matrices_that_differ_stand_beside_none(container: GGUF, other: str) -> None:
    with container, pytest.raises(BadFile, match="are no matrices that differ in columns only"):
        Arranged(container, {"both": Beside(["F32", other])})
