"""The native core: kernels, recorded programs and the thread pool, compiled from ``native/``.

Importing it needs the compiled extension and a CPU it can run on; where either is missing, the
import raises UnsupportedMachine with what to do, and nothing takes its place.
"""

import os

from wazn.errors import UnsupportedMachine

try:
    from wazn.native._core import (
        LAYOUTS,
        NO_BUFFER,
        PAGE,
        PANEL_ROWS,
        Memory,
        Pool,
        Program,
        Sampler,
        Sampling,
        SamplingState,
        SpecialIds,
        Stream,
        Weight,
        available_isas,
        pack,
        packed_bytes,
        release_free_memory,
        uniform,
    )
except ImportError as error:
    raise UnsupportedMachine(
        f"wazn's native core cannot be loaded ({error}). Install wazn with pip, from a wheel or "
        "with a C++20 compiler at hand."
    ) from error

__all__ = [
    "LAYOUTS",
    "NO_BUFFER",
    "PAGE",
    "PANEL_ROWS",
    "Memory",
    "Pool",
    "Program",
    "Sampler",
    "Sampling",
    "SamplingState",
    "SpecialIds",
    "Stream",
    "Weight",
    "available_isas",
    "chosen_isa",
    "measure_bandwidth",
    "measure_compute",
    "pack",
    "packed_bytes",
    "release_free_memory",
    "uniform",
]


def chosen_isa() -> str:
    """The instruction set the kernels use: WAZN_ISA if set, else the best this CPU has."""
    available = available_isas()
    if not available:
        raise UnsupportedMachine(
            "wazn needs an x86-64 CPU with AVX2, FMA and F16C, or an ARM CPU with the dot-product "
            "instructions (ASIMDDP), and this one lacks them."
        )
    wanted = os.environ.get("WAZN_ISA") or available[0]
    if wanted not in available:
        raise UnsupportedMachine(
            f"WAZN_ISA={wanted} is not available on this CPU; use one of {', '.join(available)}."
        )
    return wanted


def measure_bandwidth(num_bytes: int, threads: int) -> float:
    """Bytes per second that ``threads`` threads read from ``num_bytes`` of memory; best of 4."""
    return Pool(threads).measure_bandwidth(num_bytes)


def measure_compute(threads: int) -> float:
    """Multiply-accumulates per second of the 4-bit kernel on cached data; best of 3."""
    return Pool(threads).measure_compute(chosen_isa())
