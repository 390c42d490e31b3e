"""What the native core refuses, and what it survives."""

from pathlib import Path

import numpy as np
import pytest

from tests.models.random_models import random_model
from tests.native import programs
from wazn import native
from wazn.models.model import Batch
from wazn.weights.formats import Format


def batch(**changes: object) -> Batch:
    fields: dict[str, object] = {
        "token_ids": [1, 2, 3],
        "row_starts": [0, 3],
        "first_positions": [0],
        "page_tables": [[0, 1]],
        "logit_rows": [2],
        **changes,
    }
    return Batch(**{name: np.array(value, np.int32) for name, value in fields.items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_ids": [1, 2, 300]}, "token id 300 is outside the vocabulary of 300"),
        ({"token_ids": [1, 2, -1]}, "token id -1"),
        ({"row_starts": [0, 4]}, "row_starts"),
        ({"row_starts": [1, 3]}, "row_starts"),
        ({"row_starts": [0, 3, 3], "first_positions": [0, 0], "page_tables": [[0], [1]]}, "rows"),
        ({"first_positions": [-1]}, "positions"),
        ({"first_positions": [126]}, "pages"),
        ({"page_tables": [[64, 1]]}, "page 64 does not exist"),
        ({"page_tables": [[-1, 1]]}, "page -1 does not exist"),
        ({"logit_rows": [3]}, "wanted row 3"),
        ({"first_positions": [0, 1]}, "length"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    model = random_model("llama", Format.Q4_0)
    with pytest.raises(ValueError, match=message):
        model.forward(batch(**changes))


def test_a_step_of_too_many_rows_is_refused() -> None:
    model = random_model("llama", Format.Q4_0)
    with pytest.raises(ValueError, match="1 to 256 rows, not 257"):
        model.forward(
            batch(
                token_ids=[0] * 257,
                row_starts=[0, 257],
                page_tables=[list(range(16))],
                logit_rows=[0],
            )
        )


def test_a_weight_outside_its_memory_is_refused() -> None:
    memory = native.Memory.allocate(1000)
    layout = native.LAYOUTS["Q4_0"]
    for offset, rows, columns in ((0, 64, 64), (-64, 1, 32), (2**62, 1, 32), (0, 2**40, 32)):
        with pytest.raises(ValueError):
            native.Weight.create(memory, offset, layout, rows, columns)
    with pytest.raises(ValueError, match="does not fit its layout"):
        native.Weight.create(memory, 0, layout, 1, 33)
    with pytest.raises(ValueError, match="no layout 99"):
        native.Weight.create(memory, 0, 99, 1, 32)


def test_operations_on_buffers_that_do_not_exist_are_refused() -> None:
    program = programs.new_program()
    buffer = program.buffer(32, "narrow")
    with pytest.raises(ValueError, match="no buffer 7"):
        program.quantize(7)
    with pytest.raises(ValueError, match="whole blocks"):
        program.buffer(33, "narrow")
    with pytest.raises(ValueError, match="32 columns, not 64"):
        program.rope(buffer, 2, 32, 0, 32, False)


def test_heads_that_attention_cannot_tile_are_refused() -> None:
    program = programs.new_program(heads=1, dim=16)
    wide = program.buffer(49 * 16, "none")
    with pytest.raises(ValueError, match="at most 48 query heads"):
        program.attend(wide, wide, 0, 49, 1.0)


def test_a_weights_file_that_shrinks_in_use_is_an_error_not_a_crash(tmp_path: Path) -> None:
    raw = programs.random_raw(Format.Q8_0, 4096, 256, np.random.default_rng(0))
    layout = native.LAYOUTS["Q8_0"]
    data = np.empty(native.packed_bytes(layout, 4096, 256), np.uint8)
    native.pack(layout, raw, 256, data)
    path = tmp_path / "weights"
    path.write_bytes(data.tobytes())
    memory = native.Memory.map_file(str(path))
    weight = native.Weight.create(memory, 0, layout, 4096, 256)
    program = programs.new_program()
    source, target = program.buffer(256, "narrow"), program.buffer(4096, "none")
    program.quantize(source)
    program.linear(source, [(weight, None, target, False)])
    program.open_cache(64)
    with open(path, "r+b") as file:
        file.truncate(4096)
    with pytest.raises(RuntimeError, match="changed or shrank on disk"):
        programs.run(program, 1)
    assert memory.is_lost


def test_mapped_files_are_read_only_and_must_exist(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("missing", "empty"):
        with pytest.raises(RuntimeError, match=name):
            native.Memory.map_file(str(tmp_path / name))


def test_mapped_files_ask_for_huge_pages(tmp_path: Path) -> None:
    if not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("this kernel has no transparent huge pages")
    path = tmp_path / "weights"
    path.write_bytes(bytes(4096))
    memory = native.Memory.map_file(str(path))
    mappings = Path("/proc/self/smaps").read_text().split(str(path))
    assert not memory.is_lost
    assert "hg" in next(line for line in mappings[1].splitlines() if "VmFlags" in line).split()


def test_the_instruction_set_can_be_forced_but_not_invented(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simplest = native.available_isas()[-1]
    monkeypatch.setenv("WAZN_ISA", simplest)
    assert native.chosen_isa() == simplest
    monkeypatch.setenv("WAZN_ISA", "sse9")
    with pytest.raises(Exception, match="WAZN_ISA=sse9 is not available"):
        native.chosen_isa()


def test_ceilings_of_the_machine_are_measured() -> None:
    assert native.measure_bandwidth(16 << 20, 1) > 1e8
    assert native.measure_compute(1) > 1e9
