"""Options that several commands share, declared once as dataclasses.

A command takes such a dataclass as a parameter; ``with_options`` spells its fields out as single
options for typer and hands the command the filled dataclass. Values are checked where they are
used (``SamplingParams``, ``LLM``); here only what a flag can hold is known.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, cast, get_type_hints

import typer

from wazn.engine.params import SamplingParams
from wazn.errors import BadRequest
from wazn.settings import SCHEMA
from wazn.weights.choice import Weights


def parse_size(text: str) -> int:
    """``6GB`` or ``512MiB`` → bytes, by the same rule as every size among the settings."""
    parse = next(setting.parse for setting in SCHEMA if setting.key == "cache_limit")
    try:
        return cast(int, parse(text))
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is not {error}.") from None


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How to choose the next token; what is not given is the model's own default."""

    max_tokens: Annotated[
        int | None, typer.Option(help="Longest answer, in tokens; else until the context is full.")
    ] = None
    temperature: Annotated[
        float | None, typer.Option(help="0 always takes the most likely token.")
    ] = None
    top_k: Annotated[int | None, typer.Option(help="Choose among the k most likely tokens.")] = None
    top_p: Annotated[
        float | None, typer.Option(help="Choose among the tokens that share this probability.")
    ] = None
    min_p: Annotated[
        float | None, typer.Option(help="Leave out tokens below this share of the likeliest.")
    ] = None
    typical_p: Annotated[float | None, typer.Option(help="Locally typical sampling.")] = None
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1: tokens already seen become less likely.")
    ] = None
    presence_penalty: Annotated[float, typer.Option(help="From -2 to 2.")] = 0.0
    frequency_penalty: Annotated[float, typer.Option(help="From -2 to 2.")] = 0.0
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same answer; else a fresh one.")
    ] = None
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this text; may be given several times.")
    ] = None

    def to_params(self) -> SamplingParams:
        """The checked parameters; a usage error names the field and the value."""
        try:
            return SamplingParams(
                **{field.name: getattr(self, field.name) for field in fields(self)}
            )
        except BadRequest as error:
            raise typer.BadParameter(str(error)) from None


WeightsFlag = Annotated[
    Weights,
    typer.Option(
        help="Weights that the model keeps as floats (8 to 32 bits): as they are, or rounded to 8 "
        "or 4 bits."
    ),
]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the model is loaded."""

    threads: Annotated[int | None, typer.Option(help="Threads; else one per usable core.")] = None
    pin: Annotated[
        bool | None,
        typer.Option("--pin/--no-pin", help="Keep every thread on a CPU of its own."),
    ] = None
    context: Annotated[
        int | None, typer.Option(help="Longest conversation, in tokens; else the model's maximum.")
    ] = None
    memory: Annotated[
        int | None,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="Memory for the conversation, such as 4GB; else what is free minus 2 GiB.",
        ),
    ] = None
    precision: Annotated[
        Literal["fast", "exact"],
        typer.Option(help="'exact' computes in float32: slow, for checks."),
    ] = "fast"
    kv: Annotated[
        Literal["auto", "float32", "float16", "int8"],
        typer.Option(help="Number format of the KV cache."),
    ] = "auto"
    weights: WeightsFlag = "native"


def new_app(**settings: Any) -> typer.Typer:
    """A typer application as every command of wazn wants it: plain help, its own errors."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,  # importing rich would cost each --help 80 ms
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


JSONFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with each dataclass parameter replaced by one option per field."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        named = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        parameters.extend(_spelled_out(groups[name]) if name in groups else [named])

    @functools.wraps(command)
    def spread(**values: Any) -> None:
        for name, group in groups.items():
            given = {field.name: values.pop(field.name) for field in fields(group)}
            values[name] = group(**given)
        command(**values)

    signature = inspect.Signature(parameters)
    spread.__signature__ = signature  # type: ignore[attr-defined]
    spread.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()}
    return spread


def _spelled_out(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
