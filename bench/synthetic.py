"""A small Llama of random weights whose widths are multiples of 256, as K-quants and IQ4_XS need.

    python -m bench.synthetic TARGET.gguf --vocabulary SOURCE.gguf [--seed N]

Quality on it means something only as far as it resembles a trained model, so:

- Weights are Student-t with 5 degrees of freedom, scaled by lognormal factors per row and column
  and by 1 / sqrt(fan-in): trained matrices have heavier tails than a Gaussian, and rows and columns
  of unequal size, which is what decides how well blocks of weights share a scale.
- Embeddings have entries of about 1, so that a block's writes (scaled by 1 / sqrt(2 layers)) add
  to the residual stream instead of drowning it; norm weights are lognormal too.
- Queries are twice as large as that, so that attention has preferences.
- The head is scaled so that the entropy of the next token is about 2.5 nat on bench/corpus, which
  is what SmolLM2 has there. A larger scale makes distributions sharper and divergences larger,
  by the square; bench/quality.py prints the entropy that came out.

What it lacks are the outlying channels of trained models; bench/widened.py has those. The file is
float16, ready to be quantised, with the vocabulary of SOURCE, so that texts apply. Needs gguf.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.vocabulary import copy_vocabulary
from wazn.weights.gguf import GGUF

LAYERS, WIDTH, HIDDEN, HEADS, KV_HEADS = 4, 512, 1536, 8, 2
HEAD_DIM = WIDTH // HEADS
KV_WIDTH = KV_HEADS * HEAD_DIM
DEGREES_OF_FREEDOM = 5
SPREAD = 0.3  # standard deviation of the logarithm of row, column and norm factors
LOGIT_DEVIATION = 2.15

Floats = NDArray[np.float32]


def matrix(random: np.random.Generator, rows: int, columns: int, scale: float = 1.0) -> Floats:
    """(rows, columns) that maps inputs of variance 1 to outputs of variance ``scale``²."""
    values = random.standard_t(DEGREES_OF_FREEDOM, (rows, columns))
    values *= random.lognormal(0, SPREAD, (rows, 1)) * random.lognormal(0, SPREAD, columns)
    values *= scale / math.sqrt(columns * np.square(values).mean())
    return values.astype(np.float32)


def norm(random: np.random.Generator) -> Floats:
    """The weights of a norm, (width,)."""
    return random.lognormal(0, SPREAD, WIDTH).astype(np.float32)


def tensors(vocab_size: int, random: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """Every tensor of the model under its GGUF name."""
    written = 1 / math.sqrt(2 * LAYERS)
    yield "token_embd.weight", matrix(random, vocab_size, WIDTH, math.sqrt(WIDTH))
    yield "output_norm.weight", norm(random)
    yield "output.weight", matrix(random, vocab_size, WIDTH, LOGIT_DEVIATION)
    for layer in range(LAYERS):
        prefix = f"blk.{layer}."
        yield f"{prefix}attn_norm.weight", norm(random)
        yield f"{prefix}attn_q.weight", matrix(random, WIDTH, WIDTH, 2.0)
        yield f"{prefix}attn_k.weight", matrix(random, KV_WIDTH, WIDTH)
        yield f"{prefix}attn_v.weight", matrix(random, KV_WIDTH, WIDTH)
        yield f"{prefix}attn_output.weight", matrix(random, WIDTH, WIDTH, written)
        yield f"{prefix}ffn_norm.weight", norm(random)
        yield f"{prefix}ffn_gate.weight", matrix(random, HIDDEN, WIDTH)
        yield f"{prefix}ffn_up.weight", matrix(random, HIDDEN, WIDTH)
        yield f"{prefix}ffn_down.weight", matrix(random, WIDTH, HIDDEN, written)


def synthesize(vocabulary: Path, target: Path, seed: int = 0) -> None:
    """Write the model with the vocabulary of the GGUF file ``vocabulary``."""
    from gguf import GGUFWriter

    writer = GGUFWriter(target, "llama", use_temp_file=True)
    writer.add_block_count(LAYERS)
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(1)
    with GGUF(vocabulary) as source:
        vocab_size = source.tensors["token_embd.weight"].shape[0]
        copy_vocabulary(source, writer)
    writer.add_vocab_size(vocab_size)
    for name, values in tensors(vocab_size, np.random.default_rng(seed)):
        writer.add_tensor(name, values if values.ndim == 1 else values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", type=Path)
    parser.add_argument("--vocabulary", type=Path, required=True, metavar="SOURCE")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    synthesize(asked.vocabulary, asked.target, asked.seed)


if __name__ == "__main__":
    main()
