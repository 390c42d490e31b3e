"""Configurations are hostile input: a plan or one of wazn's errors comes out, nothing else."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wazn.errors import WaznError
from wazn.plan.families import read_shape
from wazn.plan.formats import in_format, published_format
from wazn.plan.known import known_models
from wazn.plan.machines import place
from wazn.plan.memory import Load, memory_of
from wazn.plan.speed import Machine, fitted_constants, speed_of

HERE = Machine(bandwidth=20e9, compute=100e9, memory_bytes=20 << 30, threads=2)
CONFIGS = {name: dict(known.config) for name, known in known_models().items()}

numbers = st.integers(-3, 40) | st.integers() | st.sampled_from([2**31, 2**31 - 1, 4096])
plain = st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=8)
values = plain | st.lists(plain, max_size=4) | st.just({"full_attention": 4, "": None})


@given(st.sampled_from(sorted(CONFIGS)), st.data())
def test_a_changed_configuration_is_planned_or_refused(name: str, data: st.DataObject) -> None:
    config: dict[str, Any] = dict(CONFIGS[name])
    for key in data.draw(st.lists(st.sampled_from(sorted(config)), max_size=4, unique=True)):
        if data.draw(st.booleans()):
            config[key] = data.draw(values)
        else:
            del config[key]
    try:
        published_format(config)
        shape = in_format(read_shape(config, "config.json"), "Q4_K_M")
    except WaznError:
        return
    memory = memory_of(shape, Load(4, 1024), "float16")
    speed = speed_of(shape, Load(4, 1024), "float16", HERE, fitted_constants())
    assert 0 < memory.weight_bytes < memory.total
    assert speed.decode_tok_s > 0
    assert speed.prefill_tok_s > 0
    place(shape, memory, HERE)
