"""Grok against an independent reference in NumPy, float64, as transformers does not have it.

A case is a function of (seed, number), as in ``test_random_models``: sizes that divide nothing,
caps and temperatures that are there or not, both kinds of names, and files in GGUF.
"""

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from gguf import GGMLQuantizationType

from tests.golden.build import write_gguf, write_safetensors
from tests.golden.grok_reference import GrokReference
from tests.golden.tensors import draw
from tests.golden.weights import token_ids
from tests.parity.test_later_families import relative_error
from wazn import LLM

SEED = int(os.environ.get("WAZN_PARITY_SEED", "1"))
CASES = int(os.environ.get("WAZN_PARITY_CASES", "12"))
NUM_TOKENS = 150
TOLERANCE = 1e-4  # relative to the largest logit of a row


def draw_config(random: Random, kind: str) -> dict[str, Any]:
    """A configuration that either model's files could have, only tiny."""
    kv_heads, count = random.choice((1, 2, 3)), random.randint(2, 12)
    config: dict[str, Any] = {
        "model_type": kind,
        "architectures": ["Grok1ForCausalLM"],
        "vocab_size": random.randint(40, 400),
        "hidden_size": 8 * random.randint(4, 16),
        "intermediate_size": 8 * random.randint(2, 20),
        "num_hidden_layers": random.randint(1, 3),
        "num_key_value_heads": kv_heads,
        "num_attention_heads": kv_heads * random.choice((1, 2, 3)),
        "head_dim": random.choice((16, 32, 80)),
        "max_position_embeddings": 256,
        "rms_norm_eps": random.choice((1e-6, 1e-5)),
        "rope_theta": random.choice((1e4, 208533496)),
        "tie_word_embeddings": random.random() < 0.5,
        "num_local_experts": count,
        "num_experts_per_tok": random.randint(1, min(count, 3)),
        "embedding_multiplier_scale": random.choice((1.0, 9.5)),
        "output_multiplier_scale": random.choice((0.5773502691896257, 0.5)),
        "attn_logit_softcapping": random.choice((1.0, 5.0, 30.0)),
    }
    if kind == "grok-1":
        return config | {"attn_output_multiplier": random.choice((0.1, 0.3))}
    return config | {
        "moe_intermediate_size": 8 * random.randint(1, 9),
        "residual_moe": random.random() < 0.7,
        "router_logit_softcapping": random.choice((0.7, 30.0)),
        "final_logit_softcapping": random.choice((3.0, 50.0)),
        "attn_temperature_len": random.choice((-1, 8, 20, 128)),
        "rope_type": "original",
        "scaling_factor": 16.0,
        "original_max_position_embeddings": 32,
    }


@pytest.mark.parametrize("case", range(CASES))
@pytest.mark.parametrize("kind", ["grok-1", "git"])
def test_logits_are_those_of_the_reference(kind: str, case: int, tmp_path: Path) -> None:
    seed = SEED * 10**6 + case
    config = draw_config(Random(f"{kind}/{seed}"), kind)
    print(config)
    tensors = draw(config, seed)
    ids = token_ids(f"{kind}/{seed}", NUM_TOKENS, config["vocab_size"])
    expected = GrokReference(config, tensors).logits(ids)
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_safetensors(tensors, tmp_path / "model.safetensors", GGMLQuantizationType.F32)
    gguf = {**config, "attn_temperature_len": max(0, config.get("attn_temperature_len", 0))}
    write_gguf(gguf, tensors, tmp_path / "model.gguf")
    for path in (tmp_path, tmp_path / "model.gguf"):
        with LLM(path, precision="exact") as llm:
            error = relative_error(llm.logits(ids), expected)
        print(f"largest relative difference {error:.2e}")
        assert error < TOLERANCE
