"""What a checkpoint says about layers whose attention sees a window of the last positions only.

Both readers return the window of each layer, None where it sees all, or () if every layer does.
They know config.json and GGUF metadata only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wazn.errors import BadFile, UnsupportedModel

if TYPE_CHECKING:
    from wazn.models.config import Facts

Windows = tuple[int | None, ...]

_SLIDING, _FULL = "sliding_attention", "full_attention"
_QWEN = ("qwen2", "qwen3", "qwen2_moe", "qwen3_moe")
_PATTERN = 2  # every second layer of gpt-oss sees everything, the first one does not
_DEFAULTS = {"gpt_oss": 128}  # of transformers' configurations; 4096 for the others
_FIRST_WINDOW_LAYER = 28  # max_window_layers, where a configuration does not say


def windows_from_huggingface(facts: Facts) -> Windows:
    """From ``config.json``. Other families than those of this module have none."""
    family = facts.values.get("model_type")
    if family == "gpt_oss":
        return _of_kinds(facts, _alternating(facts.integer("num_hidden_layers", "layers")))
    if family == "mistral":
        return _of_all(facts)
    is_used = facts.flag("use_sliding_window", False)
    if family not in _QWEN:
        if is_used and facts.values.get("sliding_window"):
            raise UnsupportedModel(
                f"{facts.where}: sliding-window attention of the family {str(family)[:60]!r} is "
                "not supported"
            )
        return ()
    if not is_used or _window(facts) is None:
        return _without_windows(facts)
    if family == "qwen3_moe":
        return _of_all(facts)
    return _of_kinds(facts, _of_qwen(facts))


def windows_from_gguf(facts: Facts, family: str) -> Windows:
    """From GGUF metadata without the family's prefix."""
    if family != "gpt-oss":
        if facts.values.get("attention.sliding_window"):
            raise UnsupportedModel(
                f"{facts.where}.attention.sliding_window: windows of this architecture are not "
                "supported; files of llama.cpp's converter have none"
            )
        return ()
    layers = facts.gguf_layers()
    window = facts.integer("attention.sliding_window", "context")
    pattern = facts.values.get("attention.sliding_window_pattern", _PATTERN)
    if type(pattern) is int and 0 <= pattern <= layers:
        flags = [pattern == 0 or (index + 1) % pattern != 0 for index in range(layers)]
    else:
        flags = list(pattern)[:layers] if isinstance(pattern, Sequence) else []
    if len(flags) != layers or not all(flag in (0, 1) for flag in flags):
        raise BadFile(
            f"{facts.where}.attention.sliding_window_pattern is {str(pattern)[:60]!r}, not a "
            f"number or a flag for each of {layers} layers"
        )
    return tuple(window if flag else None for flag in flags)


def _window(facts: Facts) -> int | None:
    """The width of a window; None if the configuration says that there is none."""
    default = _DEFAULTS.get(str(facts.values.get("model_type")), 4096)
    if facts.values.get("sliding_window", default) is None:
        return None
    return facts.integer("sliding_window", "context", default)


def _of_all(facts: Facts) -> Windows:
    window = _window(facts)
    kinds = facts.values.get("layer_types")
    if window is not None and kinds is not None and set(_checked(facts, kinds)) != {_SLIDING}:
        raise UnsupportedModel(
            f"{facts.where}: layer_types of layers without a window are not supported for this "
            "family, all of whose layers have one"
        )
    return () if window is None else (window,) * facts.integer("num_hidden_layers", "layers")


def _alternating(layers: int) -> list[str]:
    return [_FULL if (index + 1) % _PATTERN == 0 else _SLIDING for index in range(layers)]


def _of_qwen(facts: Facts) -> list[str]:
    """The kinds of layers that transformers takes where ``layer_types`` are missing."""
    layers = facts.integer("num_hidden_layers", "layers")
    first = facts.values.get("max_window_layers", _FIRST_WINDOW_LAYER)
    if type(first) is not int or first < 0:
        raise BadFile(f"{facts.where}: max_window_layers is {str(first)[:60]!r}, not a number")
    if facts.values.get("model_type") == "qwen2_moe":
        kinds = _alternating(layers)
        return [kind if index < first else _FULL for index, kind in enumerate(kinds)]
    return [_SLIDING if index >= first else _FULL for index in range(layers)]


def _of_kinds(facts: Facts, default: list[str]) -> Windows:
    kinds = facts.values.get("layer_types")
    kinds = default if kinds is None else _checked(facts, kinds)
    if _SLIDING not in kinds:
        return ()
    window = _window(facts)
    if window is None:
        raise BadFile(f"{facts.where}: layer_types name {_SLIDING}, and there is no sliding_window")
    return tuple(window if kind == _SLIDING else None for kind in kinds)


def _without_windows(facts: Facts) -> Windows:
    """No windows, if ``layer_types`` agree."""
    kinds = facts.values.get("layer_types")
    if kinds is not None and _SLIDING in _checked(facts, kinds):
        raise BadFile(
            f"{facts.where}: layer_types name {_SLIDING}, and use_sliding_window or sliding_window "
            "say that there is none"
        )
    return ()


def _checked(facts: Facts, kinds: object) -> list[str]:
    layers = facts.integer("num_hidden_layers", "layers")
    known = (_SLIDING, _FULL)
    is_list = isinstance(kinds, list) and len(kinds) == layers
    if not isinstance(kinds, list) or not is_list or any(kind not in known for kind in kinds):
        raise BadFile(
            f"{facts.where}: layer_types is {str(kinds)[:60]!r}, not a list of "
            f"{' or '.join(known)} for each of {layers} layers"
        )
    return kinds
