"""The later families against transformers.

A case is a function of (seed, number), as in ``test_random_models``. Linear attention is computed
chunk by chunk there: its own rounding is most of the difference.
"""

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import transformers
from safetensors.torch import load_file, save_file

from tests.golden import reference
from tests.golden.weights import token_ids
from tests.parity.later_configs import draw_config, reference_model
from wazn import LLM

SEED = int(os.environ.get("WAZN_PARITY_SEED", "1"))
CASES = int(os.environ.get("WAZN_PARITY_CASES", "12")) // 3
FAMILIES = (
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "deepseek_v4",
    "qwen3_next",
    "qwen3_5_text",
    "qwen3_5_moe_text",
    "gpt_oss",
    "llama4_text",
    "ernie4_5",
    "ernie4_5_moe",
)
NUM_TOKENS = 150
TOLERANCE = 1e-4  # relative to the largest logit of a row


def relative_error(found: Any, expected: Any) -> float:
    difference = np.abs(found - expected).max(axis=1)
    return float((difference / np.abs(expected).max(axis=1)).max())


@pytest.mark.parametrize("case", range(CASES))
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(family: str, case: int, tmp_path: Path) -> None:
    seed = SEED * 10**6 + case
    config = draw_config(Random(f"{family}/{seed}"), family)
    print(config)
    theirs = reference_model(family, config, seed)
    theirs.save_pretrained(tmp_path)
    ids = token_ids(f"{family}/{seed}", NUM_TOKENS, config["vocab_size"])
    expected = reference.logits(theirs, ids)
    with LLM(tmp_path, precision="exact") as llm:
        error = relative_error(llm.logits(ids), expected)
    print(f"largest relative difference {error:.2e}")
    assert error < TOLERANCE


def official(config: dict[str, Any], compress_base: float) -> dict[str, Any]:
    """A V4 configuration in the spelling of published checkpoints."""
    ratios = {"sliding_attention": 0, "compressed_sparse_attention": 4}
    return {
        **{key: value for key, value in config.items() if not key.endswith("_types")},
        "model_type": "deepseek_v4",
        "compress_ratios": [ratios.get(kind, 128) for kind in config["layer_types"]] + [0],
        "num_hash_layers": config["mlp_layer_types"].count("hash_moe"),
        "qk_rope_head_dim": int(config["head_dim"] * config["partial_rotary_factor"]),
        "rope_theta": 10000.0,
        "compress_rope_theta": compress_base,
        "num_nextn_predict_layers": 0,
        "scoring_func": "sqrtsoftplus",
        "norm_topk_prob": True,
        "hc_eps": 1e-6,
    }


def write_published(
    folder: Path, name: str, seed: int, compress_base: float = 160000.0
) -> tuple[Any, dict[str, Any]]:
    """A V4 checkpoint in published names: transformers' model, and the settings."""
    drawn = draw_config(Random(f"{name}/{seed}"), "deepseek_v4")
    del drawn["compress_rates"], drawn["rope_parameters"]
    drawn["index_head_dim"] = 32  # as much as is rotated, at least
    drawn["head_dim"] = 32
    settings = official({**drawn, "routed_scaling_factor": 1.5}, compress_base)
    model = reference_model("deepseek_v4", {**drawn, "rope_parameters": None}, seed)
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {official_name(name): values for name, values in tensors.items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(settings))
    return model, settings


@pytest.mark.parametrize("case", range(CASES))
def test_v4_files_with_published_names_and_settings_give_the_same_logits(
    case: int, tmp_path: Path
) -> None:
    seed = SEED * 10**6 + case
    model, settings = write_published(tmp_path, "published", seed)
    ids = token_ids(f"published/{seed}", NUM_TOKENS, settings["vocab_size"])
    with LLM(tmp_path, precision="exact") as llm:
        assert relative_error(llm.logits(ids), reference.logits(model, ids)) < TOLERANCE


def official_name(name: str) -> str:
    """transformers' name of a V4 tensor as the published checkpoints have it."""
    name = (
        name.removeprefix("model.")
        .replace("hc_head.hc_", "hc_head_")
        .replace("attn.norm.", "attn.kv_norm.")
    )
    return name.replace("embed_tokens.", "embed.")


def test_llama_4_is_read_from_a_model_that_sees(tmp_path: Path) -> None:
    drawn = draw_config(Random("sees"), "llama4_text") | {"tie_word_embeddings": False}
    auto: Any = transformers
    vision = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128}
    vision |= {"image_size": 28, "patch_size": 14}
    sizes = ("hidden_size", "vision_output_dim", "projector_input_dim", "projector_output_dim")
    settings = auto.Llama4Config(text_config=drawn, vision_config=vision | dict.fromkeys(sizes, 32))
    model = auto.Llama4ForConditionalGeneration(settings).float().eval()
    text = reference_model("llama4_text", drawn, 1)
    model.language_model.load_state_dict(text.state_dict())
    model.save_pretrained(tmp_path)
    ids = token_ids("sees", NUM_TOKENS, drawn["vocab_size"])
    with LLM(tmp_path, precision="exact") as llm:
        assert relative_error(llm.logits(ids), reference.logits(text, ids)) < TOLERANCE
