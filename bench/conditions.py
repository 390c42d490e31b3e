"""Decoding under other conditions than the benchmark's: with sampling, and with stolen cores.

    python -m bench.conditions MODEL.gguf [--repeats 5]

Alternates three ways to decode 64 tokens after 256: greedily; as the model's own defaults sample
(or temperature 0.7, top-k 20, top-p 0.8 where it has none); and greedily while one busy loop per
core competes. Prints medians, and shares of the greedy rate.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from statistics import median

from wazn.bench.wazn import Wazn
from wazn.bench.workload import DECODED_TOKENS, Task
from wazn.cli.console import print_table
from wazn.engine.params import SamplingParams
from wazn.machine import read_cpu

SETTLE_S = 0.5
GREEDY = SamplingParams(temperature=0)
USUAL = SamplingParams(temperature=0.7, top_k=20, top_p=0.8, seed=1)


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """``count`` processes that compute for ever."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(SETTLE_S)
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    cores = read_cpu().useful_threads
    contender = Wazn(asked.model, cores)
    has_defaults = bool(contender.model.generation_defaults)
    sampled = SamplingParams(seed=1) if has_defaults else USUAL
    ways: dict[str, tuple[SamplingParams, Callable[[], AbstractContextManager[None]]]] = {
        "greedy": (GREEDY, nullcontext),
        "sampled": (sampled, nullcontext),
        f"greedy beside {cores} busy loops": (GREEDY, lambda: busy_cores(cores)),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(asked.repeats):
        prompts = Task("decode", 1).prompts(repeat, contender.vocab_size)
        for way, (params, condition) in ways.items():
            contender.sampling = params
            with condition():
                rates[way].append(DECODED_TOKENS / contender.decode(prompts))
    contender.close()
    best = median(rates["greedy"])
    print_table(
        ["decoding", "tok/s", "of greedy", "runs"],
        [
            [way, f"{median(r):.1f}", f"{median(r) / best:.1%}", " ".join(f"{x:.1f}" for x in r)]
            for way, r in rates.items()
        ],
    )


if __name__ == "__main__":
    main()
