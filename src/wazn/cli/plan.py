"""``wazn plan``: what a model would need and how fast it would be, before it is downloaded.

Gathers (``Forecast``), then prints. The figures come from ``wazn.plan``, what they cost from
``wazn.weigh``; here they only meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wazn.cli.console import print_facts, print_json, print_table
from wazn.cli.machine_options import (
    HardwareOptions,
    MachineOptions,
    architecture_here,
    disturbance,
    find_hardware,
    find_machine,
    find_subject,
    kv_format,
)
from wazn.cli.options import JSONFlag, with_options
from wazn.errors import BadRequest
from wazn.weights.disk import format_bytes

if TYPE_CHECKING:
    from wazn.plan.machines import Placement
    from wazn.plan.memory import KvFormat, Load, Memory
    from wazn.plan.speed import Machine, Speed
    from wazn.plan.subject import Subject
    from wazn.weigh.cost import Throughput
    from wazn.weigh.hardware import Hardware
    from wazn.weigh.interval import Interval

USERS = (1, 4, 16)
CONTEXTS = (1024, 8192, 32768)
INPUT_SHARE = Decimal("0.75")
"""Of the tokens whose cost is shown: a conversation reads about three times what it writes."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What to plan for."""

    model: Annotated[
        str | None,
        typer.Argument(
            help="A name of --list, a path to config.json or a GGUF file, or hf:org/name."
        ),
    ] = None
    users: Annotated[
        list[int] | None, typer.Option(min=1, help="Sequences at once; else 1, 4 and 16.")
    ] = None
    context: Annotated[
        list[int] | None, typer.Option(min=1, help="Tokens of each; else 1024, 8192 and 32768.")
    ] = None
    list_known: Annotated[
        bool, typer.Option("--list", help="List the models that are known without a download.")
    ] = False
    json: JSONFlag = False


@dataclass(frozen=True, slots=True)
class Row:
    """One load: the memory it takes, and if that is there, speed and dollars per million tokens."""

    load: Load
    memory: Memory
    speed: Speed | None
    usd_per_million: Interval | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Everything the command reports."""

    subject: Subject
    machine: Machine
    hardware: Hardware
    kv: KvFormat
    rows: tuple[Row, ...]
    placement: Placement
    error: float


@with_options
def plan(asked: PlanOptions, machine: MachineOptions, hardware: HardwareOptions) -> None:
    """Say what a model would need here, before any download.

    Memory by part, speed and cost, from its configuration alone and two seconds of measuring
    this machine; no weight is read. --bandwidth, --compute and --memory describe another one.

    \b
    Example:
      wazn plan qwen3-30b-a3b --format Q4_K_M
      wazn plan hf:Qwen/Qwen3-8B --users 1 --context 4096 --json
      wazn plan deepseek-v3 --bandwidth 400 --compute 5000 --memory 768GiB
    """
    if asked.list_known:
        return _list_known(asked.json)
    if asked.model is None:
        raise BadRequest("name a model; 'wazn plan --list' shows those known without a download.")
    forecast = make_forecast(asked, machine, hardware)
    if asked.json:
        print_json(to_object(forecast))
    else:
        _print(forecast)


def make_forecast(asked: PlanOptions, options: MachineOptions, owning: HardwareOptions) -> Forecast:
    """Find the model and the machine, and work out every load asked for."""
    from wazn.plan.machines import place
    from wazn.plan.memory import Load
    from wazn.plan.speed import fitted_constants

    subject = find_subject(str(asked.model), options)
    contexts = _contexts(subject, asked.context)
    machine, watts = find_machine(options)
    hardware = find_hardware(owning, machine, watts)
    kv = kv_format(subject.shape, options)
    rows = tuple(
        make_row(subject, Load(users, context), kv, machine, hardware)
        for context in contexts
        for users in sorted(set(asked.users or USERS))
    )
    placement = place(subject.shape, rows[0].memory, machine)
    error = fitted_constants().error
    return Forecast(subject, machine, hardware, kv, rows, placement, error)


def make_row(
    subject: Subject, load: Load, kv: KvFormat, machine: Machine, hardware: Hardware
) -> Row:
    """One load on that machine; without speeds if it does not fit."""
    from wazn.plan.memory import memory_of
    from wazn.plan.speed import fitted_constants, speed_of
    from wazn.weigh.cost import at_full_use
    from wazn.weigh.prices import Mix

    memory = memory_of(subject.shape, load, kv)
    if memory.total > machine.memory_bytes:
        return Row(load, memory, None, None)
    speed = speed_of(subject.shape, load, kv, machine, fitted_constants())
    mix = Mix(INPUT_SHARE, Decimal(0))
    return Row(load, memory, speed, at_full_use(hardware, throughput_of(speed), mix))


def throughput_of(speed: Speed) -> Throughput:
    """A forecast as a throughput, as wide as the forecast is uncertain."""
    from wazn.plan.speed import fitted_constants
    from wazn.weigh.cost import Throughput
    from wazn.weigh.interval import Interval

    error = fitted_constants().error
    return Throughput(
        Interval.around(speed.prefill_tok_s, error),
        Interval.around(speed.decode_tok_s, error),
        f"forecast for {speed.load.users} at once, {speed.load.context} tokens each",
    )


def _contexts(subject: Subject, asked: list[int] | None) -> list[int]:
    """The contexts to plan for; longer ones than the model has are refused, or left out."""
    longest = subject.shape.context_length
    if asked:
        for context in asked:
            if context > longest:
                raise BadRequest(
                    f"--context {context} is longer than the {longest} tokens of {subject.name}."
                )
        return sorted(set(asked))
    return [context for context in CONTEXTS if context <= longest] or [longest]


def _list_known(as_json: bool) -> None:
    from wazn.plan.families import read_shape
    from wazn.plan.known import known_models

    shapes = {name: read_shape(one.config, name) for name, one in known_models().items()}
    if as_json:
        return print_json(
            {
                name: {
                    "title": one.title,
                    "source": one.source,
                    "parameters": shapes[name].parameters,
                    "active_parameters": round(shapes[name].active_parameters),
                }
                for name, one in known_models().items()
            }
        )
    print_table(
        ("name", "model", "parameters", "active", "facts from"),
        [
            (
                name,
                one.title,
                _billions(shapes[name].parameters),
                _billions(shapes[name].active_parameters),
                one.source.removeprefix("https://"),
            )
            for name, one in known_models().items()
        ],
    )


def _billions(count: float) -> str:
    return f"{count / 1e9:.2f} B"


def to_object(forecast: Forecast) -> dict[str, Any]:
    """For programs: bytes, seconds, tokens per second, dollars per million tokens."""
    subject, placement = forecast.subject, forecast.placement
    return {
        "model": subject.name,
        "source": subject.source,
        "family": subject.shape.family,
        "runs_here": architecture_here(subject.shape.family) is not None,
        "format": subject.format,
        "parameters": subject.shape.parameters,
        "active_parameters": round(subject.shape.active_parameters),
        "context_length": subject.shape.context_length,
        "kv": forecast.kv,
        "published": [asdict(one) for one in subject.published],
        "machine": asdict(forecast.machine),
        "hardware": asdict(forecast.hardware),
        "forecast_error": forecast.error,
        "loads": [
            {
                **asdict(row.load),
                "memory": {**asdict(row.memory), "total": row.memory.total},
                "fits": row.speed is not None,
                "prefill_tok_s": row.speed and row.speed.prefill_tok_s,
                "decode_tok_s": row.speed and row.speed.decode_tok_s,
                "first_token_s": row.speed and row.speed.first_token_s,
                "usd_per_million_tokens": row.usd_per_million and asdict(row.usd_per_million),
            }
            for row in forecast.rows
        ],
        "fits": placement.fits_here,
        "larger_machine": placement.larger and placement.larger.name,
        "machines_like_this": placement.machines_like_this,
    }


def _print(forecast: Forecast) -> None:
    print_facts(_facts(forecast))
    print()
    print_table(("memory", "bytes", "what it is"), _memory_rows(forecast))
    print()
    print_table(
        ("users", "context", "memory", "first token", "prefill", "decode", "USD per 1M tokens"),
        [_speed_row(row) for row in forecast.rows],
    )
    print()
    for sentence in _sentences(forecast):
        print(sentence)


def _facts(forecast: Forecast) -> list[tuple[str, str]]:
    subject, shape, machine = forecast.subject, forecast.subject.shape, forecast.machine
    return [
        ("model", subject.name),
        ("facts from", subject.source),
        ("family", shape.family),
        (
            "parameters",
            f"{_billions(shape.parameters)}, {_billions(shape.active_parameters)} for a token",
        ),
        ("weights in", subject.format),
        ("longest context", str(shape.context_length)),
        ("KV cache in", forecast.kv),
        (
            "machine",
            f"{machine.threads} threads, {machine.bandwidth / 1e9:.1f} GB/s read, "
            f"{machine.compute / 1e9:.0f} GMAC/s, {format_bytes(machine.memory_bytes)} free",
        ),
    ]


def _memory_rows(forecast: Forecast) -> list[tuple[str, str, str]]:
    from wazn.plan.shape import ROLES

    memory, load = forecast.rows[0].memory, forecast.rows[0].load
    rows: list[tuple[str, str, str]] = [
        (role, format_bytes(num_bytes), ROLES[role]) for role, num_bytes in memory.weights.items()
    ]
    rows.append(("weights", format_bytes(memory.weight_bytes), "together: what the files weigh"))
    if memory.cache:
        rows.append(
            ("cache", format_bytes(memory.cache), f"{load.users} x {load.context} positions")
        )
    if memory.state:
        rows.append(("state", format_bytes(memory.state), "recurrent layers, any length"))
    rows.append(("working", format_bytes(memory.working), "activations, logits, the process"))
    return [*rows, ("total", format_bytes(memory.total), "")]


def _speed_row(row: Row) -> tuple[str, ...]:
    load = (str(row.load.users), str(row.load.context), format_bytes(row.memory.total))
    if row.speed is None or row.usd_per_million is None:
        return (*load, "-", "-", "-", "-")
    return (
        *load,
        f"{row.speed.first_token_s:.1f} s",
        f"{row.speed.prefill_tok_s:.1f}",
        f"{row.speed.decode_tok_s:.1f}",
        f"{row.usd_per_million.middle:.2f}",
    )


def _sentences(forecast: Forecast) -> Iterator[str]:
    subject, placement, machine = forecast.subject, forecast.placement, forecast.machine
    yield (
        f"Forecast, not measured: prefill and decode in tokens per second of all users together, "
        f"within {forecast.error:.0%} on\nthe models it was checked on. First token: of the last "
        "user, when all send a full context at once. USD: at full use,\na quarter of the tokens "
        "output."
    )
    if (disturbed := disturbance(machine)) is not None:
        yield disturbed
    for one in subject.published:
        yield f"Published in {one.format}: {format_bytes(one.num_bytes)} ({one.source})."
    if architecture_here(subject.shape.family) is None:
        yield (
            f"This version of wazn does not run the family {subject.shape.family}: speeds assume "
            "kernels as good as those it has."
        )
    if not placement.fits_here:
        yield from _elsewhere(forecast)
    elif any(row.speed is None for row in forecast.rows):
        yield f"-: does not fit in the {format_bytes(machine.memory_bytes)} that are free."
    for name, figure in forecast.hardware.figures().items():
        value = figure.value
        spread = "" if value.low == value.high else f" ({value.low:.4g} to {value.high:.4g})"
        yield f"{name}: {value.middle:.4g} {figure.unit}{spread}, {figure.basis}."


def _elsewhere(forecast: Forecast) -> Iterator[str]:
    from wazn.plan.speed import decode_work, fitted_constants

    row, placement = forecast.rows[0], forecast.placement
    yield (
        f"It does not fit here: {format_bytes(row.memory.total)} are needed and "
        f"{format_bytes(forecast.machine.memory_bytes)} are free."
    )
    if placement.larger is None:
        yield "No single machine of the classes known holds it."
    else:
        bandwidth = placement.larger.bandwidth
        read = decode_work(forecast.subject.shape, row.load, forecast.kv).num_bytes
        most = row.load.users * bandwidth * fitted_constants().read_share / read
        yield (
            f"It would fit {placement.larger.name}: {bandwidth / 1e9:.0f} GB/s by arithmetic, so "
            f"at most {most:.1f} tokens/s\nfor {row.load.users} at once, if reading is all that "
            "holds it up."
        )
    if placement.machines_like_this is None:
        yield "One layer alone is too large for machines like this one."
    else:
        yield (
            f"Split by layers, it would take {placement.machines_like_this} machines like this one."
        )
