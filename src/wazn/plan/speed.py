"""How fast a model would run: the work of a step over what the machine can do.

A step reads the weights that its rows need, once; reads the caches of its sequences; multiplies.
Reading and multiplying do not overlap (that is what measurements show), so the times add up:

    seconds = bytes / (bandwidth x read_share) + products / (compute x multiply_share)

The two shares are what ``bench/plan_fit.py`` fits to measured runs (a third constant, time for each
layer, came out as nothing); the weight of a product in each number format relative to a 4-bit one
is measured on the kernels. Knows shapes and two ceilings; refuses to know what a step is made of
beyond that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from wazn.plan.memory import KvFormat, Load, entry_bytes, step_rows
from wazn.plan.shape import Shape, Weights

# How many products of 4-bit weights take as long as one of so many bits. 6 and 8 bits: seconds of
# one thread for 256 rows of the 1.1 B shape in Q6_K, Q8_0 and Q4_0 (3.51, 3.06, 2.34; AVX-512-VNNI;
# under AVX2 8 bits cost up to 1.95). Floats: 272 GMAC/s of 4-bit products against 103 of float32.
PRODUCT_COST = ((5.6, 1.0), (7.0, 1.5), (9.0, 1.31), (32.0, 2.64))
HEAD_COST = 2.0
"""Activations of the quantised output matrix have 16 bits: two products instead of one."""

ATTENTION_COST = 3.9
"""Attention multiplies float32 and reaches two thirds of its ceiling: 272 / (103 x 0.68)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine can do at best: bytes read and 4-bit products, both per second.

    ``foreign_share``: how much of the CPU other programs took while that was measured.
    """

    bandwidth: float
    compute: float
    memory_bytes: int
    threads: int
    foreign_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Constants:
    """What the engine reaches of it; ``error`` is the largest share by which the fit was off."""

    read_share: float
    multiply_share: float
    error: float


@dataclass(frozen=True, slots=True)
class Work:
    """What one step does: bytes of memory read, products in units of 4-bit ones."""

    num_bytes: float
    products: float

    def seconds(self, machine: Machine, constants: Constants) -> float:
        """The time it takes there."""
        reading = self.num_bytes / (machine.bandwidth * constants.read_share)
        return reading + self.products / (machine.compute * constants.multiply_share)


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second of all users together, and how long the last of them waits at first.

    ``first_token_s``: all users send prompts of the full context at the same moment.
    """

    load: Load
    prefill_tok_s: float
    decode_tok_s: float
    first_token_s: float


@cache
def fitted_constants() -> Constants:
    """The constants that come with wazn."""
    return Constants(**json.loads((files("wazn.plan") / "constants.json").read_text())["constants"])


def speed_of(
    shape: Shape, load: Load, kv: KvFormat, machine: Machine, constants: Constants
) -> Speed:
    """Prefill of the whole context, then decoding at its end."""
    prefill = sum(
        work.seconds(machine, constants) for work in prefill_work(shape, load.context, kv)
    )
    step = decode_work(shape, load, kv).seconds(machine, constants)
    return Speed(
        load,
        prefill_tok_s=load.context / prefill,
        decode_tok_s=load.users / step,
        first_token_s=load.users * prefill,
    )


def decode_work(shape: Shape, load: Load, kv: KvFormat) -> Work:
    """One step in which every user gets a token."""
    return _step(shape, load.users, load.users, load.context, load.users, kv)


def prefill_work(shape: Shape, context: int, kv: KvFormat) -> list[Work]:
    """The steps that take in one prompt, in slices; only its last token has logits."""
    works = []
    most = step_rows(shape)
    for start in range(0, context, most):
        rows = min(most, context - start)
        wanted = 1 if start + rows == context else 0
        # a slice's rows see half of it on average, and read what came before once
        works.append(_step(shape, rows, wanted, start + (rows + 1) // 2, 1, kv))
    return works


def _step(shape: Shape, rows: int, wanted: int, context: int, sequences: int, kv: KvFormat) -> Work:
    num_bytes = products = 0.0
    for part in shape.weights:
        is_head = part.role == "head"
        if is_head and not wanted:
            continue
        num_bytes += part.num_bytes * shape.share_read(part.role, rows)
        products += _products(part, shape, wanted if is_head else rows)
    for kept in shape.caches:
        attended = kept.layers * kept.attended(context)
        num_bytes += sequences * attended * entry_bytes(kept, kv)
        products += rows * attended * kept.macs * ATTENTION_COST
    num_bytes += 2 * sequences * shape.state_bytes  # read and written
    products += rows * shape.state_macs * ATTENTION_COST
    return Work(num_bytes, products)


def _products(part: Weights, shape: Shape, rows: int) -> float:
    """Multiply-accumulates of ``rows`` rows, in units of 4-bit ones."""
    if part.role in ("vector", "embedding", "table"):
        return 0.0
    active = shape.share_read(part.role, 1)
    cost = next(cost for bits, cost in PRODUCT_COST if part.bits <= bits)
    if part.role == "head" and part.bits <= 9:
        cost *= HEAD_COST
    return part.elements * active * rows * cost
