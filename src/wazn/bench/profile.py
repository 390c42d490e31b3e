"""Where the time of a step goes: every kind of operation, its time, bytes and multiply-accumulates.

Runs the two tasks of a benchmark with the program's clock on. An operation's time is that of the
thread that called, the wait for the others included. Knows programs and ceilings, no contenders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wazn.bench.ceilings import Ceilings, measure_ceilings
from wazn.bench.wazn import Wazn
from wazn.bench.workload import DECODED_TOKENS, Kind, Task
from wazn.models.operation import Operation
from wazn.weights.choice import Weights

WARM_UP_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Row:
    """All operations of one kind in one task: seconds, bytes of weights read, products done."""

    what: str
    seconds: float
    num_bytes: float
    macs: float

    def bound_s(self, ceilings: Ceilings) -> float:
        """The least time that reading and multiplying could take."""
        return max(self.num_bytes / ceilings.bandwidth, self.macs / ceilings.compute)


@dataclass(frozen=True, slots=True)
class TaskProfile:
    """One task: seconds in all, those of them inside the program, and the operations."""

    task: Task
    seconds: float
    rows: list[Row]

    @property
    def outside_s(self) -> float:
        """Scheduling, choice of tokens, text: everything around the native calls."""
        return self.seconds - sum(row.seconds for row in self.rows)


@dataclass(frozen=True, slots=True)
class Profile:
    """A model's profile on this machine."""

    file: str
    threads: int
    ceilings: Ceilings
    tasks: list[TaskProfile]


def profile(
    path: Path,
    threads: int,
    tasks: list[Task],
    notify: Callable[[str], None],
    weights: Weights = "native",
) -> Profile:
    """Measure every task once, after a warm-up."""
    ceilings = measure_ceilings(threads)
    notify(f"loading {path.name}")
    contender = Wazn(path, threads, weights)
    profiles = []
    for task in tasks:
        notify(f"profiling {task}")
        contender.prefill(task.prompts(0, contender.vocab_size, WARM_UP_TOKENS))
        profiles.append(_profile_task(contender, task))
    contender.close()
    return Profile(path.name, threads, ceilings.best_of(measure_ceilings(threads)), profiles)


def _profile_task(contender: Wazn, task: Task) -> TaskProfile:
    prompts = task.prompts(1, contender.vocab_size)
    model = contender.model
    if task.kind == "prefill":
        model.start_profile()
        seconds = contender.prefill(prompts)
    else:
        seconds = contender.decode(prompts, before=model.start_profile)
    rows: dict[str, Row] = {}
    for operation, spent in model.operation_seconds():
        found = rows.get(operation.what, Row(operation.what, 0.0, 0.0, 0.0))
        rows[operation.what] = _with(found, operation, spent, task, model.max_rows)
    by_time = sorted(rows.values(), key=lambda row: -row.seconds)
    return TaskProfile(task, seconds, [row for row in by_time if row.seconds])


def _with(row: Row, operation: Operation, seconds: float, task: Task, max_rows: int) -> Row:
    """The row with one operation more, which every step of the task ran once."""
    steps, rows = _work(task.kind, task, max_rows)
    if operation.is_head:  # only the last token of a prompt has its logits taken
        rows = task.users * (DECODED_TOKENS if task.kind == "decode" else 1)
    return Row(
        row.what,
        row.seconds + seconds,
        row.num_bytes + operation.weight_bytes * steps,
        row.macs + operation.macs_per_row * rows,
    )


def _work(kind: Kind, task: Task, max_rows: int) -> tuple[int, int]:
    """Steps of a task, and rows that they have together."""
    if kind == "decode":
        return DECODED_TOKENS, DECODED_TOKENS * task.users
    rows = task.users * task.prompt_tokens
    return -(-rows // max_rows), rows


def to_table(profiled: TaskProfile, ceilings: Ceilings) -> tuple[list[str], list[list[str]]]:
    """Header and rows for people, the longest first; the last row is what is around the program."""
    header = ["operation", "ms", "share", "GB/s", "GMAC/s", "of bound"]
    rows = [_cells(row, profiled.seconds, ceilings) for row in profiled.rows]
    outside = profiled.outside_s
    share = f"{outside / profiled.seconds:.1%}"
    return header, [*rows, ["outside the program", f"{outside * 1e3:.2f}", share, "", "", ""]]


def _cells(row: Row, total_s: float, ceilings: Ceilings) -> list[str]:
    bound = row.bound_s(ceilings)
    return [
        row.what,
        f"{row.seconds * 1e3:.2f}",
        f"{row.seconds / total_s:.1%}",
        f"{row.num_bytes / row.seconds / 1e9:.1f}" if row.num_bytes else "",
        f"{row.macs / row.seconds / 1e9:.1f}" if row.macs else "",
        f"{bound / row.seconds:.0%}" if bound else "",
    ]


def to_object(profiled: Profile) -> dict[str, object]:
    """For programs: seconds, bytes and multiply-accumulates of every kind of operation."""
    return {
        "file": profiled.file,
        "threads": profiled.threads,
        "read_bytes_s": round(profiled.ceilings.bandwidth),
        "compute_mac_s": round(profiled.ceilings.compute),
        "tasks": [
            {
                "kind": one.task.kind,
                "users": one.task.users,
                "seconds": one.seconds,
                "operations": [
                    {
                        "what": row.what,
                        "seconds": row.seconds,
                        "bytes": round(row.num_bytes),
                        "macs": round(row.macs),
                    }
                    for row in one.rows
                ],
            }
            for one in profiled.tasks
        ],
    }
