"""Coverage-guided fuzzing of the weight containers: GGUF (split too), safetensors (sharded too) and
quantised checkpoints.

    python bench/soak/fuzz_containers.py --seconds 360 --seed 7
    python bench/soak/fuzz_containers.py gguf --requests 100000 --seed 7

Without a container all are fuzzed, one after the other, each with the whole budget. Starts from
the files of the tests' writer; every mutation must be read or refused with a WaznError whose
message is one line. A crash, a hang of ten seconds or a gigabyte of memory ends the run with a
non-zero status and the path of the input; such an input becomes a test.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
# An editable install imports through a finder of its own, whose modules cannot be instrumented:
# only the import system's own finders, which are classes, are kept.
sys.meta_path[:] = [finder for finder in sys.meta_path if isinstance(finder, type)]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

with atheris.instrument_imports(include=["wazn.weights"]):
    from wazn.errors import BadFile, WaznError
    from wazn.weights.container import Container
    from wazn.weights.formats import dequantize
    from wazn.weights.gguf import GGUF
    from wazn.weights.loss import Loss
    from wazn.weights.quantised.find import make_weights
    from wazn.weights.safetensors import INDEX_NAME, SINGLE_NAME, Safetensors
    from wazn.weights.scales import check_scales

MAX_INPUT_BYTES = 8192
MAX_MESSAGE = 1000
FUZZ = "--fuzz"  # first argument of the fuzzing process itself
LIMITS = ["-timeout=10", "-rss_limit_mb=1024", f"-max_len={MAX_INPUT_BYTES}"]

# An input is one byte, SINGLE, PAIR or HEADED, and what follows it. SINGLE: a file. PAIR: the
# length of the first file in two bytes, and two files: two parts of a GGUF, or an index and a
# shard. HEADED (safetensors): as PAIR, but a header and data, which get the right header length.
# Of a quantised checkpoint: always a pair, quantization_config and a file.
SINGLE, PAIR, HEADED = 0, 1, 2

DICTIONARY = [
    *[b"GGUF", b"general.alignment", b"split.no", b"split.count", b"split.tensors.count"],
    *[value.to_bytes(8, "little") for value in (0, 1, 2**31, 2**40, 2**62, 2**63, 2**64 - 1)],
    *[value.to_bytes(4, "little") for value in range(14)],
    *[b'"dtype"', b'"shape"', b'"data_offsets"', b'"__metadata__"', b'"weight_map"', b'"BF16"'],
    *[b'"quant_method"', b'"gptq"', b'"awq"', b'"fp8"', b'"mxfp4"', b'"compressed-tensors"'],
    *[b'"weight_block_size"', b'"I32"', b'"I8"', b'"U8"', b'"F8_E4M3"', b'"F8_E8M0"', b'"F4"'],
    *[b"[[", b"{}", b"NaN", b"-1", b"1e999", b"9223372036854775808", b"\\ud800", b"../"],
]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("container", nargs="?", choices=list(SEEDS))
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--seconds", type=int, help="how long to fuzz each container")
    budget.add_argument("--requests", type=int, help="how many inputs to try on each container")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 2**31))
    options = parser.parse_args()
    limit = (
        f"-runs={options.requests}"
        if options.seconds is None
        else f"-max_total_time={options.seconds}"
    )
    statuses = []
    for container in [options.container] if options.container else list(SEEDS):
        print(f"fuzzing {container} with --seed {options.seed}", flush=True)
        # The fuzzer never returns from its loop, so it gets a process and a folder of its own.
        with tempfile.TemporaryDirectory(prefix="wazn-fuzz-") as folder:
            failures = Path(tempfile.mkdtemp(prefix="wazn-fuzz-failures-"))
            arguments = [limit, f"-seed={options.seed}", f"-artifact_prefix={failures}/"]
            command = [sys.executable, __file__, FUZZ, container, folder, *arguments]
            statuses.append(subprocess.run(command, check=False).returncode)
        if not any(failures.iterdir()):
            failures.rmdir()
    return max(abs(status) for status in statuses)


def fuzz(container: str, folder: str, *arguments: str) -> None:
    """Fuzz one container for ever, or until the limits of the fuzzer's arguments."""
    files = Path(folder) / "files"
    files.mkdir()
    corpus_and_dictionary = prepare(container, Path(folder))
    warnings.simplefilter("error")
    run_input = RUNNERS[container]
    arguments = (*LIMITS, *arguments, *corpus_and_dictionary)
    atheris.Setup([sys.argv[0], *arguments], lambda data: run_input(data, files))
    atheris.Fuzz()


def prepare(container: str, folder: Path) -> list[str]:
    """Write the seed corpus and the dictionary; the fuzzer's arguments for them."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[container]()):
        (corpus / f"{number}").write_bytes(seed)
    dictionary = folder / "dictionary"
    quoted = ["".join(f"\\x{byte:02x}" for byte in word) for word in DICTIONARY]
    dictionary.write_text("".join(f'"{word}"\n' for word in quoted))
    return [str(corpus), f"-dict={dictionary}"]


def single(content: bytes) -> bytes:
    return bytes([SINGLE]) + content


def pair(first: bytes, second: bytes, form: int = PAIR) -> bytes:
    return bytes([form]) + len(first).to_bytes(2, "little") + first + second


def gguf_seeds() -> list[bytes]:
    """Valid files: whole, tiny, and in two parts."""
    from tests.weights import build

    whole = build.valid_gguf()
    first = build.GGUFFile([*whole.entries[:2], *build.split_entries(0, 2, 3)], whole.tensors[:1])
    second = build.GGUFFile(build.split_entries(1, 2, 3), whole.tensors[1:])
    aligned = build.GGUFFile(
        [build.uint32("general.alignment", 64)], whole.tensors[:2], alignment=64
    )
    files = [whole, aligned, build.GGUFFile(), build.GGUFFile([build.text("a", "b")])]
    return [*(single(file.build()) for file in files), pair(first.build(), second.build())]


def safetensors_seeds() -> list[bytes]:
    """Valid files: whole, tiny, and a shard with its index."""
    from tests.weights import build

    index = b'{"metadata":{"total_size":24},"weight_map":{"a":"shard.safetensors"}}'
    singles = [build.valid_safetensors(), build.one_tensor("a"), build.safetensors({})]
    headed = []
    for content in singles:
        start = 8 + int.from_bytes(content[:8], "little")
        headed.append(pair(content[8:start], content[start:], HEADED))
    return [*map(single, singles), *headed, pair(index, build.one_tensor("a"))]


def quantised_seeds() -> list[bytes]:
    """A small matrix in each way of quantising, under its configuration."""
    import numpy as np

    from tests.weights.quantised import writers

    coding = writers.Coding(rows=16, columns=64, group=32)
    rng = np.random.default_rng(0)
    packed = writers.pack_quantized(rng, coding, symmetric=False)
    integers = writers.int_quantized(rng, coding, symmetric=False)
    codes, bytes_of_4 = np.zeros((16, 64), np.uint8), np.zeros((2, 4, 1, 16), np.uint8)
    checkpoints: list[tuple[dict[str, object], dict[str, writers.Typed]]] = [
        ({"quant_method": "gptq", "bits": 4}, writers.gptq(rng, coding).named("a")),
        ({"quant_method": "awq"}, writers.awq(rng, coding).named("a")),
        ({"quant_method": "compressed-tensors"}, packed.named("a")),
        ({"quant_method": "compressed-tensors"}, integers.named("a")),
        (
            {"quant_method": "fp8", "weight_block_size": [32, 32]},
            {"a.weight": ("F8_E4M3", codes), "a.scale": ("F32", np.ones((1, 2), "<f4"))},
        ),
        (
            {"quant_method": "mxfp4"},
            {"a_blocks": ("U8", bytes_of_4), "a_scales": ("U8", bytes_of_4[..., 0])},
        ),
    ]
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for settings, tensors in checkpoints:
            content = writers.write(Path(folder) / SINGLE_NAME, tensors).read_bytes()
            seeds.append(pair(json.dumps(settings).encode(), content))
    return seeds


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "gguf": gguf_seeds,
    "safetensors": safetensors_seeds,
    "quantised": quantised_seeds,
}


def files_of(data: bytes) -> tuple[bytes, bytes | None]:
    """The one or two files of an input."""
    if data[:1] not in (bytes([PAIR]), bytes([HEADED])):
        return data[1:], None
    split = 3 + int.from_bytes(data[1:3], "little")
    first, second = data[3:split], data[split:]
    if data[0] == HEADED:
        return len(first).to_bytes(8, "little") + first + second, None
    return first, second


def run_gguf(data: bytes, folder: Path) -> None:
    first, second = files_of(data)
    path = folder / "model-00001-of-00002.gguf"
    path.write_bytes(first)
    path_of_second = folder / "model-00002-of-00002.gguf"
    path_of_second.unlink(missing_ok=True)
    if second is not None:
        path_of_second.write_bytes(second)
    must_be_read_or_refused(GGUF, path)


def run_safetensors(data: bytes, folder: Path) -> None:
    first, second = files_of(data)
    if second is None:
        (folder / SINGLE_NAME).write_bytes(first)
        must_be_read_or_refused(Safetensors, folder / SINGLE_NAME)
        (folder / SINGLE_NAME).unlink()
        return
    (folder / INDEX_NAME).write_bytes(first)
    (folder / "shard.safetensors").write_bytes(second)
    must_be_read_or_refused(Safetensors, folder)


def run_quantised(data: bytes, folder: Path) -> None:
    settings, content = files_of(data)
    try:
        section = json.loads(settings)
    except (ValueError, RecursionError):
        return
    (folder / SINGLE_NAME).write_bytes(content or b"")

    def opened(path: Path) -> Container:
        return make_weights(Safetensors(path), {"quantization_config": section}, "config", Loss())

    must_be_read_or_refused(opened, folder / SINGLE_NAME)


RUNNERS: dict[str, Callable[[bytes, Path], None]] = {
    "gguf": run_gguf,
    "safetensors": run_safetensors,
    "quantised": run_quantised,
}


def must_be_read_or_refused(open_file: Callable[[Path], Container], path: Path) -> None:
    """Open, read everything, and let only well-formed errors pass."""
    try:
        with closing(open_file(path)) as container:
            read_everything(container)
    except WaznError as error:
        message = str(error)
        assert message.isprintable() and len(message) < MAX_MESSAGE, message


def read_everything(container: Container) -> None:
    sizes = [path.stat().st_size for path in container.paths]
    for name, tensor in container.tensors.items():
        assert name == tensor.name
        if tensor.offset:  # what is made of several tensors has no place of its own
            assert 0 < tensor.offset <= tensor.offset + tensor.nbytes <= sizes[tensor.file]
        rows = container.read(name)
        assert rows.shape == (tensor.rows, tensor.row_bytes) and rows.nbytes == tensor.nbytes
        assert dequantize(rows, tensor.format).shape == (tensor.rows, tensor.columns)
        try:
            check_scales(rows, tensor.format, name)
        except BadFile as error:
            assert str(error).isprintable()


if __name__ == "__main__":
    if sys.argv[1:2] == [FUZZ]:
        fuzz(*sys.argv[2:])
    sys.exit(main())
