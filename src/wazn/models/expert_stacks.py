"""Which tensors of a checkpoint belong together as the matrices of a layer's experts.

Models know one tensor (experts, rows, columns) for each of ``mlp.experts.gate_proj``, ``up_proj``
and ``down_proj``, which is how GGUF stores them. Hugging Face checkpoints have one matrix per
expert, or gate above up in one stack; some GGUF files the latter, too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from wazn.errors import BadFile
from wazn.weights.container import TensorInfo
from wazn.weights.stacked import Piece

_ONE_EXPERT = re.compile(
    r"(?:model\.)?(?:language_model\.)?layers\.(\d{1,6})\."
    r"(?:mlp|ffn|block_sparse_moe|moe_block)\.experts\.(\d{1,5})\."
    r"(gate_proj|up_proj|down_proj|w[123]|linear(?:_v|_1)?)\.weight"
)
_MATRICES = {
    "w1": "gate_proj",
    "w2": "down_proj",
    "w3": "up_proj",  # DeepSeek-V4, Grok-2
    "linear": "gate_proj",
    "linear_v": "up_proj",
    "linear_1": "down_proj",  # Grok-1
}
_FUSED = re.compile(
    r"model\.(?:language_model\.)?(layers\.\d{1,6}\.mlp\.experts)\.(gate_up_proj|down_proj)"
)
_FUSED_GGUF = re.compile(r"(blk\.\d{1,6})\.ffn_gate_up_exps\.weight")
_SHARED_GATE = re.compile(
    r"blk\.\d{1,6}\.ffn_gate_inp_shexp\.weight|"
    r"model\.layers\.\d{1,6}\.mlp\.shared_expert_gate\.weight"
)

Stacks = dict[str, list[Piece]]


def find_stacks(tensors: Mapping[str, TensorInfo]) -> Stacks:
    """The stacks that a model wants and its files keep otherwise: name → pieces.

    Raises BadFile when an expert is missing.
    """
    stacks: Stacks = {}
    experts: dict[str, dict[int, TensorInfo]] = defaultdict(dict)
    for name, info in tensors.items():
        if match := _ONE_EXPERT.fullmatch(name):
            layer, number, matrix = match.groups()
            stack = f"model.layers.{layer}.mlp.experts.{_MATRICES.get(matrix, matrix)}.weight"
            experts[stack][int(number)] = info
        elif match := _FUSED.fullmatch(name):
            layer, matrix = match.groups()
            stack = f"model.{layer}"
            if f"{stack}.{matrix.replace('gate_up', 'gate')}.weight" in tensors:
                continue  # the family's own way
            if matrix == "gate_up_proj":
                halves = f"{stack}.gate_proj.weight", f"{stack}.up_proj.weight"
                stacks |= _halved(info, halves)
            else:
                stacks[f"{stack}.down_proj.weight"] = whole(info)
        elif match := _FUSED_GGUF.fullmatch(name):
            layer = match.group(1)
            halves = f"{layer}.ffn_gate_exps.weight", f"{layer}.ffn_up_exps.weight"
            stacks |= _halved(info, halves)
        elif _SHARED_GATE.fullmatch(name) and len(info.shape) == 1:
            stacks[name] = [Piece(name, 0, 1)]  # one row, stored as a vector
    for name, found in experts.items():
        missing = next((number for number in range(len(found)) if number not in found), None)
        if missing is not None:
            raise BadFile(f"{name}: expert {missing} is missing; the model is incomplete")
        stacks[name] = [Piece(found[i].name, 0, found[i].rows) for i in range(len(found))]
    return stacks


def whole(info: TensorInfo) -> list[Piece]:
    """The matrices of a stack; raises BadFile when it is none."""
    count, rows = _stacked_rows(info)
    return [Piece(info.name, number * rows, rows) for number in range(count)]


def _halved(info: TensorInfo, names: tuple[str, str]) -> Stacks:
    """The upper half of each matrix is gate, the lower half is up."""
    count, rows = _stacked_rows(info)
    if rows % 2:
        raise BadFile(f"tensor {info.name} has {rows} rows, which gate and up cannot share")
    half = rows // 2
    return {
        name: [Piece(info.name, number * rows + which * half, half) for number in range(count)]
        for which, name in enumerate(names)
    }


def _stacked_rows(info: TensorInfo) -> tuple[int, int]:
    """Matrices of a stack, and rows of each."""
    if len(info.shape) != 3:
        raise BadFile(f"tensor {info.name} has {len(info.shape)} dimensions where a stack has 3")
    return info.shape[0], info.shape[1]
