"""What the numbers of a model weigh in the formats that models are published in.

A recipe gives bits per weight for each role, scales included. Those of GGUF are what
llama.cpp's quantiser does by default: vectors and routers stay float32, the output matrix gets
6 bits in the 4- and 5-bit recipes, and the ``_M`` ones keep half of the down projections in 6 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wazn.errors import BadRequest
from wazn.plan.shape import Role, Shape

Q6_K = 210 * 8 / 256
FP8 = 8 + 32 / (128 * 128)  # a float32 scale for each block of 128 x 128
MXFP4 = 17 * 8 / 32


@dataclass(frozen=True, slots=True)
class Recipe:
    """Bits of the matrices, and of the roles that differ."""

    bits: float
    others: Mapping[Role, float] = field(default_factory=dict)

    def of(self, role: Role) -> float:
        """Bits of one number of that role."""
        return self.others.get(role, self.bits)


def _gguf(bits: float, head: float | None = None, down: float | None = None) -> Recipe:
    """``down``: bits of down projections on average, which are a third of a feed-forward."""
    others: dict[Role, float] = {"vector": 32, "router": 32}
    if head is not None:
        others["head"] = head
    if down is not None:
        mixed = (2 * bits + down) / 3
        others |= {"dense": mixed, "shared": mixed, "expert": mixed}
    return Recipe(bits, others)


_16 = Recipe(16)
_DEEPSEEK: dict[Role, float] = {"embedding": 16, "head": 16, "router": 16, "vector": 16}

RECIPES: Mapping[str, Recipe] = {
    "Q4_0": _gguf(4.5, Q6_K),
    "Q4_1": _gguf(5.0, Q6_K),
    "Q4_K_M": _gguf(4.5, Q6_K, (4.5 + Q6_K) / 2),
    "Q5_K_M": _gguf(5.5, Q6_K, (5.5 + Q6_K) / 2),
    "Q6_K": _gguf(Q6_K),
    "Q8_0": _gguf(8.5),
    "F16": _16,
    "BF16": _16,
    "F32": Recipe(32),
    "FP8": Recipe(FP8, {**_DEEPSEEK}),
    "FP4": Recipe(FP8, {**_DEEPSEEK, "expert": MXFP4}),
    "MXFP4": Recipe(16, {"expert": MXFP4}),
}
"""FP8 is DeepSeek's, FP4 that of V4 (experts of 4 bits), MXFP4 OpenAI's gpt-oss."""

_DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


def in_format(shape: Shape, name: str) -> Shape:
    """The same shape with its numbers in that format; raises BadRequest for an unknown one."""
    by_name = {known.lower(): known for known in RECIPES}
    if name.lower() not in by_name:
        raise BadRequest(f"the format {name!r} is not one of {', '.join(RECIPES)}.")
    recipe = RECIPES[by_name[name.lower()]]
    weights = tuple(replace(part, bits=recipe.of(part.role)) for part in shape.weights)
    return replace(shape, weights=weights)


def published_format(values: Mapping[str, Any]) -> str | None:
    """The recipe in which a checkpoint with this ``config.json`` is published; None: not stated."""
    quantization = values.get("quantization_config")
    if isinstance(quantization, Mapping):
        method = quantization.get("quant_method")
        if method == "fp8":
            return "FP4" if values.get("expert_dtype") == "fp4" else "FP8"
        return "MXFP4" if method == "mxfp4" else None
    stated = values.get("torch_dtype", values.get("dtype"))
    return _DTYPES.get(stated) if isinstance(stated, str) else None
