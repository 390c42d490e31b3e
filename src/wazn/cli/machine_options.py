"""Options of ``wazn plan`` and ``wazn cost`` that describe the machine and what it costs.

A machine is measured unless it is described; what owning it costs is assumed unless it is given,
and shown either way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wazn.cli.options import parse_size
from wazn.errors import BadRequest

if TYPE_CHECKING:
    from wazn.plan.memory import KvFormat
    from wazn.plan.shape import Shape
    from wazn.plan.speed import Machine
    from wazn.plan.subject import Subject
    from wazn.weigh.hardware import Hardware, Measured

MAX_DISTURBANCE = 0.05


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """Another machine than this one, and how weights and caches are stored."""

    bandwidth: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="GB/S", help="Plan for a machine that reads this fast."),
    ] = None
    compute: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="GMAC/S", help="... and does so many 4-bit products."),
    ] = None
    memory: Annotated[
        int | None,
        typer.Option(parser=parse_size, metavar="SIZE", help="... and has this much memory free."),
    ] = None
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads; else one per usable core.")
    ] = None
    format: Annotated[
        str | None,
        typer.Option(help="Number format, such as Q4_K_M; else the one it is published in."),
    ] = None
    kv: Annotated[
        Literal["auto", "float32", "float16", "int8"],
        typer.Option(help="Number format of the KV cache."),
    ] = "auto"


@dataclass(frozen=True, slots=True)
class HardwareOptions:
    """What the machine costs; what is not given is assumed, or measured where it can be."""

    machine_price: Annotated[
        float | None, typer.Option(metavar="USD", help="What the machine cost; 0 if it is paid.")
    ] = None
    lifetime: Annotated[
        float | None, typer.Option(metavar="YEARS", help="How long it will be used.")
    ] = None
    watts: Annotated[
        float | None, typer.Option(metavar="W", help="Power at the plug when it is busy.")
    ] = None
    idle_watts: Annotated[
        float | None, typer.Option(metavar="W", help="Power at the plug when it is idle.")
    ] = None
    power_price: Annotated[
        float | None, typer.Option(metavar="USD", help="Price of a kilowatt-hour.")
    ] = None
    busy: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Most of the day that it can be kept busy, 0 to 1."),
    ] = None


def find_subject(model: str, options: MachineOptions) -> Subject:
    """The model asked about; says so before it uses the network."""
    from wazn.cli.console import print_note
    from wazn.plan import subject
    from wazn.settings import load_settings

    def announce(text: str) -> None:
        print_note(f"wazn: reading config.json of {text}, nothing else of it")

    return subject.find_subject(model, options.format, load_settings(), announce)


def find_machine(options: MachineOptions) -> tuple[Machine, Measured | None]:
    """The machine described, or this one measured; the latter with the watts it took, if known."""
    described = (options.bandwidth, options.compute, options.memory)
    if all(value is None for value in described):
        return _measure(options.threads)
    if options.bandwidth is None or options.compute is None or options.memory is None:
        raise BadRequest("describe a machine with all of --bandwidth, --compute and --memory.")
    from wazn.plan.speed import Machine

    threads = options.threads or 1
    return Machine(options.bandwidth * 1e9, options.compute * 1e9, options.memory, threads), None


def disturbance(machine: Machine) -> str | None:
    """What to say if other programs ran while this machine was measured."""
    if machine.foreign_share <= MAX_DISTURBANCE:
        return None
    return (
        f"! Other programs took {machine.foreign_share:.0%} of the CPU while this machine was "
        "measured: alone it would be faster."
    )


def _measure(threads: int | None) -> tuple[Machine, Measured | None]:
    from wazn.cli.console import Waiting
    from wazn.plan.probe import probe_machine
    from wazn.weigh.hardware import measure_power

    found: list[Machine] = []
    probe: Callable[[], None] = lambda: found.append(probe_machine(threads))  # noqa: E731
    with Waiting("measuring this machine"):
        watts = measure_power(probe)
        if not found:  # no counter of energy, so the work was not run for it
            probe()
    return found[0], watts


def find_hardware(
    options: HardwareOptions, machine: Machine, measured: Measured | None
) -> Hardware:
    """What the machine costs, as far as it is given; the rest measured or assumed."""
    from wazn.weigh.hardware import Given, describe_hardware

    given = Given(
        price_usd=options.machine_price,
        lifetime_years=options.lifetime,
        watts_busy=options.watts,
        watts_idle=options.idle_watts,
        power_usd_kwh=options.power_price,
        busy_share=options.busy,
    )
    return describe_hardware(given, machine.threads, machine.memory_bytes / 2**30, measured)


def kv_format(shape: Shape, options: MachineOptions) -> KvFormat:
    """The format of the cache: the one asked for, or what ``--kv auto`` means for the family."""
    if options.kv != "auto":
        return options.kv
    from wazn.models.model import AUTO_KV

    architecture = architecture_here(shape.family)
    return "int8" if AUTO_KV.get(architecture or "") == "int8" else "float16"


def architecture_here(family: str) -> str | None:
    """The GGUF name of a family if this version runs it, else None."""
    from wazn.models.checkpoint import FAMILIES
    from wazn.plan.families import family_name

    for decoder in FAMILIES:
        if family in map(family_name, decoder.huggingface_types):
            return decoder.gguf_architecture
    return None
