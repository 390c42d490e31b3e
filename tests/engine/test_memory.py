"""The default budget of the cache, from what the machine has free."""

import pytest

from wazn.engine import memory
from wazn.engine.memory import GIB, default_budget
from wazn.errors import DoesNotFit


def test_two_gib_and_the_weights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10 * GIB)
    assert default_budget(0) == 8 * GIB
    assert default_budget(5 * GIB) == 3 * GIB


def test_too_little_memory_is_refused_with_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 4 * GIB)
    with pytest.raises(DoesNotFit, match=r"1\.5 GiB of memory are free beside the weights"):
        default_budget(int(2.5 * GIB))
    with pytest.raises(DoesNotFit, match=r"0\.0 GiB of memory are free"):
        default_budget(9 * GIB)


def test_this_machine_can_be_read() -> None:
    assert default_budget(0) > 0
