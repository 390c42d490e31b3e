"""Resident memory of `wazn serve` after several users at once: weights, KV cache, and all else.

    python -m bench.resident MODEL.gguf [--users 8] [--words 400] [--tokens 64]

Starts the server on a free port of the loopback interface, has every user send one conversation of
so many random words, and reads the peaks that Linux keeps of the processes. Weights are those
packed; the cache is what the tokens that were used fill, in whole pages. The rest of the worker is
the interpreter, the tokenizer, the buffers of a step and logits. Libraries that processes share are
counted in each. Linux only.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from wazn.cli.console import print_table
from wazn.models.load import load_model
from wazn.models.model import PAGE

VOCABULARY = "the a of weight server river open model runs on and stone light grows under".split()
MIB = 1 << 20


@contextmanager
def server(path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running server and the address of its API."""
    command = [sys.executable, "-m", "wazn", "serve", str(path), "--port", "0"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline().split()[-1]
    finally:
        child.terminate()
        child.wait()


def ask(address: str, seed: int, words: int, tokens: int) -> int:
    """One conversation; the tokens that it took."""
    prompt = " ".join(random.Random(seed).choices(VOCABULARY, k=words))
    model = httpx.get(f"{address}/models").json()["data"][0]["id"]
    request: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
    }
    reply = httpx.post(f"{address}/chat/completions", json=request, timeout=None)
    reply.raise_for_status()
    return int(reply.json()["usage"]["total_tokens"])


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(each for child in children for each in family(int(child)))]


def peak(pid: int) -> int:
    """Most bytes that were resident at once."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--words", type=int, default=400)
    parser.add_argument("--tokens", type=int, default=64)
    asked = parser.parse_args()
    model = load_model(asked.model, threads=None, precision="fast", kv="auto", weights="native")
    weights, page_bytes = model.weight_bytes, model.page_bytes
    del model
    with server(asked.model) as (child, address), ThreadPoolExecutor(asked.users) as users:
        used = users.map(
            lambda seed: ask(address, seed, asked.words, asked.tokens), range(asked.users)
        )
        cache = sum(-(-tokens // PAGE) * page_bytes for tokens in used)
        peaks = {pid: peak(pid) for pid in family(child.pid)}
    server_peak, worker_peak, *others = peaks.values()
    print_table(
        [f"resident at most, {asked.users} users", "MiB"],
        [
            ["packed weights", f"{weights / MIB:.1f}"],
            ["KV cache", f"{cache / MIB:.1f}"],
            ["all else of the worker", f"{(worker_peak - weights - cache) / MIB:.1f}"],
            ["worker in all", f"{worker_peak / MIB:.1f}"],
            ["server", f"{server_peak / MIB:.1f}"],
            ["sandbox of the chat template", f"{sum(others) / MIB:.1f}"],
        ],
    )


if __name__ == "__main__":
    main()
