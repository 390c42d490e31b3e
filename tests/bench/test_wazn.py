from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.fake_model import FakeModel
from wazn.bench.wazn import Wazn
from wazn.bench.workload import DECODED_TOKENS, Task
from wazn.errors import EngineFailed


@dataclass
class BenchedModel(FakeModel):
    """A fake that also says what its work amounts to."""

    max_rows: int = 512
    macs_per_token: int = 1000
    bytes_per_step: int = 5000
    kv_bytes_per_position: int = 1


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> BenchedModel:
    model = BenchedModel(tokenizer=None)
    monkeypatch.setattr("wazn.bench.wazn.load_model", lambda *_, **__: model)
    monkeypatch.setattr("wazn.__version__", "0", raising=False)
    return model


def test_prefill_computes_every_prompt_once_and_wants_one_token_each(model: BenchedModel) -> None:
    contender = Wazn(Path("model"), 2)
    assert contender.prefill(Task("prefill", 2).prompts(0, contender.vocab_size)) > 0
    assert sum(map(sum, model.batches)) == 2 * 512


@pytest.mark.parametrize("users", [1, 8])
def test_decode_ends_with_steps_that_advance_everyone_by_one(
    model: BenchedModel, users: int
) -> None:
    contender = Wazn(Path("model"), 2)
    assert contender.decode(Task("decode", users).prompts(0, contender.vocab_size)) > 0
    assert model.batches[-DECODED_TOKENS:] == [[1] * users] * DECODED_TOKENS
    assert sum(map(sum, model.batches[:-DECODED_TOKENS])) >= users * 256


def test_a_turn_leaves_nothing_behind(model: BenchedModel) -> None:
    contender = Wazn(Path("model"), 2)
    for pair in range(3):
        contender.decode(Task("decode", 2).prompts(pair, contender.vocab_size))
        model.batches.clear()
        contender.prefill(Task("prefill", 1).prompts(pair, contender.vocab_size))
        assert model.batches == [[512]]


def test_work_is_that_of_the_models_shapes(model: BenchedModel) -> None:
    assert Wazn(Path("model"), 2).work() == {
        "position_bytes": 1,
        "weight_bytes": 5000,
        "prefill_macs": 1000,
    }


def test_a_failing_model_ends_the_turn_with_its_reason(model: BenchedModel) -> None:
    contender = Wazn(Path("model"), 2)
    model.error = RuntimeError("out of pages")
    with pytest.raises(EngineFailed, match="out of pages"):
        contender.prefill([[1, 2, 3]])


def test_closing_frees_the_model(model: BenchedModel) -> None:
    Wazn(Path("model"), 2).close()
    assert model.is_closed
