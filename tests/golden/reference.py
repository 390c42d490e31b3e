"""The independent implementation: transformers in float32 (needs torch and transformers).

Reads a model's files by its own means: a directory through ``from_pretrained``, a GGUF file through
the ``gguf`` package's reader and dequantisation, with the llama row permutation undone.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import transformers
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray

from tests.golden import grok_files
from tests.golden.build import name_in_gguf, stack_experts
from tests.golden.grok_reference import GrokReference, read_grok
from tests.golden.tensors import Tensors

# Without torch installed these have no types; with it, they have few.
AutoConfig: Any = transformers.AutoConfig
AutoModelForCausalLM: Any = transformers.AutoModelForCausalLM
Model: TypeAlias = Any


def from_directory(folder: Path) -> Model:
    """The model of a Hugging Face directory, its weights widened to float32.

    Of Grok, which transformers does not have, that of ``grok_reference``.
    """
    if json.loads((folder / "config.json").read_text())["model_type"] in grok_files.TYPES:
        return read_grok(folder)
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def from_gguf(path: Path, config: Mapping[str, Any]) -> Model:
    """The model of a GGUF file with the given configuration, its weights dequantised."""
    settings = {key: value for key, value in config.items() if key != "torch_dtype"}
    kind = settings.pop("model_type")
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, **settings), attn_implementation="eager"
    )
    tensors = {
        tensor.name: dequantize(tensor.data, tensor.tensor_type)
        for tensor in GGUFReader(path).tensors
    }
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    state = {}
    for name in model.state_dict():
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        if name.endswith("experts.gate_up_proj"):
            stem = name.removesuffix("gate_up_proj")
            halves = [
                tensors[name_in_gguf(config, f"{stem}{half}_proj.weight")]
                for half in ("gate", "up")
            ]
            values = np.concatenate(halves, axis=1)
        elif name.endswith("experts.down_proj"):
            values = tensors[name_in_gguf(config, f"{name}.weight")]
        else:
            values = tensors[name_in_gguf(config, name)]
        if name.endswith("shared_expert_gate.weight"):
            values = values.reshape(1, -1)
        module = name.split(".")[-2]
        if kind in ("llama", "mistral") and module in heads:
            values = half_split(values, heads[module])
        state[name] = torch.from_numpy(np.array(values, np.float32))
    model.load_state_dict(state, strict=False, assign=True)
    model.tie_weights()
    return model.eval()


def module_state(tensors: Tensors) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors as transformers keeps them: experts stacked, gate above up."""
    state = {}
    for name, values in stack_experts(tensors).items():
        if name.endswith("experts.up_proj.weight"):
            continue
        if name.endswith("experts.gate_proj.weight"):
            up = stack_experts(tensors)[name.replace("gate_proj", "up_proj")]
            values = np.concatenate([values, up], axis=1)
            name = name.replace("gate_proj.weight", "gate_up_proj")
        elif name.endswith("experts.down_proj.weight"):
            name = name.removesuffix(".weight")
        state[name] = torch.from_numpy(values)
    return state


def half_split(values: NDArray[np.float32], num_heads: int) -> NDArray[np.float32]:
    """Rows from pairs side by side back to half-split rope order, head by head."""
    pairs = values.reshape(num_heads, -1, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def logits(model: Model, token_ids: Sequence[int]) -> NDArray[np.float32]:
    """Logits of one pass over the whole sequence (tokens, vocabulary)."""
    if isinstance(model, GrokReference):
        return model.logits(token_ids).astype(np.float32)
    with torch.inference_mode():
        found = model(torch.tensor([list(token_ids)]), use_cache=False).logits[0]
    values: NDArray[np.float32] = found.float().numpy()
    return values


def greedy(model: Model, token_ids: Sequence[int], count: int) -> tuple[list[int], float]:
    """The ``count`` likeliest next tokens one by one, and the narrowest lead of a winner."""
    continuation: list[int] = []
    narrowest = float("inf")
    while isinstance(model, GrokReference) and len(continuation) < count:
        last = model.logits([*token_ids, *continuation])[-1]
        second, best = np.argsort(last)[-2:]
        narrowest = min(narrowest, float(last[best] - last[second]))
        continuation.append(int(best))
    if continuation:
        return continuation, narrowest
    inputs, cache = torch.tensor([list(token_ids)]), None
    with torch.inference_mode():
        while len(continuation) < count:
            output = model(inputs, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            best = output.logits[0, -1].topk(2)
            narrowest = min(narrowest, float(best.values[0] - best.values[1]))
            continuation.append(int(best.indices[0]))
            inputs = best.indices[:1].reshape(1, 1)
    return continuation, narrowest
