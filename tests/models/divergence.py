"""How far the fast path is from the exact one in 4 bits, family by family.

    python -m tests.models.divergence [FAMILY …]

Mean KL divergence in nat over the positions of three random sequences, for weights as calm as those
of trained models (``later_models.calm``) and for the wild ones of the golden files, where a choice
of experts or positions that falls otherwise turns the answer around.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.golden import later_families, window_families
from tests.golden.catalogue import CATALOGUE
from tests.models.later_models import Floats, calm, load_q4, part, wide, wild
from wazn.models.model import Model

EVERY = {
    tiny.name: wide(tiny)
    for catalogue in (CATALOGUE, later_families.CATALOGUE, window_families.CATALOGUE)
    for tiny in catalogue
    if not tiny.name.startswith("llama_")  # Llama once more
}
EVERY["deepseek_v32_choosy"] = replace(
    EVERY["deepseek_v32"], config={**EVERY["deepseek_v32"].config, "index_topk": 24}
)
NUM_TOKENS = 170
VOCAB = 311


def tokens(seed: int, length: int) -> list[int]:
    """Random ids of the tiny vocabularies."""
    ids: list[int] = np.random.default_rng(seed).integers(0, VOCAB, length).tolist()
    return ids


def log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def mean_divergence(exact: Model, fast: Model) -> float:
    """KL(exact || fast) in nat, the mean over all positions of three sequences."""
    found = []
    for seed in range(1, 4):
        ids = tokens(seed, NUM_TOKENS)
        p, q = (log_softmax(part(model, ids, 0, NUM_TOKENS)) for model in (exact, fast))
        found.append((np.exp(p) * (p - q)).sum(axis=1))
    return float(np.mean(found))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("families", nargs="*", metavar="FAMILY", default=list(EVERY))
    print("| model | calm weights | golden weights |\n|---|---|---|")
    for name in parser.parse_args().families:
        row = []
        for spread in (calm, wild):
            with tempfile.TemporaryDirectory() as folder:
                found = [
                    load_q4(EVERY[name], Path(folder), spread, precision=precision, threads=1)
                    for precision in ("exact", "fast")
                ]
                for model in found:
                    model.open_cache(64, 8)
                row.append(f"{mean_divergence(*found):.4f}")
        print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
