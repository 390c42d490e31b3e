"""Widen a trained Llama to multiples of 256 without changing its answers.

    python -m bench.widened SOURCE.gguf TARGET.gguf [--seed N]

K-quants and IQ4_XS need rows of a multiple of 256 weights, and small trained models do not have
them. A model of random weights (bench/synthetic.py) has them, but not the outlying channels that
training makes, and these are what rounding of activations suffers from. So here a trained model is
widened:

- The residual stream grows to the next multiple of 256. Its new channels are always zero: what
  writes to it (embedding, attention output, down projection) has zero rows or columns there. What
  reads from it may then hold anything in those columns, and holds values drawn from the same row:
  the weights keep their trained spread in every block. Real and new channels are shuffled.
- Root mean squares over more channels are smaller by sqrt(old / new); the norms' weights and
  epsilon make up for it.
- Whole groups of heads are added until their widths fit. Their queries and keys are copies of
  other heads' rows; their values are zero, so what the output projection does with them is free.
- The feed-forward width grows by units whose up projection is zero.

The file is float16, with embedding and head as two tensors, ready to be quantised. Its logits
equal the source's up to rounding. Needs gguf (pip install 'wazn[bench]').
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.vocabulary import copy_vocabulary
from wazn.weights.formats import dequantize
from wazn.weights.gguf import GGUF

BLOCK = 256
Floats = NDArray[np.float32]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Axis:
    """One kind of width: how wide it gets, and where the old indices go, in order."""

    size: int
    places: Places

    @property
    def is_wider(self) -> bool:
        return self.size > len(self.places)


def kept(size: int) -> Axis:
    """An axis that stays as it is."""
    return Axis(size, np.arange(size))


def rounded_up(size: int) -> int:
    """The next multiple of the block."""
    return -(-size // BLOCK) * BLOCK


def widen_columns(matrix: Floats, axis: Axis, random: np.random.Generator) -> Floats:
    """(rows, old) → (rows, new): new columns hold values drawn from the same row."""
    drawn = random.integers(0, matrix.shape[1], (matrix.shape[0], axis.size))
    wide = np.take_along_axis(matrix, drawn, axis=1)
    wide[:, axis.places] = matrix
    return wide


def zero_columns(matrix: Floats, axis: Axis) -> Floats:
    """(rows, old) → (rows, new): new columns are zero."""
    wide = np.zeros((matrix.shape[0], axis.size), np.float32)
    wide[:, axis.places] = matrix
    return wide


def zero_rows(matrix: Floats, axis: Axis) -> Floats:
    """(old, columns) → (new, columns): new rows are zero."""
    return np.ascontiguousarray(zero_columns(matrix.T, axis).T)


def copy_rows(matrix: Floats, axis: Axis, random: np.random.Generator) -> Floats:
    """(old, columns) → (new, columns): new rows are copies of old ones."""
    wide: Floats = matrix[random.integers(0, matrix.shape[0], axis.size)]
    wide[axis.places] = matrix
    return wide


@dataclass(frozen=True, slots=True)
class Widths:
    """The axes of a Llama."""

    residual: Axis
    queries: Axis
    keys: Axis
    hidden: Axis

    @staticmethod
    def choose(metadata: dict[str, Any], random: np.random.Generator) -> Widths:
        """The next fitting widths of the model that ``metadata`` describes."""
        width, heads = metadata["embedding_length"], metadata["attention.head_count"]
        kv_heads, hidden = metadata["attention.head_count_kv"], metadata["feed_forward_length"]
        head_dim = width // heads
        new_width = rounded_up(width)
        groups = kv_heads
        while groups * (heads // kv_heads) * head_dim % BLOCK:
            groups += 1
        new_hidden = rounded_up(hidden)
        return Widths(
            residual=Axis(new_width, random.permutation(new_width)[:width]),
            queries=Axis(groups * (heads // kv_heads) * head_dim, np.arange(width)),
            keys=Axis(groups * head_dim, np.arange(kv_heads * head_dim)),
            hidden=Axis(new_hidden, random.permutation(new_hidden)[:hidden]),
        )

    def widen(self, kind: str, tensor: Floats, random: np.random.Generator) -> Floats:
        """The wider tensor; ``kind`` is its GGUF name without layer and suffix."""
        residual, queries, keys, hidden = self.residual, self.queries, self.keys, self.hidden
        if kind == "rope_freqs":
            return tensor
        if kind.endswith("_norm"):
            shrunk = math.sqrt(len(residual.places) / residual.size)
            row: Floats = widen_columns(tensor[None] * np.float32(shrunk), residual, random)[0]
            return row
        if kind == "token_embd":
            return zero_columns(tensor, residual)
        if kind in ("attn_output", "ffn_down"):
            columns = queries if kind == "attn_output" else hidden
            return zero_rows(widen_columns(tensor, columns, random), residual)
        wide = widen_columns(tensor, residual, random)
        if kind == "attn_v":
            return zero_rows(wide, keys)
        if kind == "ffn_up":
            return zero_rows(wide, hidden)
        rows = {"attn_q": queries, "attn_k": keys, "ffn_gate": hidden, "output": kept(len(wide))}
        return copy_rows(wide, rows[kind], random)


def widen_model(source: Path, target: Path, seed: int = 0) -> None:
    """Write the widened float16 model; ValueError if the source is not a Llama."""
    random = np.random.default_rng(seed)
    with GGUF(source) as container:
        prefix = "llama."
        if container.metadata["general.architecture"] != "llama":
            raise ValueError(f"{source.name} is not a Llama.")
        facts = {
            name.removeprefix(prefix): value
            for name, value in container.metadata.items()
            if name.startswith(prefix)
        }
        widths = Widths.choose(facts, random)
        writer = _open_writer(target, container, facts, widths)
        names = list(container.tensors)
        if "output.weight" not in names:
            names.append("output.weight")
        for name in names:
            kind = name.removesuffix(".weight").rpartition(".")[2]
            stored = name if name in container.tensors else "token_embd.weight"
            wide = widths.widen(kind, _read(container, stored), random)
            writer.add_tensor(name, wide if wide.ndim == 1 else wide.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read(container: GGUF, name: str) -> Floats:
    info = container.tensors[name]
    values: Floats = dequantize(container.read(name), info.format).reshape(info.shape)
    return values


def _open_writer(target: Path, container: GGUF, facts: dict[str, Any], widths: Widths) -> Any:
    """A writer that holds the metadata: the source's vocabulary, the new widths."""
    from gguf import GGUFWriter

    writer = GGUFWriter(target, "llama", use_temp_file=True)
    head_dim = facts["embedding_length"] // facts["attention.head_count"]
    eps = facts["attention.layer_norm_rms_epsilon"]
    writer.add_block_count(facts["block_count"])
    writer.add_context_length(facts["context_length"])
    writer.add_embedding_length(widths.residual.size)
    writer.add_feed_forward_length(widths.hidden.size)
    writer.add_head_count(widths.queries.size // head_dim)
    writer.add_head_count_kv(widths.keys.size // head_dim)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(facts["rope.freq_base"])
    writer.add_layer_norm_rms_eps(eps * len(widths.residual.places) / widths.residual.size)
    writer.add_vocab_size(facts["vocab_size"])
    writer.add_file_type(1)
    copy_vocabulary(container, writer)
    return writer


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    widen_model(asked.source, asked.target, asked.seed)


if __name__ == "__main__":
    main()
