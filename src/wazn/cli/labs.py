"""Who made an architecture, by the beginning of its name in GGUF or Hugging Face files."""

_LABS = {
    "deepseek": "DeepSeek",
    "ernie": "Baidu",
    "gpt-oss": "OpenAI",
    "gpt_oss": "OpenAI",
    "grok": "xAI",
    "llama": "Meta",
    "mistral": "Mistral AI",
    "mllama": "Meta",
    "muse": "Meta",
    "qwen": "Alibaba (Qwen)",
    "seed_oss": "ByteDance (Seed)",
}


def lab_of(architecture: str | None) -> str | None:
    """The lab that published the architecture; its models may be other people's."""
    name = (architecture or "").lower()
    return next((lab for start, lab in _LABS.items() if name.startswith(start)), None)
