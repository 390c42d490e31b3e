import json
from pathlib import Path

from wazn.bench.ceilings import Ceilings
from wazn.bench.measure import Measurement
from wazn.bench.quiet import QuietMeter
from wazn.bench.report import Entrant, Run, to_facts, to_object, to_table
from wazn.bench.workload import Task
from wazn.machine import Cpu

CPU = Cpu("A CPU", 4, 4, 2, None, ("avx2",), ())


def example(rival: bool = True, noise: list[str] | None = None) -> Run:
    """A run with known figures."""
    rates = {"wazn": [30.0, 20.0, 40.0]} | ({"llama.cpp": [10.0, 10.0, 10.0]} if rival else {})
    tasks = [Task("prefill", 1), Task("decode", 1), Task("decode", 8)]
    return Run(
        file="model.gguf",
        threads=2,
        cpu=CPU,
        entrants=[Entrant("wazn", "1.0"), *([Entrant("llama.cpp", "2.0")] if rival else [])],
        measurements=[Measurement(task, rates) for task in tasks],
        ceilings=Ceilings(bandwidth=22680.0, compute=300.0),
        work={"weight_bytes": 90, "position_bytes": 1, "prefill_macs": 1},
        meter=QuietMeter(2, Path("/nowhere")),
        noise=noise or [],
    )


def test_the_object_has_the_shape_that_programs_rely_on() -> None:
    found = json.loads(json.dumps(to_object(example())))
    assert found["quiet"] is True
    assert found["machine"]["cpu"] == "A CPU"
    ours, theirs = found["contenders"]
    assert (ours["name"], ours["version"], ours["file"]) == ("wazn", "1.0", "model.gguf")
    assert ours["users"]["1"]["prefill_tok_s"] == 30.0
    assert ours["users"]["8"]["decode_tok_s"] == 30.0
    assert theirs["users"]["1"]["decode_tok_s"] == 10.0


def test_every_pairs_ratio_is_printed_beside_the_median() -> None:
    ratios = to_object(example())["ratios"]
    assert ratios["1"]["decode"] == {"median": 3.0, "pairs": [3.0, 2.0, 4.0]}
    assert list(ratios) == ["1", "8"]
    header, rows = to_table(example())
    assert header[-2:] == ["ratio", "ratio of each pair"]
    assert rows[0][-2:] == ["3.00", "3.00 2.00 4.00"]


def test_a_disturbed_run_says_so_and_why() -> None:
    found = to_object(example(noise=["a reason."]))
    assert found["quiet"] is False
    assert found["noise"] == ["a reason."]


def test_alone_there_are_no_ratios() -> None:
    found = to_object(example(rival=False))
    assert found["ratios"] == {}
    assert len(found["contenders"]) == 1
    header, rows = to_table(example(rival=False))
    assert header == ["users", "task", "wazn tok/s", "of ceiling"]
    assert rows[0] == ["1", "prefill", "30.0", "10%"]
    assert rows[1] == ["1", "decode", "30.0", "50%"]


def test_the_facts_name_versions_and_ceilings() -> None:
    facts = dict(to_facts(example()))
    assert facts["llama.cpp"] == "2.0"
    assert facts["read bandwidth"].startswith("0.0 GB/s")
