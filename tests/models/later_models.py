"""The later families in sizes that blocks of 32 divide, in 4 bits: files in Q4_0 or directories."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from numpy.typing import NDArray

from tests.golden import converted, grok_files, later_families, window_families
from tests.golden.build import stack_experts, write_safetensors
from tests.golden.catalogue import Tiny
from tests.golden.tensors import Tensors, draw
from wazn.models.batch import PAGE, Batch
from wazn.models.load import load_model
from wazn.models.model import Model

Floats = NDArray[np.float32]
_T = GGMLQuantizationType

_WIDE: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 160,
    "moe_intermediate_size": 64,
    "shared_expert_intermediate_size": 96,
    "kv_lora_rank": 64,
    "q_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "index_head_dim": 32,
    "index_topk": 160,
}


def wide(tiny: Tiny) -> Tiny:
    """The model with sizes that are multiples of 32, and with a head of its own.

    Calm weights of a tied one would do little but repeat the token.
    """
    wider = {key: size for key, size in _WIDE.items() if tiny.config.get(key) is not None}
    return replace(tiny, config={**tiny.config, **wider, "tie_word_embeddings": False})


def wild(tiny: Tiny) -> Tensors:
    """Weights as the golden files have them."""
    return draw(tiny.config, tiny.seed)


def calm(tiny: Tiny) -> Tensors:
    """Weights of which no layer outshouts the residual, as in trained models.

    Golden weights are wilder, so that every feature shows: there, a choice of experts that falls
    otherwise turns the answer around.
    """
    ends: tuple[str, ...] = (
        "o_proj.weight",
        "down_proj.weight",
        "out_proj.weight",
        "experts.down_proj",
    )
    tensors = wild(tiny)
    if tiny.config["model_type"] in grok_files.TYPES:  # whose norms behind each part calm it
        return tensors
    if tiny.config["model_type"] == "deepseek_v4":
        ends = ("attn.wo_b.weight", ".w2.weight")
    tensors[next(name for name in tensors if "embed" in name)] *= np.float32(4)
    return {n: x / np.float32(6) if n.endswith(ends) else x for n, x in tensors.items()}


MODELS = {
    tiny.name: wide(tiny)
    for tiny in (*later_families.CATALOGUE, *window_families.CATALOGUE)
    if tiny.name != "deepseek_v4"
}


def load_q4(
    tiny: Tiny, folder: Path, spread: Callable[[Tiny], Tensors] = calm, **options: Any
) -> Model:
    """The model in 4 bits: from a GGUF file, or where none states it, rounded when it is loaded."""
    if converted.is_converted(tiny.config) and converted.has_gguf(tiny.config):
        return load_model(write_q4(tiny, folder / "model.gguf", spread(tiny)), **options)
    path = folder / "model"
    if not path.exists():
        write_tensors(tiny.config, spread(tiny), path)
    return load_model(path, weights="q4", **options)


def write_q4(tiny: Tiny, path: Path, weights: Tensors) -> Path:
    """A GGUF file whose matrices are Q4_0 where their rows are whole blocks, without vocabulary."""
    config = tiny.config
    writer = converted.new_writer(config, path)
    tensors = converted.converted(config, stack_experts(weights))
    for name, values in tensors.items():
        is_small = values.ndim < 2 or values.shape[-1] % 32 or "ffn_gate_inp" in name
        is_small |= "indexer.proj" in name or not name.endswith(".weight")
        if is_small:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, quantize(values, _T.Q4_0), raw_dtype=_T.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_directory(config: Mapping[str, Any], seed: int, folder: Path) -> Path:
    """A Hugging Face directory in float32, without a tokenizer."""
    return write_tensors(config, draw(config, seed), folder)


def write_tensors(config: Mapping[str, Any], tensors: Tensors, folder: Path) -> Path:
    """The same with given tensors."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dict(config)))
    write_safetensors(tensors, folder / "model.safetensors", _T.F32)
    return folder


def part(model: Model, ids: list[int], start: int, stop: int, slot: int = 0) -> Floats:
    """Logits of the tokens from ``start`` to ``stop`` of a sequence whose pages are its own."""
    pages = np.arange(-(-len(ids) // PAGE), dtype=np.int32) + 8 * slot
    count = stop - start
    batch = Batch(
        np.array(ids[start:stop], np.int32),
        np.array([0, count], np.int32),
        np.array([start], np.int32),
        pages[None],
        np.arange(count, dtype=np.int32),
        np.array([slot], np.int32),
    )
    return model.forward(batch).copy()


def check_any_arrival(model: Model, sequences: list[list[int]]) -> list[Floats]:
    """Logits of sequences one by one, each as a whole and row by row to the same bits; the same as
    of all of them in steps that mix their slices."""
    mixed = together(model, sequences, np.random.default_rng(1))
    wholes = [part(model, ids, 0, len(ids), slot=7) for ids in sequences]
    for ids, logits, whole in zip(sequences, mixed, wholes, strict=True):
        np.testing.assert_array_equal(logits, whole)
        steps = [part(model, ids, p, p + 1, slot=6) for p in range(len(ids))]
        np.testing.assert_array_equal(np.concatenate(steps), whole)
    return wholes


def together(model: Model, sequences: list[list[int]], rng: np.random.Generator) -> list[Floats]:
    """Logits of several sequences in steps that mix slices of them, in slots of any order."""
    slots = rng.permutation(len(sequences)).astype(np.int32)
    pages = rng.permutation(len(sequences) * 3).astype(np.int32).reshape(-1, 3)
    done = np.zeros(len(sequences), np.int32)
    logits: list[list[Floats]] = [[] for _ in sequences]
    while left := [s for s, ids in enumerate(sequences) if done[s] < len(ids)]:
        running = [s for s in left if rng.random() < 0.7] or left[:1]
        stops = [
            min(int(rng.integers(done[s] + 1, len(sequences[s]) + 1)), int(done[s]) + 60)
            for s in running
        ]
        slices = [sequences[s][done[s] : stop] for s, stop in zip(running, stops, strict=True)]
        starts = np.cumsum([0, *map(len, slices)]).astype(np.int32)
        batch = Batch(
            np.concatenate(slices).astype(np.int32),
            starts,
            done[running],
            pages[running],
            np.arange(starts[-1], dtype=np.int32),
            slots[running],
        )
        result = model.forward(batch)
        for s, start, stop, end in zip(running, starts, starts[1:], stops, strict=False):
            logits[s].append(result[start:stop].copy())
            done[s] = end
    return [np.concatenate(rows) for rows in logits]
