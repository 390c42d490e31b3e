"""Which files of a repository make up one model.

Works on file names alone, so that hubs, packages and folders share it: one GGUF file (or the
parts of one split set), else the files of a Hugging Face directory. Pickles, scripts and anything
else are never chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from wazn.errors import BadRequest, ModelNotFound
from wazn.weights.quoting import quoted
from wazn.weights.ranks import RANK_SHARD

# What a user most likely wants on a CPU, best first: 4-bit before larger before smaller.
PREFERRED_FORMATS = (
    *("Q4_K_M", "Q4_0", "Q4_1", "Q4_K_S", "IQ4_XS", "IQ4_NL", "MXFP4"),
    *("Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q6_K", "Q8_0"),
    *("Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "BF16", "F16", "F32"),
)

_PART = re.compile(r"-(\d{5})-of-(\d{5})(?=\.(?:gguf|safetensors)$)")
_SHARD = re.compile(r"model(?:\.safetensors)?-\d{5}-of-\d{5}\.safetensors")
_DIRECTORY_FILES = frozenset(
    {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "chat_template.jinja",
        "chat_template.json",
    }
)
_MOST_SHOWN = 20


def choose_files(names: Iterable[str], file_or_quant: str | None, what: str) -> tuple[str, ...]:
    """The files of one model, weights first; `what` names the repository in errors.

    Raises BadRequest when the choice is open, ModelNotFound when there is nothing to choose; both
    list what exists.
    """
    names = sorted(names)
    sets = gguf_sets(names)
    if file_or_quant is not None:
        return _chosen(sets, file_or_quant, what)
    if not sets:
        return choose_directory(names, what)
    return _preferred(sets, what)


def _preferred(sets: list[tuple[str, ...]], what: str) -> tuple[str, ...]:
    candidates = [members for members in sets if not _is_companion(members[0])]
    if len(candidates) == 1:
        return _whole(candidates[0], what)
    for quant in PREFERRED_FORMATS:
        matching = [members for members in candidates if _carries(members[0], quant)]
        if len(matching) == 1:
            return _whole(matching[0], what)
        if matching:
            break
    raise BadRequest(
        f"{what} holds several models; name one as {what}:FILE. It has {_listing(sets)}."
    )


def choose_directory(names: Sequence[str], what: str) -> tuple[str, ...]:
    """The files of a Hugging Face directory with safetensors, weights first."""
    shards = [name for name in names if _SHARD.fullmatch(name)]
    if "model.safetensors.index.json" in names and shards:
        weights = [*shards, "model.safetensors.index.json"]
    elif "model.safetensors" in names:
        weights = ["model.safetensors"]
    elif any(RANK_SHARD.fullmatch(name) for name in names):
        weights = [name for name in names if RANK_SHARD.fullmatch(name)]
    else:
        weights = []
    if not weights or "config.json" not in names:
        raise ModelNotFound(
            f"{what} holds neither a GGUF file nor config.json with model.safetensors (one or "
            f"sharded). It has {_listing([(name,) for name in names])}."
        )
    return (*weights, *(name for name in names if name in _DIRECTORY_FILES))


def gguf_sets(names: Iterable[str]) -> list[tuple[str, ...]]:
    """GGUF names in order, the parts of a split file together."""
    sets: dict[str, list[str]] = {}
    for name in sorted(names):
        if name.lower().endswith(".gguf"):
            sets.setdefault(_PART.sub(r"-of-\2", name), []).append(name)
    return [tuple(members) for members in sets.values()]


def _chosen(sets: list[tuple[str, ...]], file_or_quant: str, what: str) -> tuple[str, ...]:
    if file_or_quant.lower().endswith(".gguf"):
        matching = [members for members in sets if file_or_quant in members]
    else:
        matching = [
            members
            for members in sets
            if _carries(members[0], file_or_quant) and not _is_companion(members[0])
        ]
    if len(matching) == 1:
        return _whole(matching[0], what)
    if matching:
        raise BadRequest(
            f"{file_or_quant!r} fits several files of {what}; name one of {_listing(matching)}."
        )
    raise ModelNotFound(f"{what} has no GGUF file {file_or_quant!r}; it has {_listing(sets)}.")


def _whole(members: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Raise ModelNotFound when parts of a split set are missing."""
    part = _PART.search(members[0])
    if part and int(part[2]) != len(members):
        raise ModelNotFound(f"{what} has only {len(members)} of the {int(part[2])} parts.")
    return members


def _carries(name: str, quant: str) -> bool:
    """Whether a file name carries a format: Q4_K does not fit Q4_K_M, Q4_XS not IQ4_XS."""
    return bool(re.search(rf"(?<![a-z0-9]){re.escape(quant)}(?![a-z0-9_])", name, re.IGNORECASE))


def _is_companion(name: str) -> bool:
    """Vision projectors and importance matrices come as GGUF too, and are not the model."""
    return re.match(r"mmproj|imatrix", name.rsplit("/", 1)[-1], re.IGNORECASE) is not None


def _listing(sets: list[tuple[str, ...]]) -> str:
    shown = [
        _shown(members[0]) + (f" ({len(members)} parts)" if len(members) > 1 else "")
        for members in sets[:_MOST_SHOWN]
    ]
    more = [f"{len(sets) - _MOST_SHOWN} more"] if len(sets) > _MOST_SHOWN else []
    return ", ".join(shown + more) or "no such files"


def _shown(name: str) -> str:
    """A name that may be copied from the message, unless it is hostile."""
    return name if name.isprintable() and len(name) <= 250 else quoted(name)
