"""Seed-OSS (ByteDance 2025)."""

from typing import ClassVar

from wazn.models.llama import Llama


class SeedOss(Llama):
    """Seed-OSS-36B: the Llama block with biases on q, k and v, which the checkpoint brings, and
    heads that are together wider than the hidden state."""

    huggingface_types: ClassVar[tuple[str, ...]] = ("seed_oss",)
    gguf_architecture = "seed_oss"
    gguf_rope_interleaved = False
