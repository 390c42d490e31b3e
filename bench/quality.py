"""How far the fast arithmetic of wazn, and that of llama.cpp, lie from exact arithmetic.

    python -m bench.quality smollm2 --requantize Q4_0 Q8_0
    python -m bench.quality smollm2 --synthetic --requantize Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS

The reference is wazn with precision="exact" on the same file: float32 arithmetic on the weights as
the file has them. So only the arithmetic is compared, not what quantising did to the weights.
The texts are bench/corpus, cut into windows of 512 tokens. llama.cpp runs as it comes: float16 KV
cache, flash attention as it decides. K-quants need widths of a multiple of 256: --synthetic
measures requantised files of a random Llama that has them (bench/synthetic.py), --widened those of
the model itself, widened (bench/widened.py); in both every matrix is of the one type.
The exit status is 1 if a bound is missed. Needs llama-cpp-python and gguf ('wazn[bench]').
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from bench.requantize import requantize
from bench.synthetic import synthesize
from bench.widened import widen_model
from wazn import LLM
from wazn.bench.divergence import Summary, Window, score_window, summarize
from wazn.bench.llama_cpp import LlamaCpp
from wazn.cli.console import print_note, print_table
from wazn.machine import read_cpu
from wazn.models.load import Kv
from wazn.weights.gguf import GGUF
from wazn.weights.store import Store

CORPUS = Path(__file__).parent / "corpus"
WINDOW = 512
MAX_DIVERGENCE = 0.01  # nat per token
MIN_AGREEMENT = 0.96
MAX_RATIO = 1.2  # our divergence over llama.cpp's
CONTENDERS = ("wazn", "llama.cpp")
MAKERS = {"synthetic": synthesize, "widened": widen_model}
HEADER = [
    *("file", "tokens", "entropy", "exact ppl"),
    *("wazn KL [95%]", "top-1", "ppl", "llama.cpp KL [95%]", "top-1", "ppl"),
    *("KL ratio", "bounds", "tensors"),
]


def windows(
    encode: Callable[[str], Sequence[int]], limit: int | None
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """The corpus in windows of one text each: its name, token ids; ``limit`` tokens at most."""
    left = math.inf if limit is None else limit
    for path in sorted(CORPUS.glob("*.txt")):
        ids = np.array(encode(path.read_text(encoding="utf-8")))
        for start in range(0, len(ids), WINDOW):
            window = ids[start : start + int(min(WINDOW, left))]
            left -= len(window)
            if len(window):
                yield path.stem, window


def score(path: Path, threads: int, limit: int | None, kv: Kv) -> dict[str, list[Window]]:
    """Score every window of the corpus on one file, by text; the three engines take turns."""
    scored: dict[str, list[Window]] = {}
    with (
        closing(LlamaCpp(path, threads)) as peer,
        LLM(path, threads=threads, kv=kv) as fast,
        LLM(path, threads=threads, precision="exact") as exact,
    ):
        for text, ids in windows(exact.tokenizer.encode, limit):
            others = {"wazn": fast.logits(ids.tolist()), "llama.cpp": peer.logits(ids)}
            window = score_window(ids, exact.logits(ids.tolist()), others)
            scored.setdefault(text, []).append(window)
            print_note(f"{path.name}: {text}, {len(scored[text])} windows")
    return scored


def tensor_types(path: Path) -> dict[str, int]:
    """How many tensors of each number format the file has."""
    with GGUF(path) as container:
        counts = Counter(info.format.name for info in container.tensors.values())
    return dict(counts.most_common())


def measure(path: Path, threads: int, limit: int | None, kv: Kv) -> dict[str, Any]:
    """The figures of one file."""
    by_text = score(path, threads, limit, kv)
    whole = compare([window for windows in by_text.values() for window in windows])
    return {
        "file": path.name,
        "tensors": tensor_types(path),
        **whole,
        "missed": missed_bounds(whole),
        "texts": {text: compare(windows) for text, windows in by_text.items()},
    }


def compare(scored: list[Window]) -> dict[str, Any]:
    """Both contenders against the reference over some windows."""
    num_tokens = sum(window.num_tokens for window in scored)
    loss = sum(window.loss for window in scored)
    found = {name: _as_object(summarize(scored, name)) for name in CONTENDERS}
    return {
        "tokens": num_tokens,
        "entropy": sum(window.entropy for window in scored) / num_tokens,
        "exact_perplexity": math.exp(loss / (num_tokens - len(scored))),
        **found,
        "divergence_ratio": found["wazn"]["divergence"] / found["llama.cpp"]["divergence"],
    }


def missed_bounds(found: dict[str, Any]) -> list[str]:
    """The bounds that a file misses, as they are printed."""
    ours = found["wazn"]
    bounds = {
        f"KL <= {MAX_DIVERGENCE}": ours["divergence"] <= MAX_DIVERGENCE,
        f"top-1 >= {MIN_AGREEMENT:.0%}": ours["top_1_agreement"] >= MIN_AGREEMENT,
        f"KL ratio <= {MAX_RATIO}": found["divergence_ratio"] <= MAX_RATIO,
    }
    return [bound for bound, is_met in bounds.items() if not is_met]


def _as_object(summary: Summary) -> dict[str, Any]:
    return {
        "divergence": summary.divergence,
        "divergence_95": list(summary.interval),
        "top_1_agreement": summary.agreement,
        "perplexity": summary.perplexity,
    }


def rows(result: dict[str, Any]) -> Iterator[list[str]]:
    """The table's rows for one file: all texts together, then each text."""
    missed = ", ".join(result["missed"])
    tensors = " ".join(f"{count}x{name}" for name, count in result["tensors"].items())
    yield [result["file"], *_cells(result), f"missed: {missed}" if missed else "met", tensors]
    for text, found in result["texts"].items():
        yield [f"- {text}", *_cells(found), "", ""]


def _cells(found: dict[str, Any]) -> Iterator[str]:
    yield str(found["tokens"])
    yield f"{found['entropy']:.2f}"
    yield f"{found['exact_perplexity']:.5g}"
    for name in CONTENDERS:
        ours = found[name]
        low, high = ours["divergence_95"]
        yield f"{ours['divergence']:.5f} [{low:.5f}, {high:.5f}]"
        yield f"{ours['top_1_agreement']:.2%}"
        yield f"{ours['perplexity']:.5g}"
    yield f"{found['divergence_ratio']:.2f}"


def files(asked: argparse.Namespace, folder: Path) -> Iterator[Path]:
    """The files to measure, made one after another; a requantised one is deleted after its turn."""
    source = Store().get(asked.model).path
    stem = source.stem
    if asked.made is None:
        yield source
    else:
        stem = asked.made if asked.made == "synthetic" else f"{stem}-{asked.made}"
        made = folder / f"{stem}.gguf"
        MAKERS[asked.made](source, made)
        source = made
    for kind in asked.requantize:
        target = folder / f"{stem}-{kind}.gguf"
        requantize(source, target, kind, pure=asked.made is not None)
        yield target
        target.unlink()


def parse(args: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a model reference or path of a GGUF file")
    parser.add_argument("--requantize", nargs="+", default=[], metavar="TYPE")
    made = parser.add_mutually_exclusive_group()
    for name in MAKERS:
        made.add_argument(f"--{name}", dest="made", action="store_const", const=name)
    parser.add_argument("--threads", type=int, default=read_cpu().useful_threads)
    parser.add_argument("--kv", choices=get_args(Kv), default="auto", help="of wazn's fast engine")
    parser.add_argument("--tokens", type=int, help="stop after so many; for trying things out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(args)


def main() -> int:
    """Measure, print, and say by the status whether all bounds were met."""
    asked = parse()
    with tempfile.TemporaryDirectory() as name:
        os.environ["WAZN_CACHE"] = name  # packed weights of files that are about to go
        results = [
            measure(path, asked.threads, asked.tokens, asked.kv)
            for path in files(asked, Path(name))
        ]
    print_table(HEADER, [row for result in results for row in rows(result)])
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 1 if any(result["missed"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
