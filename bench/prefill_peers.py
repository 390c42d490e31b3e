"""Prefill beside OpenVINO GenAI and PyTorch, each in a process of its own.

    python -m bench.prefill_peers MODEL.gguf [--against openvino torch] [--repeats 3] [--avx2]

The contenders take turns on the same file and the same 512 random tokens, with one token as the
answer. OpenVINO GenAI reads the file's integers as they are (Q4_0 and Q4_1: 4 bits, Q8_0: 8 bits);
PyTorch computes with the same weights as float32, through transformers. Needs openvino-genai, or
torch, transformers, accelerate and gguf. Prompts differ, as OpenVINO keeps what it has seen.
``--avx2`` shows all contenders a CPU without AVX-512, VNNI and AMX (bench/avx2_only.c).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from wazn.bench.process import ContenderProcess, answer, contender_command, contender_process
from wazn.bench.workload import Prompts, Task
from wazn.cli.console import print_table
from wazn.errors import BadRequest
from wazn.machine import read_cpu
from wazn.weights.gguf import GGUF

TASK = Task("prefill", 1)


class Peer:
    """What the engines here share: they are compared in prefill only."""

    name: str

    def decode(self, prompts: Prompts) -> float:
        """See ``Contender``. Raises BadRequest: their decoding is not measured here."""
        raise BadRequest(
            f"decoding by {self.name} is not measured, prefill is; "
            "wazn bench MODEL --against llama.cpp measures both"
        )

    def work(self) -> dict[str, int]:
        """See ``Contender``: they do not say."""
        return {}


class OpenVino(Peer):
    """OpenVINO GenAI's own pipeline on a GGUF file."""

    name = "openvino"

    def __init__(self, path: Path, threads: int) -> None:
        genai: Any = import_module("openvino_genai")
        self._openvino: Any = import_module("openvino")
        self.version = str(genai.__version__)
        self.vocab_size = vocab_size(path)
        self._inputs = genai.TokenizedInputs
        self._pipeline = genai.LLMPipeline(str(path), "CPU", INFERENCE_NUM_THREADS=threads)
        self._config = genai.GenerationConfig(max_new_tokens=1, do_sample=False)

    def prefill(self, prompts: Prompts) -> float:
        """See ``Contender``."""
        ids = np.array(prompts, dtype=np.int64)
        tensor = self._openvino.Tensor
        inputs = self._inputs(tensor(ids), tensor(np.ones_like(ids)))
        start = time.perf_counter()
        self._pipeline.generate(inputs, self._config)
        return time.perf_counter() - start


class Torch(Peer):
    """transformers' model with the dequantised weights, in float32."""

    name = "torch"

    def __init__(self, path: Path, threads: int) -> None:
        self._torch: Any = import_module("torch")
        transformers: Any = import_module("transformers")
        self._torch.set_num_threads(threads)
        self.version = str(self._torch.__version__)
        self.vocab_size = vocab_size(path)
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            str(path.parent), gguf_file=path.name, dtype=self._torch.float32
        ).eval()

    def prefill(self, prompts: Prompts) -> float:
        """See ``Contender``."""
        ids = self._torch.tensor(prompts)
        start = time.perf_counter()
        with self._torch.inference_mode():
            self._model(ids, logits_to_keep=1, use_cache=True).logits.argmax(-1)
        return time.perf_counter() - start


ENGINES = {engine.name: engine for engine in (OpenVino, Torch)}


def vocab_size(path: Path) -> int:
    """Rows of the embedding table."""
    return GGUF(path).tensors["token_embd.weight"].rows


def show_only_avx2(folder: Path) -> None:
    """Let every process that is started from here on believe that the CPU ends at AVX2."""
    library = folder / "avx2_only.so"
    source = Path(__file__).with_name("avx2_only.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    os.environ["LD_PRELOAD"] = str(library)


def serve(name: str, path: Path, threads: int) -> None:
    """Be the process of one contender."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    answer(lambda: ENGINES[name](path, threads), sys.stdin, replies)


def compare(path: Path, names: list[str], threads: int, repeats: int) -> None:
    """Print the medians of contenders that take turns, and wazn's ratio to each."""
    commands = {"wazn": contender_command("wazn", path, threads)}
    for name in names:
        child = [sys.executable, "-m", "bench.prefill_peers", str(path), "--serve", name]
        commands[name] = [*child, "--threads", str(threads)]
    with ExitStack() as stack:
        contenders: list[ContenderProcess] = [
            stack.enter_context(contender_process(name, command))
            for name, command in commands.items()
        ]
        rates: dict[str, list[float]] = {name: [] for name in commands}
        for repeat in range(-1, repeats):  # the first is a warm-up
            for contender in contenders if repeat % 2 else contenders[::-1]:
                prompts = TASK.prompts(repeat + 1, contender.vocab_size)  # none is repeated
                rates[contender.name].append(TASK.num_tokens / contender.run("prefill", prompts))
        own = rates["wazn"][1:]
        rows = []
        for contender in contenders:
            theirs = rates[contender.name][1:]
            ratio = median(a / b for a, b in zip(own, theirs, strict=True))
            runs = " ".join(f"{rate:.1f}" for rate in theirs)
            label = f"{contender.name} {contender.version}"
            rows.append([label, f"{median(theirs):.1f}", f"{ratio:.2f}", runs])
    print_table(["prefill of 512", "tok/s", "wazn is faster by", "runs"], rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--against", nargs="+", choices=sorted(ENGINES), default=sorted(ENGINES))
    parser.add_argument("--threads", type=int, default=read_cpu().useful_threads)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--avx2", action="store_true")
    parser.add_argument("--serve", choices=sorted(ENGINES), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.model, asked.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        if asked.avx2:
            show_only_avx2(Path(folder))
        compare(asked.model, asked.against, asked.threads, asked.repeats)


if __name__ == "__main__":
    main()
