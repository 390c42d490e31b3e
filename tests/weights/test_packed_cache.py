"""Packed weights: made once, found again, freed, and never trusted blindly."""

import ctypes
import json
import mmap
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.native.programs import random_raw
from tests.weights.build import GGUFFile, GGUFTensor
from wazn.errors import BadFile
from wazn.settings import load_settings
from wazn.weights.formats import GGML_FORMATS, Format, dequantize
from wazn.weights.gguf import GGUF
from wazn.weights.loss import Loss
from wazn.weights.packed import PackedWeights, Packing, read_header
from wazn.weights.packed_cache import PackedCache, PackingOptions

ROWS, COLUMNS = 37, 512
NAMES = {f"model.{format.name}.weight": f"{format.name}.weight" for format in GGML_FORMATS}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A GGUF file with a matrix of every number format and a float16 vector."""
    rng = np.random.default_rng(0)
    tensors = [
        matrix(f"{f.name}.weight", ROWS, f, random_raw(f, ROWS, COLUMNS, rng).tobytes())
        for f in GGML_FORMATS
    ]
    vector = np.arange(5, dtype=np.float16).tobytes()
    tensors.append(GGUFTensor("vector", [5], Format.F16.ggml_type, vector))
    return written(tmp_path / "model.gguf", tensors)


def matrix(name: str, rows: int, format: Format, data: bytes) -> GGUFTensor:
    columns = len(data) // rows // format.block_bytes * format.block_size
    return GGUFTensor(name, [columns, rows], format.ggml_type, data)


def written(path: Path, tensors: list[GGUFTensor]) -> Path:
    path.write_bytes(GGUFFile(tensors=tensors).build())
    return path


def opened(path: Path, sentences: list[str] | None = None) -> PackedWeights:
    notes = [] if sentences is None else sentences
    options = PackingOptions(2, lambda num_bytes: None, notes.append)
    with GGUF(path) as container:
        names = {**NAMES, "model.vector": "vector"}
        return PackedCache(load_settings()).open(Packing(container, names, Loss()), options)


def assert_same_values(weights: PackedWeights, path: Path) -> None:
    with GGUF(path) as container:
        for to, source in NAMES.items():
            format = container.tensors[source].format
            packed = weights.matrix(to)
            rows = np.stack([packed.row(row) for row in range(ROWS)])
            expected = dequantize(container.read(source), format)
            np.testing.assert_array_equal(rows.view(np.uint32), expected.view(np.uint32))
    np.testing.assert_array_equal(weights.vector("model.vector"), np.arange(5, dtype=np.float32))


def test_packed_weights_keep_every_value_and_are_found_again(model: Path) -> None:
    assert_same_values(opened(model), model)
    (entry,) = PackedCache(load_settings()).entries()
    before = entry.path.stat().st_ino
    assert_same_values(opened(model), model)
    assert entry.path.stat().st_ino == before
    assert entry.model == str(model)
    assert len(entry.sources[0].sha256) == 64


def places_in_memory(path: Path) -> list[bool]:
    """Of the first small page of every 2 MiB, whether it lies in memory. Reads nothing."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        bytes_of_file = np.frombuffer(mapping, np.uint8)
        found = (ctypes.c_ubyte * -(-len(mapping) // mmap.PAGESIZE))()
        address = ctypes.c_void_p(bytes_of_file.ctypes.data)
        assert ctypes.CDLL(None).mincore(address, ctypes.c_size_t(len(mapping)), found) == 0
        del bytes_of_file  # it keeps the mapping open
        return [bool(state & 1) for state in found[:: (2 << 20) // mmap.PAGESIZE]]


def test_what_was_packed_is_read_back_into_memory(tmp_path: Path) -> None:
    tensors = [matrix("F16.weight", 4096, Format.F16, bytes(16 << 20))]
    path = written(tmp_path / "big.gguf", tensors)
    with GGUF(path) as container:
        options = PackingOptions(2, lambda num_bytes: None, lambda sentence: None)
        packing = Packing(container, {"weight": "F16.weight"}, Loss())
        packed = PackedCache(load_settings()).open(packing, options)
    (entry,) = PackedCache(load_settings()).entries()
    assert packed.matrix("weight").rows == 4096
    assert places_in_memory(entry.path) == [True] * 9


def test_a_changed_source_is_packed_again(model: Path) -> None:
    opened(model)
    status = model.stat()
    os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    opened(model)
    assert len(PackedCache(load_settings()).entries()) == 2


@pytest.mark.parametrize("keep", [0, 7, 15, 16, 100, 5000, -1])
def test_a_damaged_entry_is_packed_again(model: Path, keep: int) -> None:
    opened(model)
    (entry,) = PackedCache(load_settings()).entries()
    content = entry.path.read_bytes()
    entry.path.write_bytes(content[:keep])
    assert_same_values(opened(model), model)


def test_a_header_that_points_outside_its_file_is_refused(model: Path) -> None:
    weights = opened(model)
    (entry,) = PackedCache(load_settings()).entries()
    content = entry.path.read_bytes()
    length = int.from_bytes(content[8:16], "little")
    header = json.loads(content[16 : 16 + length])
    header["places"]["model.Q4_0.weight"][3] = len(content) * 2
    text = json.dumps(header).encode()[:length].ljust(length)
    entry.path.write_bytes(content[:16] + text + content[16 + length :])
    with pytest.raises(BadFile):
        read_header(entry.path)
    assert_same_values(weights, model)  # what is mapped already is another file


def test_too_little_disk_means_packing_in_memory_and_saying_so(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    sentences: list[str] = []
    assert_same_values(opened(model, sentences), model)
    assert "packed in memory" in sentences[0]
    assert PackedCache(load_settings()).entries() == []


def test_the_cache_is_pruned_and_cleared(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    shutil.copy(model, other)
    opened(model)
    opened(other)
    cache = PackedCache(load_settings())
    newest, oldest = cache.entries()
    os.utime(oldest.path, (1, 1))
    assert cache.prune(newest.size_bytes) == oldest.size_bytes
    assert [entry.path for entry in cache.entries()] == [newest.path]
    assert cache.forget((tmp_path / "nothing",)) == 0
    assert cache.forget((Path(newest.model),)) == newest.size_bytes
    opened(model)
    assert cache.clear() > 0
    assert cache.entries() == []


def test_a_limit_keeps_the_model_in_use(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.gguf"
    shutil.copy(model, other)
    opened(model)
    monkeypatch.setenv("WAZN_CACHE_LIMIT", "1")
    opened(other)
    assert [entry.model for entry in PackedCache(load_settings()).entries()] == [str(other)]


def _pack_and_report(path: Path, barrier: object, queue: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    sentences: list[str] = []
    weights = opened(path, sentences)
    queue.put((sentences, float(weights.matrix("model.F32.weight").row(0)[0])))  # type: ignore[attr-defined]


def test_processes_that_want_the_same_model_pack_it_once(model: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_pack_and_report, args=(model, barrier, queue)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    reports = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert reports[0][1] == reports[1][1]
    folder = PackedCache(load_settings()).folder
    assert len(list(folder.glob("*.packed"))) == 1
    assert not list(folder.glob("*.tmp"))


def test_a_nan_scale_is_named(tmp_path: Path) -> None:
    raw = np.zeros((2, 18), np.uint8)
    raw[1, :2] = np.array([np.nan], np.float16).view(np.uint8)
    bad = matrix("bad.weight", 2, Format.Q4_0, raw.tobytes())
    path = written(tmp_path / "model.gguf", [bad])
    options = PackingOptions(1, lambda num_bytes: None, lambda sentence: None)
    with GGUF(path) as container, pytest.raises(BadFile, match=r"bad\.weight.*row 1.*NaN"):
        PackedCache(load_settings()).open(
            Packing(container, {"bad": "bad.weight"}, Loss()), options
        )
    assert not list(PackedCache(load_settings()).folder.glob("*.tmp"))


def _peak_bytes_of_packing(path: Path, queue: object) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opened_one(path)
    queue.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)  # type: ignore[attr-defined]


def opened_one(path: Path) -> None:
    options = PackingOptions(2, lambda num_bytes: None, lambda sentence: None)
    with GGUF(path) as container:
        PackedCache(load_settings()).open(
            Packing(container, {"big": "big.weight"}, Loss()), options
        )


def test_packing_takes_little_memory(tmp_path: Path) -> None:
    rows, columns = 40960, 4096
    raw = random_raw(Format.Q4_0, 16, columns, np.random.default_rng(0)).tobytes() * (rows // 16)
    path = written(tmp_path / "big.gguf", [matrix("big.weight", rows, Format.Q4_0, raw)])
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_peak_bytes_of_packing, args=(path, queue))
    process.start()
    peak = queue.get(timeout=100)
    process.join()
    assert peak < 100 << 20 < path.stat().st_size * 1.2
