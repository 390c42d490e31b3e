"""Where a model would run that does not fit here."""

from dataclasses import replace

from wazn.plan.families import read_shape
from wazn.plan.formats import in_format
from wazn.plan.known import known_models
from wazn.plan.machines import CLASSES, GIB, place
from wazn.plan.memory import Load, memory_of
from wazn.plan.shape import Shape
from wazn.plan.speed import Machine

HERE = Machine(bandwidth=20e9, compute=100e9, memory_bytes=20 * GIB, threads=2)


def _shape(name: str, format: str) -> Shape:
    return in_format(read_shape(known_models()[name].config, name), format)


def test_a_small_model_fits_here() -> None:
    shape = _shape("qwen3-8b", "Q4_K_M")
    found = place(shape, memory_of(shape, Load(1, 1024), "float16"), HERE)
    assert found.fits_here
    assert found.machines_like_this == 1


def test_a_large_model_names_the_smallest_machine_and_how_many_like_this() -> None:
    shape = _shape("deepseek-v3", "Q4_K_M")
    memory = memory_of(shape, Load(1, 1024), "float16")
    found = place(shape, memory, HERE)
    assert not found.fits_here
    assert found.larger is not None
    assert found.larger.memory_bytes == 768 * GIB
    # 406 GB in 61 layers of 6.7 GB, three of which fit beside the working memory
    assert found.machines_like_this == 21
    assert found.machines_like_this * 3 >= 61


def test_a_machine_too_small_for_one_layer_says_so() -> None:
    shape = _shape("deepseek-v3", "BF16")
    small = replace(HERE, memory_bytes=8 * GIB)
    found = place(shape, memory_of(shape, Load(1, 1024), "float16"), small)
    assert found.machines_like_this is None
    assert found.larger is not None
    assert found.larger.memory_bytes == 1536 * GIB


def test_classes_grow_and_their_bandwidth_is_channels_times_transfers() -> None:
    sizes = [one.memory_bytes for one in CLASSES]
    assert sizes == sorted(sizes)
    server = next(one for one in CLASSES if one.memory_bytes == 768 * GIB)
    assert server.bandwidth == 12 * 4.8e9 * 8
