"""Where a model that does not fit here would: one larger machine, or several like this one.

The classes are servers and desktops as they are sold: memory that their slots commonly take, and
the bandwidth that their channels have by arithmetic (channels x transfers per second x 8 bytes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from wazn.plan.memory import Memory
from wazn.plan.shape import Shape
from wazn.plan.speed import Machine

USABLE_SHARE = 0.9
"""Of a machine's memory; the rest is the system's."""


@dataclass(frozen=True, slots=True)
class MachineClass:
    """``memory_bytes`` of memory in ``channels`` channels of ``transfers`` per second."""

    name: str
    memory_bytes: int
    channels: int
    transfers: float

    @property
    def bandwidth(self) -> float:
        """Bytes per second that the channels carry at most."""
        return self.channels * self.transfers * 8


GIB = 1 << 30
CLASSES = (
    MachineClass("a laptop with 16 GiB, DDR5-5600", 16 * GIB, 2, 5.6e9),
    MachineClass("a desktop with 32 GiB, DDR5-5600", 32 * GIB, 2, 5.6e9),
    MachineClass("a desktop with 64 GiB, DDR5-5600", 64 * GIB, 2, 5.6e9),
    MachineClass("a desktop with 128 GiB, DDR5-5600", 128 * GIB, 2, 5.6e9),
    MachineClass("a workstation with 256 GiB, 8 channels DDR5-5600", 256 * GIB, 8, 5.6e9),
    MachineClass("a server with 384 GiB, 12 channels DDR5-4800", 384 * GIB, 12, 4.8e9),
    MachineClass("a server with 768 GiB, 12 channels DDR5-4800", 768 * GIB, 12, 4.8e9),
    MachineClass("a server with 1536 GiB, 12 channels DDR5-4800", 1536 * GIB, 12, 4.8e9),
    MachineClass("a server with 3072 GiB, 24 channels DDR5-4800", 3072 * GIB, 24, 4.8e9),
)


@dataclass(frozen=True, slots=True)
class Placement:
    """``larger``: the smallest class that holds it, None if none does.

    ``machines_like_this``: how many, each with whole layers and the cache of its layers; None
    where a layer alone is too large.
    """

    fits_here: bool
    larger: MachineClass | None
    machines_like_this: int | None


def place(shape: Shape, memory: Memory, machine: Machine) -> Placement:
    """Where a model with that need of memory would run."""
    fits = memory.total <= machine.memory_bytes
    larger = next((one for one in CLASSES if memory.total <= one.memory_bytes * USABLE_SHARE), None)
    shared = memory.total - memory.working
    room = machine.memory_bytes - memory.working
    layer = shared / shape.num_layers
    if fits:
        return Placement(True, larger, 1)
    if layer > room:
        return Placement(False, larger, None)
    return Placement(False, larger, math.ceil(shape.num_layers / (room // layer)))
