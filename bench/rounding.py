"""What rounding weights to 8 or 4 bits on loading does to the answers.

    python -m bench.rounding smollm2 --widened
    python -m bench.rounding hf:org/model --windows 2

Compares --weights q8 and q4 with native, all with precision="exact", so that only the weights
differ: divergence of next-token distributions and agreement on bench/corpus, and the relative
error of the weights. --widened rounds the model's weights in an order and among neighbours they
were never quantised with (bench/widened.py): without it, 4 bits would cost a file that already has
4 bits nothing. Needs gguf ('wazn[bench]') for that.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.quality import windows
from bench.widened import widen_model
from wazn import LLM
from wazn.bench.divergence import Window, score_window, summarize
from wazn.cli.console import print_note, print_table
from wazn.machine import read_cpu
from wazn.models.load import load_model
from wazn.weights.choice import Weights
from wazn.weights.store import Store

CHOICES: tuple[Weights, ...] = ("q8", "q4")
HEADER = ("weights", "tokens", "relative error of the weights", "KL [95%]", "top-1", "ppl")


def measure(path: Path, threads: int, limit: int | None) -> list[dict[str, Any]]:
    """The figures of each choice, native first, which is the reference.

    ``limit``: windows of each text, None is all.
    """
    with ExitStack() as stack:
        opened = {
            weights: load_model(path, threads=threads, precision="exact", weights=weights)
            for weights in ("native", *CHOICES)
        }
        errors = {
            weights: model.weights.loss.relative_errors() for weights, model in opened.items()
        }
        models = {weights: stack.enter_context(LLM(model)) for weights, model in opened.items()}
        native = models["native"]
        scored: list[Window] = []
        taken: Counter[str] = Counter()
        for text, ids in windows(native.tokenizer.encode, None):
            if limit is not None and taken[text] >= limit:
                continue
            taken[text] += 1
            others = {str(weights): models[weights].logits(ids.tolist()) for weights in models}
            scored.append(score_window(ids, others["native"], others))
            print_note(f"{text}: {taken[text]} windows")
    found = []
    for weights, error in errors.items():
        summary = summarize(scored, weights)
        found.append(
            {
                "weights": weights,
                "tokens": sum(window.num_tokens for window in scored),
                "relative_errors": error,
                "divergence": summary.divergence,
                "divergence_95": list(summary.interval),
                "top_1_agreement": summary.agreement,
                "perplexity": summary.perplexity,
            }
        )
    return found


def rows(found: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The table's rows."""
    for figures in found:
        low, high = figures["divergence_95"]
        errors = figures["relative_errors"].items()
        yield (
            figures["weights"],
            str(figures["tokens"]),
            ", ".join(f"{format} {error:.2%}" for format, error in errors) or "-",
            f"{figures['divergence']:.5f} [{low:.5f}, {high:.5f}]",
            f"{figures['top_1_agreement']:.2%}",
            f"{figures['perplexity']:.5g}",
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a model reference or path")
    parser.add_argument("--widened", action="store_true", help="widen it first; see above")
    parser.add_argument("--threads", type=int, default=read_cpu().useful_threads)
    parser.add_argument("--windows", type=int, help="of 512 tokens of each text; else all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["WAZN_CACHE"] = name  # packed weights that nobody will want again
        path = Store().get(asked.model).path
        if asked.widened:
            path, source = Path(name) / "widened.gguf", path
            widen_model(source, path)
        found = measure(path, asked.threads, asked.windows)
    print_table(HEADER, list(rows(found)))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
