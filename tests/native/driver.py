"""Kernels of any instruction set, compiled with a small driver and run in a process of their own.

``TARGETS`` says how: natively where this CPU can, through SIMDe on any x86-64 CPU with AVX2, or for
ARM under qemu. Objects are kept in ``build/`` under a digest of what they were made from.
"""

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wazn import native

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
HERE = Path(__file__).parent
OBJECTS = ROOT / "build" / "kernel-driver"
KERNELS = ("kernels.cpp", "layers.cpp", "linear_4bit.cpp", "linear_other.cpp", "linear_wide.cpp")
FLAGS = ("-std=c++20", "-Wall", "-Wextra", "-ffp-contract=off", f"-I{NATIVE}")
AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni")
# gcc 12 warns of its own header for AVX-512.
NATIVE_FLAGS = {
    "avx2": AVX2,
    "avx_vnni": (*AVX2, "-mavxvnni"),
    "avx512_vnni": (*AVX2, *AVX512, "-Wno-uninitialized", "-Wno-maybe-uninitialized"),
    "neon_dotprod": ("-march=armv8.2-a+dotprod",),
}
EMULATED = (*AVX2, "-Wno-psabi", "-include", str(HERE / "emulated_x86.h"))

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Target:
    """One instruction set and a way to run its kernels here."""

    isa: str
    flags: tuple[str, ...]
    compiler: str = "g++"
    runner: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # files and programs
    machine: str = "x86_64"  # on which this target works; empty: any

    def missing(self) -> str | None:
        """Why this target cannot be checked here."""
        if self.machine and platform.machine() != self.machine:
            return f"needs a machine of type {self.machine}"
        for need in (self.compiler, *self.runner[:1], *self.needs):
            if not (Path(need).exists() if need.startswith("/") else shutil.which(need)):
                return f"{need} is not installed"
        return None


def _natively(isa: str, machine: str) -> Target:
    return Target(isa, ("-O3", *NATIVE_FLAGS[isa]), machine=machine)


_SIMDE = ("/usr/include/simde/x86/avx512.h",)
_ARM = "aarch64-linux-gnu"
TARGETS = {
    "emulated avx_vnni": Target("avx_vnni", ("-O1", *EMULATED), needs=_SIMDE),
    "emulated avx512_vnni": Target(
        "avx512_vnni", ("-O1", "-DEMULATE_AVX512_VNNI", *EMULATED), needs=_SIMDE
    ),
    "emulated neon_dotprod": Target(
        "neon_dotprod",
        ("-O1", *NATIVE_FLAGS["neon_dotprod"]),
        compiler=f"{_ARM}-g++",
        runner=("qemu-aarch64", "-cpu", "max", "-L", f"/usr/{_ARM}"),
        machine="",
    ),
    **{isa: _natively(isa, platform.machine()) for isa in native.available_isas()},
}


def compile_to_object(compiler: str, source: Path, flags: Sequence[str]) -> Path:
    """The object file of a source, from ``build/`` if nothing it depends on has changed."""
    command = [compiler, *FLAGS, *flags, "-Werror", "-c", str(source)]
    digest = hashlib.sha256(repr(command).encode())
    for file in sorted([*NATIVE.iterdir(), *HERE.glob("*.h"), source]):
        digest.update(file.read_bytes())
    target = OBJECTS / f"{source.stem}-{digest.hexdigest()[:20]}.o"
    if not target.exists():
        OBJECTS.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}")
        _check(subprocess.run([*command, "-o", str(partial)], capture_output=True, text=True))
        partial.rename(target)
    return target


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        pytest.fail(f"{' '.join(done.args)} failed:\n{done.stderr[-4000:]}")


class Driver:
    """The kernels of a target, ready to run cases."""

    def __init__(self, target: Target, folder: Path) -> None:
        sources = [*(NATIVE / name for name in (*KERNELS, "pack.cpp")), HERE / "kernel_driver.cpp"]
        flags = (*target.flags, f"-DWAZN_ISA={target.isa}")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(
                pool.map(lambda source: compile_to_object(target.compiler, source, flags), sources)
            )
        program = folder / "driver"
        command = [target.compiler, *map(str, objects), "-o", str(program)]
        _check(subprocess.run(command, capture_output=True, text=True))
        self._command = [*target.runner, str(program)]

    def run(self, cases: Sequence[bytes]) -> list[bytes]:
        """What the kernels answer to each case."""
        done = subprocess.run(self._command, input=b"".join(cases), capture_output=True)
        if done.returncode:
            pytest.fail(f"the driver ended with {done.returncode}: {done.stderr.decode()}")
        answers, output = [], memoryview(done.stdout)
        while output:
            size = int.from_bytes(output[:8], "little")
            answers.append(bytes(output[8 : 8 + size]))
            output = output[8 + size :]
        assert len(answers) == len(cases)
        return answers


OPERATIONS = (
    *("linear", "row", "quantize", "rms_norm", "swiglu", "rope", "attend"),
    *("latent", "index", "layer_norm", "convolve", "delta", "pool", "activate"),
    *("gate", "scale"),
)


def case(operation: str, parameters: Sequence[int], *arrays: Array | None) -> bytes:
    """One case as the driver reads it; None is an empty array."""
    parts = [np.array([OPERATIONS.index(operation), len(parameters), *parameters, len(arrays)])]
    for array in arrays:
        data = np.empty(0, np.uint8) if array is None else np.ascontiguousarray(array)
        parts += [np.array([data.nbytes]), data]
    return b"".join(part.tobytes() for part in parts)
