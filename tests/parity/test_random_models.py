"""Random tiny configurations of every family, saved by transformers and read by wazn.

A case is a function of (seed, number): its name in a failure is all that is needed to repeat it.
``WAZN_PARITY_SEED`` and ``WAZN_PARITY_CASES`` choose others, or more.
"""

import os
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import transformers

from tests.golden import reference
from tests.golden.build import write_gguf
from tests.golden.tensors import draw
from tests.golden.weights import token_ids
from wazn import LLM

SEED = int(os.environ.get("WAZN_PARITY_SEED", "1"))
CASES = int(os.environ.get("WAZN_PARITY_CASES", "12"))
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "seed_oss")
CONTEXT = 256
NUM_TOKENS = 150
TOLERANCE = 1e-4  # relative to the largest logit of a row


def draw_config(random: Random, family: str) -> dict[str, Any]:
    """A configuration that the family's published checkpoints could have, only tiny."""
    num_kv_heads = random.choice((1, 2, 3, 4))
    num_heads = num_kv_heads * random.choice((1, 2, 3, 4, 7))
    head_dim = random.choice((16, 32, 64, 80, 96, 128))
    config: dict[str, Any] = {
        "model_type": family,
        "vocab_size": random.randint(40, 400),
        "hidden_size": num_heads * head_dim,
        "intermediate_size": 32 * random.randint(1, 9),
        "num_hidden_layers": random.randint(1, 3),
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": random.choice((1e-6, 1e-5, 1e-3)),
        "tie_word_embeddings": random.random() < 0.5,
        "rope_parameters": draw_rope(random, family),
    }
    if family in ("qwen3", "qwen3_moe") or (family == "mistral" and random.random() < 0.5):
        config["head_dim"] = head_dim
        config["hidden_size"] = 32 * random.randint(1, 8)
    if family.endswith("_moe"):
        config |= draw_experts(random)
    if family == "qwen2_moe":
        config["shared_expert_intermediate_size"] = 8 * random.randint(1, 20)
    if family == "seed_oss":
        config |= {"attention_bias": True, "attention_out_bias": random.random() < 0.3}
        config |= {"mlp_bias": random.random() < 0.3, "head_dim": head_dim}
        config["hidden_size"] = 8 * random.randint(2, 30)
    config |= draw_window(random, config)
    if family == "llama":
        config["attention_bias"] = random.random() < 0.25
        config["mlp_bias"] = random.random() < 0.25
    return config


def draw_window(random: Random, config: dict[str, Any]) -> dict[str, Any]:
    """Often none; else of some layers, in each of the ways in which a family says so."""
    family, layers = config["model_type"], config["num_hidden_layers"]
    if family == "mistral":
        return {"sliding_window": random.choice((None, 1, 9, 64, 100))}
    if not family.startswith("qwen") or random.random() < 0.5:
        return {}
    window: dict[str, Any] = {
        "use_sliding_window": True,
        "sliding_window": random.choice((1, 17, 63, 64, 90)),
        "max_window_layers": random.randint(0, layers),
    }
    if family != "qwen3_moe" and random.random() < 0.3:
        kinds = "sliding_attention", "full_attention"
        window["layer_types"] = [random.choice(kinds) for _ in range(layers)]
    return window


def draw_experts(random: Random) -> dict[str, Any]:
    """From one expert to more than a panel of them, of widths with and without tails."""
    count = random.randint(1, 20)
    return {
        "num_experts": count,
        "num_experts_per_tok": random.randint(1, min(count, 8)),
        "moe_intermediate_size": 8 * random.randint(1, 16),
        "norm_topk_prob": random.random() < 0.5,
    }


def draw_rope(random: Random, family: str) -> dict[str, Any]:
    """Rope parameters in transformers 5's spelling: plain, linear, yarn, or llama3 for Llama."""
    kinds = ["default", "linear", "yarn", *(["llama3"] if family == "llama" else [])]
    rope: dict[str, Any] = {
        "rope_type": random.choice(kinds),
        "rope_theta": random.choice((1e4, 5e5, 1e6)),
    }
    if rope["rope_type"] != "default":
        rope["factor"] = random.choice((2.0, 4.0, 8.0))
    if rope["rope_type"] in ("llama3", "yarn"):
        rope["original_max_position_embeddings"] = int(CONTEXT / rope["factor"])
    if rope["rope_type"] == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": random.choice((2.0, 4.0))}
    if rope["rope_type"] == "yarn" and random.random() < 0.5:
        rope |= {"beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.25}
    return rope


def reference_model(config: dict[str, Any], seed: int) -> Any:
    """transformers' own model of this configuration, with weights drawn by name."""
    auto: Any = transformers
    settings = auto.AutoConfig.for_model(**config)
    model = auto.AutoModelForCausalLM.from_config(settings, attn_implementation="eager").eval()
    state = reference.module_state(draw(config, seed))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    return model


@pytest.mark.parametrize("case", range(CASES))
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["directory", "gguf"])
def test_logits_are_those_of_transformers(
    family: str, case: int, kind: str, tmp_path: Path
) -> None:
    seed = SEED * 10**6 + case
    config = draw_config(Random(f"{family}/{seed}"), family)
    if kind == "gguf":  # which has no keys for these
        config["rope_parameters"].pop("attention_factor", None)
        config["use_sliding_window"] = False
        config.pop("layer_types", None)
        if family == "mistral":
            config["sliding_window"] = None
        if family.endswith("_moe"):
            config["norm_topk_prob"] = family == "qwen3_moe"
    print(config)
    theirs = reference_model(config, seed)
    path = tmp_path
    if kind == "directory":
        theirs.save_pretrained(path)
    else:
        path = tmp_path / "model.gguf"
        write_gguf(config, draw(config, seed), path)
    ids = token_ids(f"{family}/{seed}", NUM_TOKENS, config["vocab_size"])
    expected = reference.logits(theirs, ids)
    with LLM(path, precision="exact") as llm:
        found = llm.logits(ids)
    error = np.abs(found - expected).max(axis=1) / np.abs(expected).max(axis=1)
    print(f"largest relative difference {error.max():.2e}")
    assert error.max() < TOLERANCE
