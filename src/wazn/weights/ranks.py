"""Files of a model that is divided among the ranks of tensor parallelism, as Grok-2 is published.

``…-TP-common.safetensors`` hold whole tensors, ``…-TP-003.safetensors`` what the fourth rank has of
tensors that all ranks share, under the same names. It refuses to know how they are divided.
"""

import os
import re
from pathlib import Path

RANK_SHARD = re.compile(r"[^./][^/]*-TP-(common|\d{3})\.safetensors")
_OF_RANK = re.compile(r"(.+)@(\d{1,3})")


def rank_shards(directory: Path) -> list[tuple[str, int | None]]:
    """Names of such files and their ranks, None for common ones, in the order of their names."""
    matches = (RANK_SHARD.fullmatch(name) for name in sorted(os.listdir(directory)))
    return [(m[0], None if m[1] == "common" else int(m[1])) for m in matches if m is not None]


def of_rank(name: str, rank: int) -> str:
    """What a rank's part of a tensor is called among the tensors of all files."""
    return f"{name}@{rank}"


def name_and_rank(name: str) -> tuple[str, int] | None:
    """The tensor and the rank of such a name, None for the name of a whole tensor."""
    match = _OF_RANK.fullmatch(name)
    return None if match is None else (match[1], int(match[2]))
