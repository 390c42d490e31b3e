"""``wazn cost``: a model on a machine of one's own against the price of an API.

Speeds are measured (``wazn bench --json``) or forecast by ``wazn.plan``; prices are what catalogues
say (``wazn.weigh.prices``); ``wazn.weigh.cost`` compares. Every assumption is printed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wazn.cli.console import print_facts, print_json, print_table
from wazn.cli.machine_options import (
    HardwareOptions,
    MachineOptions,
    disturbance,
    find_hardware,
    find_machine,
    find_subject,
    kv_format,
)
from wazn.cli.options import JSONFlag, with_options
from wazn.errors import BadFile, BadRequest, DoesNotFit
from wazn.weights.disk import format_bytes

if TYPE_CHECKING:
    from wazn.plan.speed import Machine
    from wazn.plan.subject import Subject
    from wazn.weigh.cost import Comparison, Demand, Throughput
    from wazn.weigh.hardware import Hardware
    from wazn.weigh.interval import Interval
    from wazn.weigh.prices import Mix, PriceRow, Quote

MAX_BENCH_BYTES = 1 << 20
MEASURED_SPREAD = 0.1  # runs of one benchmark differ by about so much (docs/performance.md)


def _parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not a date such as 2026-11-20.") from None


@dataclass(frozen=True, slots=True)
class CostOptions:
    """What to compare."""

    model: Annotated[str, typer.Argument(help="The model to run, as 'wazn plan' takes it.")]
    against: Annotated[
        list[str],
        typer.Option(help="An API's model, such as gpt-5 or openai/gpt-5; may be repeated."),
    ]
    tokens_per_day: Annotated[
        float, typer.Option(metavar="N", help="Input and output tokens a day together.")
    ]
    input_share: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the tokens that is input, 0 to 1.")
    ] = 0.75
    cached_share: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of the input that the API finds in its cache."),
    ] = 0.0
    users: Annotated[
        int, typer.Option(min=1, max=64, help="Sequences that the machine serves at once.")
    ] = 4
    context: Annotated[
        int, typer.Option(min=1, metavar="N", help="Tokens of each of them, for the forecast.")
    ] = 2048
    bench: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What 'wazn bench MODEL --json' printed, instead of a forecast."
        ),
    ] = None
    as_of: Annotated[
        date | None,
        typer.Option(parser=_parse_day, metavar="DATE", help="Prices of that day; else today's."),
    ] = None
    json: JSONFlag = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything the command reports: one comparison for each API."""

    model: str
    format: str
    machine: Machine
    hardware: Hardware
    throughput: Throughput
    demand: Demand
    sides: tuple[tuple[Quote, Comparison], ...]


@with_options
def cost(asked: CostOptions, machine: MachineOptions, hardware: HardwareOptions) -> None:
    """Compare an API's price with running a model yourself.

    Cost per million tokens on both sides with a range, and the volume from which owning is
    cheaper, if there is one. Speed is forecast from two seconds of measuring this machine, or
    taken from --bench; what the machine costs is assumed unless you say it.

    \b
    Example:
      wazn cost qwen3-8b --format Q4_K_M --against gpt-5-mini --tokens-per-day 2000000
      wazn cost smollm2 --against gpt-5-nano --tokens-per-day 1e6 --machine-price 0 --json
    """
    answer = make_answer(asked, machine, hardware)
    if asked.json:
        print_json(to_object(answer))
    else:
        _print(answer)


def make_answer(asked: CostOptions, options: MachineOptions, owning: HardwareOptions) -> Answer:
    """Find model, prices and machine, and compare."""
    from wazn.settings import load_settings
    from wazn.weigh.cost import Demand, compare
    from wazn.weigh.price_history import known_rows
    from wazn.weigh.prices import Mix, quote

    mix = Mix(_share(asked.input_share), _share(asked.cached_share))
    demand = Demand(asked.tokens_per_day, mix)
    rows = known_rows(load_settings().home)
    as_of = asked.as_of or datetime.now(UTC).date()
    quotes = [quote(rows, name, as_of) for name in asked.against]
    subject = find_subject(asked.model, options)
    machine, watts = find_machine(options)
    throughput = (
        _forecast(asked, options, subject, machine)
        if asked.bench is None
        else read_bench(asked.bench, asked.users)
    )
    hardware = find_hardware(owning, machine, watts)
    sides = tuple(
        (found, compare(hardware, throughput, found.price(mix), demand)) for found in quotes
    )
    return Answer(subject.name, subject.format, machine, hardware, throughput, demand, sides)


def _share(value: float) -> Decimal:
    if value != value or abs(value) > 1e6:
        raise BadRequest(f"a share is {value}; give a number from 0 to 1.")
    return Decimal(str(value))


def _forecast(
    asked: CostOptions, options: MachineOptions, subject: Subject, machine: Machine
) -> Throughput:
    """Speeds of a model that fits the machine; raises DoesNotFit for one that does not."""
    from wazn.cli.plan import throughput_of
    from wazn.plan.memory import Load, memory_of
    from wazn.plan.speed import fitted_constants, speed_of

    shape, kv = subject.shape, kv_format(subject.shape, options)
    load = Load(asked.users, min(asked.context, shape.context_length))
    memory = memory_of(shape, load, kv)
    if memory.total > machine.memory_bytes:
        raise DoesNotFit(
            f"{subject.name} in {subject.format} needs {format_bytes(memory.total)} for "
            f"{load.users} users of {load.context} tokens, and the machine has "
            f"{format_bytes(machine.memory_bytes)} free. Choose a smaller --format, or describe a "
            "larger machine with --bandwidth, --compute and --memory; 'wazn plan' names one."
        )
    return throughput_of(speed_of(shape, load, kv, machine, fitted_constants()))


def read_bench(path: Path, users: int) -> Throughput:
    """Speeds of wazn from the JSON of a benchmark; raises BadFile or BadRequest."""
    from wazn.weigh.cost import Throughput
    from wazn.weigh.interval import Interval

    with open(path, "rb") as file:
        raw = file.read(MAX_BENCH_BYTES)
    try:
        run = json.loads(raw)
        measured = {one["name"]: one["users"] for one in run["contenders"]}["wazn"]
        rates = {
            number: (float(one["prefill_tok_s"]), float(one["decode_tok_s"]))
            for number, one in measured.items()
        }
        when, is_quiet = str(run["machine"]["measured"])[:10], run["quiet"] is True
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadFile(f"{path} is not what 'wazn bench --json' prints; run it anew.") from None
    if str(users) not in rates:
        raise BadRequest(
            f"{path} has measurements for {', '.join(rates)} users and not for {users}; give one "
            "of them with --users."
        )
    prefill, decode = rates[str(users)]
    if not (0 < prefill < 1e12 and 0 < decode < 1e12):
        raise BadFile(f"{path} states {prefill} and {decode} tokens per second.")
    noise = "" if is_quiet else ", on a machine that was not quiet"
    return Throughput(
        Interval.around(prefill, MEASURED_SPREAD),
        Interval.around(decode, MEASURED_SPREAD),
        f"measured on {when} for {users} at once{noise}",
    )


def to_object(answer: Answer) -> dict[str, Any]:
    """For programs: dollars per million tokens, tokens a day, tokens per second."""
    return {
        "model": answer.model,
        "format": answer.format,
        "machine": asdict(answer.machine),
        "hardware": asdict(answer.hardware),
        "throughput": asdict(answer.throughput),
        "tokens_per_day": answer.demand.tokens_per_day,
        "input_share": float(answer.demand.mix.input_share),
        "cached_share": float(answer.demand.mix.cached_share),
        "against": [
            {
                "name": quote.name,
                "as_of": quote.as_of.isoformat(),
                "rows": [_row_object(row, row in quote.chosen) for row in quote.rows],
                "remarks": list(quote.remarks),
                **asdict(comparison),
            }
            for quote, comparison in answer.sides
        ],
    }


def _row_object(row: PriceRow, is_used: bool) -> dict[str, Any]:
    return {key: _plain(value) for key, value in asdict(row).items()} | {"used": is_used}


def _plain(value: object) -> object:
    """A value as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date) else value


def _print(answer: Answer) -> None:
    demand, throughput = answer.demand, answer.throughput
    print_facts(
        [
            ("model", f"{answer.model}, {answer.format}"),
            ("tokens a day", f"{demand.tokens_per_day:,.0f}".replace(",", " ")),
            ("of them input", _mix(demand.mix)),
            ("prefill", f"{_range(throughput.prefill)} tok/s, {throughput.basis}"),
            ("decode", f"{_range(throughput.decode)} tok/s, all users together"),
            *(
                (name, f"{_range(one.value)} {one.unit}, {one.basis}")
                for name, one in answer.hardware.figures().items()
            ),
        ]
    )
    if (disturbed := disturbance(answer.machine)) is not None:
        print(disturbed)
    for quote, comparison in answer.sides:
        print()
        _print_side(answer, quote, comparison)


def _print_side(answer: Answer, quote: Quote, comparison: Comparison) -> None:
    print_table(
        ("USD per 1M tokens", "likely", "from", "to"),
        [
            _money(f"{answer.model}, own machines: {comparison.machines}", comparison.own),
            _money("its power alone", comparison.power_only),
            _money(quote.name, comparison.api),
        ],
    )
    for sentence in verdict_sentences(comparison, quote.name):
        print(sentence)
    newest = quote.chosen[0]
    print(
        f"{quote.name}: {newest.input} in, {newest.output} out per 1M tokens by "
        f"{newest.catalogue} ({newest.source}), last seen {newest.captured}."
    )
    for remark in quote.remarks:
        print(f"! {remark}")


def verdict_sentences(comparison: Comparison, name: str) -> list[str]:
    """What follows, in plain words: who is dearer here, and from which volume that changes."""
    own, api, even = comparison.own, comparison.api, comparison.break_even
    side = "dearer" if own.middle > api.middle else "cheaper"
    sentences = [
        f"Owning is {side} here: {own.middle:.3g} USD against {api.middle:.3g} of {name}; "
        + (
            "with all doubts on one side it could be the other way round."
            if comparison.verdict == "too close to call"
            else "no doubt among those shown turns it round."
        )
    ]
    if even.likely is not None:
        span = f"{_volume(even.best)} to {_volume(even.worst)}"
        sentences.append(f"Break-even: {_volume(even.likely)} tokens a day ({span}).")
    elif even.best is not None:
        sentences.append(
            "Break-even: at no volume, as busy as one machine can be; in the best case from "
            f"{_volume(even.best)} tokens a day."
        )
    else:
        sentences.append("Break-even: at no volume; owning is dearer however much it is used.")
    sentences.append(
        f"One machine makes {_volume(comparison.capacity.middle)} tokens a day at most "
        f"({_volume(comparison.capacity.low)} to {_volume(comparison.capacity.high)})."
    )
    return sentences


def _mix(mix: Mix) -> str:
    cached = (
        f", {float(mix.cached_share):.0%} of that cached by the API" if mix.cached_share else ""
    )
    return f"{float(mix.input_share):.0%}{cached}"


def _range(interval: Interval) -> str:
    if interval.low == interval.high:
        return f"{interval.middle:.4g}"
    return f"{interval.middle:.4g} ({interval.low:.4g} to {interval.high:.4g})"


def _money(name: str, interval: Interval) -> tuple[str, str, str, str]:
    return name, f"{interval.middle:.3f}", f"{interval.low:.3f}", f"{interval.high:.3f}"


def _volume(tokens: float | None) -> str:
    return "never" if tokens is None else f"{tokens:,.0f}".replace(",", " ")
