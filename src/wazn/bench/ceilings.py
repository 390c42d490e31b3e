"""What the machine could do at most, measured in the same run, and the share that was reached.

Decoding is bound by reading memory: the weights once per step (head included, the embedding row
excluded) and each sequence's keys and values. Prefill is bound by multiply-accumulates. All
contenders are held against the same work, the one that the model's shapes demand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wazn.bench.workload import DECODED_TOKENS, Task

# At least a GiB, so that no cache holds a share of it worth mentioning.
BANDWIDTH_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Bytes read and multiply-accumulates done per second, at best."""

    bandwidth: float
    compute: float

    def best_of(self, other: Ceilings) -> Ceilings:
        """The higher of each: a ceiling is what the machine can do when nothing interferes."""
        return Ceilings(
            max(self.bandwidth, other.bandwidth),
            max(self.compute, other.compute),
        )

    def share(self, task: Task, work: Mapping[str, int], rate: float) -> float:
        """``rate`` (tokens per second) over the rate that the ceiling allows for this task."""
        if task.kind == "prefill":
            return rate * work["prefill_macs"] / self.compute
        positions = task.users * (task.prompt_tokens + DECODED_TOKENS // 2)  # halfway
        step_bytes = work["weight_bytes"] + positions * work["position_bytes"]
        return rate / task.users * step_bytes / self.bandwidth


def measure_ceilings(threads: int) -> Ceilings:
    """Measure both now; takes about a second and a GiB of memory."""
    from wazn import native

    return Ceilings(
        native.measure_bandwidth(BANDWIDTH_BYTES, threads), native.measure_compute(threads)
    )
