"""The scripts in bench/ that need neither llama.cpp nor a downloaded model."""

import math
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from bench import products, quality, rounding
from bench.shapes import SHAPES, VOCABULARY, Planned, begin, noise
from bench.synthetic import LOGIT_DEVIATION, matrix, synthesize
from bench.widened import Axis, widen_columns, widen_model
from tests.golden.answers import sequence
from tests.golden.build import read_config, tiny_gguf, write_gguf
from tests.golden.catalogue import LLAMA, LLAMA_TIED, QWEN2, Tiny
from tests.golden.tensors import draw
from wazn import LLM, native
from wazn.bench.divergence import score_window
from wazn.models.checkpoint import open_checkpoint
from wazn.models.rehearsal import check_tensors
from wazn.weights.formats import Format
from wazn.weights.gguf import GGUF


@pytest.mark.parametrize("tiny", [LLAMA, LLAMA_TIED], ids=lambda tiny: tiny.name)
def test_a_widened_model_gives_the_answers_of_its_source(tiny: Tiny, tmp_path: Path) -> None:
    source, wide = tmp_path / "source.gguf", tmp_path / "wide.gguf"
    write_gguf(read_config(tiny), draw(read_config(tiny), tiny.seed), source, vocabulary="llama3")
    widen_model(source, wide)
    ids = sequence(tiny)[:80]
    with LLM(source, precision="exact") as before, LLM(wide, precision="exact") as after:
        expected, found = before.logits(ids), after.logits(ids)
    # The widened weights are rounded to float16.
    np.testing.assert_allclose(found, expected, atol=1e-2 * np.abs(expected).max())


def test_every_matrix_of_a_widened_model_has_rows_of_whole_blocks(tmp_path: Path) -> None:
    source, wide = tiny_gguf(LLAMA, tmp_path / "source.gguf"), tmp_path / "wide.gguf"
    widen_model(source, wide)
    with GGUF(wide) as container:
        matrices = {name: info for name, info in container.tensors.items() if len(info.shape) == 2}
    assert all(info.shape[1] % 256 == 0 for info in matrices.values())
    assert {"token_embd.weight", "output.weight"} <= matrices.keys()


def test_new_columns_keep_the_spread_of_their_row() -> None:
    random = np.random.default_rng(0)
    matrix = np.array([[1, 2, 3], [10, 20, 30]], np.float32)
    axis = Axis(6, np.array([5, 0, 2]))
    wide = widen_columns(matrix, axis, random)
    assert wide[:, axis.places].tolist() == matrix.tolist()
    assert set(wide[0]) == {1, 2, 3} and set(wide[1]) == {10, 20, 30}


def test_only_a_llama_is_widened(tmp_path: Path) -> None:
    source = tiny_gguf(QWEN2, tmp_path / "source.gguf")
    with pytest.raises(ValueError, match=r"source\.gguf is not a Llama"):
        widen_model(source, tmp_path / "wide.gguf")


def test_a_synthetic_model_has_whole_blocks_and_the_stated_logits(tmp_path: Path) -> None:
    source, target = tiny_gguf(LLAMA, tmp_path / "source.gguf"), tmp_path / "synthetic.gguf"
    synthesize(source, target)
    with GGUF(target) as container:
        shapes = [info.shape for info in container.tensors.values() if len(info.shape) == 2]
    assert all(shape[1] % 256 == 0 for shape in shapes)
    with LLM(target, precision="exact") as llm:
        logits = llm.logits(sequence(LLAMA)[:80])
    assert logits.std() == pytest.approx(LOGIT_DEVIATION, rel=0.25)


def test_random_matrices_keep_the_size_of_what_they_map() -> None:
    random = np.random.default_rng(0)
    outputs = matrix(random, 2000, 512, 3.0) @ random.standard_normal(512).astype(np.float32)
    assert outputs.std() == pytest.approx(3.0, rel=0.15)


@pytest.mark.parametrize("limit", [None, 700])
def test_windows_hold_the_corpus_in_order(limit: int | None) -> None:
    windows = [ids for _, ids in quality.windows(lambda text: list(text.encode()), limit)]
    corpus = b"".join(path.read_bytes() for path in sorted(quality.CORPUS.glob("*.txt")))
    assert bytes(np.concatenate(windows).tolist()) == corpus[:limit]
    assert max(map(len, windows)) == quality.WINDOW


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"divergence": 0.011}, ["KL <= 0.01"]),
        ({"top_1_agreement": 0.95}, ["top-1 >= 96%"]),
        ({"divergence_ratio": 1.3}, ["KL ratio <= 1.2"]),
        ({"divergence": math.nan, "divergence_ratio": math.nan}, ["KL <= 0.01", "KL ratio <= 1.2"]),
    ],
)
def test_each_bound_that_is_missed_is_named(changes: dict[str, float], missed: list[str]) -> None:
    figures = {"divergence": 0.004, "top_1_agreement": 0.97, "divergence_ratio": 1.0} | changes
    found = {"wazn": figures, "divergence_ratio": figures["divergence_ratio"]}
    assert quality.missed_bounds(found) == missed


def test_every_text_has_a_row_of_its_own_under_the_file() -> None:
    logits = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    window = score_window(np.zeros(9, np.int64), logits, dict.fromkeys(quality.CONTENDERS, -logits))
    whole = quality.compare([window, window])
    result = {"file": "a.gguf", "tensors": {"Q4_0": 3, "F32": 1}, "missed": [], **whole}
    found = list(quality.rows(result | {"texts": {"arabic": quality.compare([window])}}))
    assert [(row[0], row[1]) for row in found] == [("a.gguf", "18"), ("- arabic", "9")]
    assert found[0][-2:] == ["met", "3xQ4_0 1xF32"]
    assert {len(row) for row in found} == {len(quality.HEADER)}


def test_rounding_is_measured_against_the_weights_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_gguf(LLAMA, tmp_path / "tiny.gguf")
    ids = np.array(sequence(LLAMA)[:80])
    texts = [("a", ids), ("a", ids[:7]), ("b", ids[:40])]
    monkeypatch.setattr(rounding, "windows", lambda encode, limit: texts)
    native, q8, q4 = rounding.measure(path, 1, 1)
    assert native["divergence"] == 0 and native["top_1_agreement"] == 1
    assert native["relative_errors"] == {}
    assert 0 < q8["divergence"] < q4["divergence"]
    assert 0 < q8["relative_errors"]["Q8_0"] < 0.01 < q4["relative_errors"]["Q4_1"] < 0.12
    table = list(rounding.rows([native, q8, q4]))
    assert [row[:2] for row in table] == [("native", "120"), ("q8", "120"), ("q4", "120")]
    assert {len(row) for row in table} == {len(rounding.HEADER)}


@pytest.mark.parametrize("kind", ["F32", "Q4_0", "Q8_0", "MXFP4"])
def test_noise_maps_a_variance_of_one_to_about_one(kind: str) -> None:
    planned = Planned("blk.0.ffn_up.weight", (64, 320), GGMLQuantizationType[kind])
    values = noise(planned, np.random.default_rng(0))
    assert values.nbytes == planned.bytes
    plain = dequantize(values, planned.kind)
    assert math.sqrt(np.square(plain).mean() * 320) == pytest.approx(1, rel=0.45)  # powers of two


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [("qwen3-moe-12", 4.36), ("deepseek-v2-lite-9", 2.83), ("gpt-oss-6", 3.11)],
)
def test_files_of_real_shapes_have_the_tensors_and_the_size_that_they_should(
    name: str, gigabytes: float, tmp_path: Path
) -> None:
    source, target = tiny_gguf(QWEN2, tmp_path / "source.gguf"), tmp_path / "shape.gguf"
    begin(SHAPES[name], source, target).close()
    os.truncate(target, round(gigabytes * 1.01e9))  # zeros, which take no space
    with closing(open_checkpoint(target)) as checkpoint:
        check_tensors(checkpoint)
        assert checkpoint.config.vocab_size == VOCABULARY
    size = sum(planned.bytes for planned in SHAPES[name].tensors())
    assert size / 1e9 == pytest.approx(gigabytes, rel=0.005)


def test_products_of_every_kind_are_measured() -> None:
    pool = native.Pool(1)
    for kind, form in [*((kind, "narrow") for kind in products.KINDS), ("Q6_K", "wide")]:
        (row,) = products.measure(pool, Format[kind], [3], megabytes=1, repeats=1, form=form)
        weights, rows, *rates, share = row
        assert (weights, rows) == (kind, "3")
        assert all(float(rate) > 0 for rate in rates) and share.endswith("%")
