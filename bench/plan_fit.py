"""Measure models and fit the constants of ``wazn plan`` to them.

    python -m bench.plan_fit measure --fitted FILE.gguf … --checked FILE.gguf …
    python -m bench.plan_fit fit

``measure`` replaces the runs that ``plan_runs.json`` has of these models on this kind of CPU;
``fit`` reads that file and writes ``src/wazn/plan/constants.json``. Only ``--fitted`` models make
the constants, ``--checked`` ones only show how far they carry. After a change of a kernel, run
both.

A run lasts seconds, so that a quiet moment is enough for it; one during which other programs took
more than MAX_FOREIGN of the CPU is thrown away and tried again; of several the best counts. Other
guests of a hypervisor share its memory, whose bandwidth changes by the minute: each run has the one
measured around it. Compute is the best of the session.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wazn.bench.ceilings import measure_ceilings
from wazn.bench.quiet import read_machine, read_process
from wazn.bench.wazn import Wazn
from wazn.bench.workload import DECODED_TOKENS, Kind, Task
from wazn.machine import read_cpu
from wazn.plan.gguf import read_gguf
from wazn.plan.memory import KvFormat, Load
from wazn.plan.shape import Cache, Experts, Shape, Weights
from wazn.plan.speed import Work, decode_work, prefill_work

RUNS = Path(__file__).parent / "plan_runs.json"
CONSTANTS = Path(__file__).parent.parent / "src/wazn/plan/constants.json"
TASKS: tuple[tuple[Kind, int, int], ...] = (
    ("prefill", 1, 512),
    ("decode", 1, 256),
    ("decode", 4, 256),
    ("decode", 16, 256),
    ("prefill", 1, 2048),
)
MAX_FOREIGN = 0.03  # /proc counts in ticks of 10 ms, and the shortest run has 60 of them a thread
MAX_TRIES = 12
QUIET_RUNS = 3
ENOUGH_S = 8.0  # no further run of a task that took so long
PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """The best of the quiet runs of one task, and the bandwidth measured around them."""

    model: str
    fitted: bool
    kind: Kind
    users: int
    context: int
    tok_s: float
    bandwidth: float
    foreign_share: float
    measured: str


def main() -> None:
    """Measure or fit, as asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--fitted", type=Path, nargs="*", default=[])
    measuring.add_argument("--checked", type=Path, nargs="*", default=[])
    commands.add_parser("fit")
    asked = parser.parse_args()
    if asked.command == "fit":
        return fit()
    for path in (*asked.fitted, *asked.checked):
        measure(path, fitted=path in asked.fitted)


def measure(path: Path, *, fitted: bool) -> None:
    """Measure every task of one model; its runs take the place of its former ones one by one."""
    threads = read_cpu().useful_threads
    name = f"{path.stem} on {read_cpu().name}"
    contender = Wazn(path, threads)
    after = measure_ceilings(threads)
    model: dict[str, Any] = {
        "kv": contender.model.kv_format,
        "threads": threads,
        "cpu": read_cpu().name,
        "shape": asdict(_merged(read_gguf(path))),
        "compute": after.compute,
    }
    runs = []
    for kind, users, context in TASKS:
        best, foreign = _best_run(contender, Task(kind, users, context), threads)
        before, after = after, measure_ceilings(threads)
        if not best:
            print(f"{name} {kind} {users} x {context}: never quiet, left out", flush=True)
            continue
        around = before.best_of(after)
        model["compute"] = max(model["compute"], around.compute)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        measured = (best, around.bandwidth, foreign, when)
        runs.append(Run(name, fitted, kind, users, context, *measured))
        print(runs[-1], flush=True)
        _record(name, model, runs)
    contender.close()


def _record(name: str, model: dict[str, Any], runs: list[Run]) -> None:
    """Keep what was measured so far in the place of what the file has of this model."""
    record = json.loads(RUNS.read_text()) if RUNS.exists() else {"models": {}, "runs": []}
    record["models"][name] = model
    others = [run for run in record["runs"] if run["model"] != name]
    record["runs"] = others + [asdict(run) for run in runs]
    RUNS.write_text(json.dumps(record, indent=1) + "\n")


def _best_run(contender: Wazn, task: Task, threads: int) -> tuple[float, float]:
    """The highest rate of the quiet runs, with the share that other programs took; 0 without."""
    began, best, quiet = time.perf_counter(), (0.0, 0.0), 0
    for attempt in range(MAX_TRIES):
        rate, foreign = _run(contender, task, attempt, threads)
        if foreign <= MAX_FOREIGN:
            best, quiet = max(best, (rate, foreign)), quiet + 1
            if quiet == QUIET_RUNS or time.perf_counter() - began > ENOUGH_S:
                break
        else:
            time.sleep(PAUSE_S)
    return best


def _run(contender: Wazn, task: Task, seed: int, threads: int) -> tuple[float, float]:
    """Tokens per second, and the share of the CPU that other programs took meanwhile."""
    prompts = task.prompts(seed, contender.vocab_size)
    start = _mark()
    if task.kind == "prefill":
        seconds = contender.prefill(prompts)
    else:
        begun: list[tuple[float, float, float]] = []
        seconds = contender.decode(prompts, before=partial(_append_mark, begun))
        (start,) = begun
    end = _mark()
    foreign = max(0.0, end[1] - start[1] - (end[2] - start[2]))
    share = foreign / ((end[0] - start[0]) * threads)
    return task.num_tokens / seconds, round(share, 4)


def _append_mark(marks: list[tuple[float, float, float]]) -> None:
    marks.append(_mark())


def _mark() -> tuple[float, float, float]:
    """Time, CPU seconds of all programs and of this one."""
    machine = read_machine()
    return time.perf_counter(), machine.busy + machine.stolen, read_process(os.getpid())


def _merged(shape: Shape) -> Shape:
    """The shape with equal matrices counted together, for a short record."""
    counts: Counter[Weights] = Counter()
    for part in shape.weights:
        counts[replace(part, count=1)] += part.count
    return replace(shape, weights=tuple(replace(one, count=n) for one, n in counts.items()))


def shape_of(model: dict[str, Any]) -> Shape:
    """The shape that a record of ``measure`` holds."""
    held = dict(model["shape"])
    held["weights"] = tuple(Weights(**one) for one in held["weights"])
    held["caches"] = tuple(Cache(**one) for one in held["caches"])
    held["experts"] = Experts(**held["experts"]) if held["experts"] else None
    return Shape(**held)


def works_of(record: dict[str, Any], run: dict[str, Any]) -> list[Work]:
    """The steps of a run; decoding is taken in the middle of the tokens that were decoded."""
    model = record["models"][run["model"]]
    shape: Shape = shape_of(model)
    kv: KvFormat = model["kv"]
    if run["kind"] == "prefill":
        return prefill_work(shape, run["context"], kv)
    middle = Load(run["users"], run["context"] + DECODED_TOKENS // 2)
    return [decode_work(shape, middle, kv)]


def tokens_of(run: dict[str, Any]) -> int:
    """Tokens that those steps take in or make."""
    return int(run["context"] if run["kind"] == "prefill" else run["users"])


def _row(record: dict[str, Any], run: dict[str, Any]) -> list[float]:
    """What one second of the run is made of: reading and multiplying at the ceilings."""
    seconds = tokens_of(run) / run["tok_s"]
    works, model = works_of(record, run), record["models"][run["model"]]
    return [
        sum(work.num_bytes for work in works) / run["bandwidth"] / seconds,
        sum(work.products for work in works) / model["compute"] / seconds,
    ]


def fit() -> None:
    """Least squares of relative errors over the fitted models; none reads faster than the probe."""
    record = json.loads(RUNS.read_text())
    matrix = np.array([_row(record, run) for run in record["runs"] if run["fitted"]])
    solution = np.linalg.lstsq(matrix, np.ones(len(matrix)), rcond=None)[0]
    if solution[0] < 1:  # reading and multiplying overlap: the sum would make up for it so
        reading, multiplying = matrix.T
        solution = np.array([1.0, multiplying @ (1 - reading) / (multiplying @ multiplying)])
    if (solution <= 0).any():
        raise SystemExit("The runs do not tell reading from multiplying; measure more of them.")
    errors = dict(_errors(record, solution.tolist()))
    constants = {
        "read_share": round(1 / float(solution[0]), 4),
        "multiply_share": round(1 / float(solution[1]), 4),
        "error": math.ceil(100 * max(abs(error) for error in errors.values())) / 100,
    }
    CONSTANTS.write_text(json.dumps({"constants": constants}) + "\n")
    print(constants)
    for what, error in errors.items():
        print(f"{error:+6.1%}  {what}")


def _errors(record: dict[str, Any], solution: list[float]) -> Iterator[tuple[str, float]]:
    """Predicted over measured rate, less one."""
    for run in record["runs"]:
        seconds = sum(a * b for a, b in zip(_row(record, run), solution, strict=True))
        role = "fitted" if run["fitted"] else "checked"
        yield (
            f"{run['model']}: {run['kind']}, {run['users']} x {run['context']}, "
            f"{run['tok_s']:.1f} tok/s ({role})",
            1 / seconds - 1,
        )


if __name__ == "__main__":
    main()
