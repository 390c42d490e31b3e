"""What the bytes of a model are for, by the names of its tensors.

Names of Hugging Face, of GGUF and of the labs' own files; the first rule that matches decides. A
name that no rule knows is counted as something else, never left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_VISION = "vision and audio"
_DRAFT = "draft layers (MTP)"
UNUSED = (_VISION, _DRAFT)
"""Parts that wazn does not run: they are left on the disk."""

_RULES = tuple(
    (part, re.compile(pattern))
    for part, pattern in (
        (
            _VISION,
            r"(^|\.)(visual|vision\w*|image\w*|audio\w*|multi_modal_projector|mm_projector|mm)\.|"
            r"^[va]\.blk\.",
        ),
        (_DRAFT, r"(^|\.)(mtp[\w]*|nextn)\."),
        ("embedding", r"(^|\.)(embed_tokens|token_embd|embed|wte)\.|ngram|engram"),
        ("head", r"^(model\.|language_model\.)*(lm_head|output|head)\."),
        (
            "router",
            r"\.(gate|router|ffn_gate_inp\w*|shared_expert_gate)\.|score_correct|tid2eid|exp_",
        ),
        ("norms", r"norm"),
        ("shared experts", r"shared_experts?|_shexp"),
        ("experts", r"\.experts?\.|_exps"),
        ("attention", r"attn|attention|ssm_|indexer|compressor|hyper_connection|hc_"),
        ("feed-forward", r"mlp|ffn|feed_forward"),
    )
)
_OTHER = "something else"
_ORDER = {part: number for number, (part, _) in enumerate(_RULES)}
_LAYER = re.compile(r"(?:^|\.)(?:layers|blk)\.(\d{1,6})\.")


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of tensors: how many there are, and their bytes in the files."""

    part: str
    tensors: int
    num_bytes: int
    is_used: bool


def part_of(name: str, num_layers: int | None) -> str:
    """What a tensor is for; layers beyond the model's ``num_layers`` are draft layers."""
    part = next((part for part, pattern in _RULES if pattern.search(name)), _OTHER)
    layer = _LAYER.search(name)
    if part == _VISION or layer is None or num_layers is None:
        return part
    return _DRAFT if int(layer[1]) >= num_layers else part


def parts_of(sizes: Iterable[tuple[str, int]], num_layers: int | None) -> tuple[Part, ...]:
    """The parts of tensors (name, bytes), in the order of a model, what is not used last."""
    counts: dict[str, tuple[int, int]] = {}
    for name, num_bytes in sizes:
        part = part_of(name, num_layers)
        tensors, total = counts.get(part, (0, 0))
        counts[part] = tensors + 1, total + num_bytes
    found = [Part(part, *counts[part], part not in UNUSED) for part in counts]
    return tuple(sorted(found, key=lambda p: (not p.is_used, _ORDER.get(p.part, len(_ORDER)))))
