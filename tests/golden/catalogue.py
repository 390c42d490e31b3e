"""The tiny models: their configuration, vocabulary, spreads and the number formats they come in.

A model's folder beside this file holds what ``make.py`` wrote: config.json and the answers.
The configurations cross what must not be assumed: head counts that divide nothing, a head size that
is not hidden / heads, vocabularies and widths with tails, tied and untied heads, both spellings
of rope parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf import GGMLQuantizationType

FOLDER = Path(__file__).parent
_T = GGMLQuantizationType


@dataclass(frozen=True, slots=True)
class Tiny:
    """One tiny model. ``config`` is written to config.json as it stands."""

    name: str
    vocabulary: str  # a folder of tokenizers/
    config: Mapping[str, Any]
    formats: tuple[GGMLQuantizationType, ...] = ()  # beyond float32
    bfloat16_shards: int = 0  # also as a sharded bfloat16 directory
    ablations: Mapping[str, Any] = field(default_factory=dict)  # features the answers must show
    seed: int = 1  # of the weights; chosen so that no greedy choice is nearly a tie

    @property
    def folder(self) -> Path:
        """Where the checked-in configuration and answers are."""
        return FOLDER / self.name


VOCAB_SIZE = 311
COMMON: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "torch_dtype": "float32",
}

LLAMA = Tiny(
    name="llama",
    vocabulary="llama3",
    config={
        **COMMON,
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 305,
        "eos_token_id": [306, 309],
        # The spelling of transformers 5.
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    formats=(_T.F16, _T.Q4_0, _T.Q4_1, _T.Q8_0),
    bfloat16_shards=3,
    ablations={
        "llama3 scaling": {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
    },
    seed=9,
)

LLAMA_TIED = Tiny(
    name="llama_tied",
    vocabulary="smollm2",
    config={
        **COMMON,
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 96,
        "intermediate_size": 160,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": 306,
        "eos_token_id": 307,
        # The spelling of most published files: no rope_scaling, no head_dim.
        "rope_theta": 10000.0,
        "rope_scaling": None,
    },
    formats=(_T.BF16, _T.Q5_0, _T.Q5_1),
    ablations={"rope theta": {"rope_theta": 500000.0}},
    seed=6,
)

QWEN2 = Tiny(
    name="qwen2",
    vocabulary="qwen2",
    config={
        **COMMON,
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "sliding_window": 16,
        "bos_token_id": 305,
        "eos_token_id": 307,
        "rope_theta": 1000000.0,
    },
    formats=(_T.F16, _T.IQ4_NL, _T.MXFP4),
    ablations={"qkv bias": "_proj.bias"},
    seed=2,
)

QWEN3 = Tiny(
    name="qwen3",
    vocabulary="qwen2",
    config={
        **COMMON,
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "sliding_window": None,
        "bos_token_id": 305,
        "eos_token_id": 307,
        "rope_theta": 1000000.0,
        "rope_scaling": None,
    },
    formats=(_T.Q8_0,),
    ablations={"qk norm": "_norm.weight"},
    seed=10,
)

QWEN3_MOE = Tiny(
    name="qwen3_moe",
    vocabulary="qwen2",
    config={
        **COMMON,
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "hidden_size": 64,
        "intermediate_size": 192,
        "moe_intermediate_size": 32,
        "num_experts": 12,
        "num_experts_per_tok": 3,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "sliding_window": None,
        "bos_token_id": 305,
        "eos_token_id": 307,
        "rope_theta": 1000000.0,
        "rope_scaling": None,
    },
    formats=(_T.F16, _T.Q4_0, _T.Q8_0),
    ablations={
        "qk norm": "_norm.weight",
        "weights that sum to one": {"norm_topk_prob": False},
        "the third expert": {"num_experts_per_tok": 2},
    },
    seed=4,
)

# A width of experts that fills neither a panel nor a block: each expert is padded by itself.
QWEN2_MOE = Tiny(
    name="qwen2_moe",
    vocabulary="qwen2",
    config={
        **COMMON,
        "architectures": ["Qwen2MoeForCausalLM"],
        "model_type": "qwen2_moe",
        "hidden_size": 64,
        "intermediate_size": 192,
        "moe_intermediate_size": 40,
        "shared_expert_intermediate_size": 72,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "norm_topk_prob": False,
        "decoder_sparse_step": 1,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "bos_token_id": 305,
        "eos_token_id": 307,
        "rope_theta": 1000000.0,
    },
    formats=(_T.F16,),
    ablations={
        "qkv bias": "_proj.bias",
        "weights as the router gives them": {"norm_topk_prob": True},
        "gate of the shared expert": "shared_expert_gate.weight",
    },
    seed=8,
)

# Wide enough for super-blocks of 256. No float32 twin: only the formats are of interest.
LLAMA_WIDE = Tiny(
    name="llama_wide",
    vocabulary="smollm2",
    config={
        **COMMON,
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": 306,
        "eos_token_id": 307,
        "rope_theta": 10000.0,
    },
    formats=(_T.Q2_K, _T.Q3_K, _T.Q4_K, _T.Q5_K, _T.Q6_K, _T.IQ4_XS),
    seed=2,
)

CATALOGUE = (LLAMA, LLAMA_TIED, QWEN2, QWEN3, QWEN3_MOE, QWEN2_MOE, LLAMA_WIDE)
