"""Loading with pinned threads, on this machine and on one of two nodes that is made of its CPUs."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.golden.build import tiny_directory
from tests.golden.catalogue import LLAMA
from wazn import LLM
from wazn.errors import BadRequest, DoesNotFit
from wazn.models.load import Listener, load_model
from wazn.topology import read_topology

ALLOWED = sorted(os.sched_getaffinity(0))
TWO_CPUS = (ALLOWED[0], ALLOWED[-1])
IDS = list(range(40))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny Llama of random weights."""
    return tiny_directory(LLAMA, tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture
def two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first usable CPU is one node, the last one another."""
    for node, cpu in enumerate(TWO_CPUS):
        folder = tmp_path / f"sys/devices/system/node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{cpu}\n")
    monkeypatch.setattr("wazn.models.load.read_topology", lambda: read_topology(tmp_path))


def _logits(model: Path, **options: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with LLM(model, memory=2**26, **options) as llm:  # type: ignore[arg-type]
        return llm.logits(IDS)


def test_threads_are_free_unless_the_setting_or_the_caller_says_otherwise(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_model(model, threads=2).options.cpus == ()
    assert load_model(model, threads=1, pin=True).options.cpus == (ALLOWED[0],)
    monkeypatch.setenv("WAZN_PIN", "1")
    assert load_model(model, threads=1).options.cpus == (ALLOWED[0],)
    assert load_model(model, threads=1, pin=False).options.cpus == ()


def test_named_cpus_are_taken_one_a_thread(model: Path) -> None:
    loaded = load_model(model, pin=[ALLOWED[-1]])
    assert (loaded.options.threads, loaded.options.cpus) == (1, (ALLOWED[-1],))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pin": [9999]}, r"CPU 9999, which this process may not use"),
        ({"pin": []}, "empty"),
        ({"pin": 3}, r"^pin is 3; it can be True, False or a list of CPUs"),
        ({"pin": [ALLOWED[0]], "threads": 2}, r"names 1 CPUs for 2 threads"),
        ({"pin": True, "threads": 1024}, r"^1024 threads cannot each be pinned"),
    ],
)
def test_what_cannot_be_pinned_is_refused_in_a_sentence(
    model: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        load_model(model, **options)  # type: ignore[arg-type]


def test_one_node_needs_no_copy(model: Path) -> None:
    said: list[str] = []
    loaded = load_model(model, pin=[ALLOWED[0]], listener=Listener(notify=said.append))
    assert said == []
    assert loaded.weight_bytes > loaded.copied_bytes > 0


@pytest.mark.usefixtures("two_nodes")
def test_two_nodes_get_a_copy_and_say_so_and_the_answers_are_the_same(model: Path) -> None:
    said: list[str] = []
    loaded = load_model(model, pin=list(TWO_CPUS), listener=Listener(notify=said.append))
    (sentence,) = said
    assert "so that each of 2 NUMA nodes has what its threads read" in sentence
    table = loaded.weights.places["model.embed_tokens.weight"]
    assert 0 < loaded.weight_bytes < 2 * table.num_bytes  # what is still read where it was packed
    expected = _logits(model, threads=1)
    assert np.array_equal(expected, _logits(model, pin=list(TWO_CPUS)))
    assert np.array_equal(expected, _logits(model, pin=[*TWO_CPUS, TWO_CPUS[0]]))


@pytest.mark.usefixtures("two_nodes")
def test_a_copy_that_does_not_fit_is_refused_with_the_figures(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wazn.models.load.available_memory", lambda: 4000)
    with pytest.raises(DoesNotFit, match=r"pinned to 2 NUMA nodes .*: \d.*B, and 4.*B of memory"):
        load_model(model, pin=list(TWO_CPUS))
