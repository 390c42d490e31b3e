"""Every value of every family's configuration, replaced by what nobody should write there."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.golden import catalogue, converted, later_families, window_families
from tests.golden.catalogue import Tiny
from wazn.errors import BadFile, WaznError
from wazn.models.config import from_gguf, from_huggingface
from wazn.weights.gguf import GGUF

FAMILIES = {
    tiny.name: tiny
    for tiny in (
        *catalogue.CATALOGUE,
        *later_families.CATALOGUE,
        *window_families.CATALOGUE,
    )
}
VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 3, 2**63, 10**400, -(10**400), 1.5, 0.0),
    *(1e-300, 1e-45, 1e300, float("nan"), float("inf"), "", "false", "sliding_attention"),
    *([], [1], [None], [[1]], ["sliding_attention"], {}, {"a": 1}, {"type": []}),
)
MORE_KEYS = (
    *("use_sliding_window", "sliding_window", "layer_types", "max_window_layers", "head_dim"),
    *("attn_logit_softcapping", "router_logit_softcapping", "final_logit_softcapping"),
    *("attn_temperature_len", "attn_output_multiplier", "residual_moe", "no_rope_layers"),
    *("attention_chunk_size", "floor_scale", "attn_scale", "interleave_moe_layer_step"),
    *("moe_layers", "moe_layer_interval", "moe_layer_start_index", "moe_layer_end_index"),
    *("moe_num_shared_experts", "architectures", "rope_parameters", "rope_scaling"),
    *("attention.sliding_window", "attention.sliding_window_pattern", "expert_gating_func"),
    *("attention.temperature_length", "attention.output_scale", "rope.scaling.type"),
)


def changed(values: Mapping[str, Any], prefix: str = "") -> Iterator[dict[str, Any]]:
    """The configuration with one value that is wrong, in itself or in an object within it."""
    for key in {*values, *(prefix + key for key in MORE_KEYS)}:
        for value in VALUES:
            yield {**values, key: value}
        if isinstance(within := values.get(key), dict):
            for other in changed(within):
                yield {**values, key: other}


@pytest.mark.parametrize("name", FAMILIES)
def test_any_config_json_is_read_or_refused_in_words(name: str) -> None:
    refusals = 0
    for values in changed(FAMILIES[name].config):
        try:
            from_huggingface(values, "config.json", 311)
        except WaznError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
            refusals += 1
    assert refusals > 100


CONVERTED = [name for name, tiny in FAMILIES.items() if converted.is_converted(tiny.config)]


@pytest.mark.parametrize("name", CONVERTED)
def test_any_metadata_are_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    metadata = metadata_of(FAMILIES[name], tmp_path / "model.gguf")
    prefix = f"{metadata['general.architecture']}."
    refusals = 0
    for values in changed(metadata, prefix):
        try:
            from_gguf(values, "model.gguf", 311, False, ())
        except WaznError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
            refusals += 1
    assert refusals > 100


@pytest.mark.parametrize("value", [10**400, 1e300, 1e-300, -1.0])
def test_a_number_that_float32_could_not_hold_is_no_number(value: float) -> None:
    config = {**FAMILIES["grok_2"].config, "final_logit_softcapping": value}
    with pytest.raises(BadFile, match=r"final_logit_softcapping is .+, not a positive number"):
        from_huggingface(config, "config.json", 311)


def test_a_window_is_not_switched_on_by_a_word() -> None:
    config = {**FAMILIES["qwen2_window"].config, "use_sliding_window": "false"}
    with pytest.raises(BadFile, match="use_sliding_window is 'false', not true or false"):
        from_huggingface(config, "config.json", 311)


def metadata_of(tiny: Tiny, path: Path) -> dict[str, Any]:
    """What a file of this family says, without its tensors."""
    writer = converted.new_writer(tiny.config, path)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return dict(GGUF(path).metadata)
