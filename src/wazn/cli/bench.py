"""``wazn bench``: the speed of a model here, alone or side by side with llama.cpp.

Has the benchmark run, prints what it measured, and says by its exit status whether the run counts.
Progress goes to stderr, the result to stdout.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from wazn.cli.console import print_error, print_facts, print_json, print_note, print_table
from wazn.cli.options import JSONFlag, WeightsFlag, with_options

if TYPE_CHECKING:
    from wazn.bench.report import Run
    from wazn.bench.session import Session

NOT_QUIET = 1


def spread_numbers(option: str, args: list[str]) -> list[str]:
    """``--users 1 8`` → ``--users 1 --users 8``: one option, several numbers after it."""
    spread: list[str] = []
    is_open = False
    for argument in args:
        is_open = argument == option or (is_open and argument.isdigit())
        if is_open and argument != option and spread[-1] != option:
            spread.append(option)
        spread.append(argument)
    return spread


class _BenchCommand(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread_numbers("--users", args))


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure, and against whom."""

    against: Annotated[
        Literal["llama.cpp"] | None, typer.Option(help="Take turns with this engine.")
    ] = None
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads; else one per usable core.")
    ] = None
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each engine per task.")] = 5
    users: Annotated[
        list[int] | None,
        typer.Option(min=1, max=64, metavar="N…", help="Sequences at once; else 1 and 8."),
    ] = None
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg", help="Time every operation instead, and draw the roofline here."
        ),
    ] = None
    context: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Tokens of every prompt; else 512 and 256."),
    ] = None
    weights: WeightsFlag = "native"


bench = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@bench.command(cls=_BenchCommand)
@with_options
def _bench(
    model: Annotated[str, typer.Argument(help="Model reference or path.")],
    as_json: JSONFlag = False,
    *,
    options: BenchOptions,
) -> None:
    """Measure speed, alone or beside llama.cpp.

    Prefill takes in 512 random tokens per sequence; decode adds 64 tokens after 256, or both after
    --context N. The exit status is 1 if the machine was not quiet: then the figures do not
    count.

    \b
    Example:
      wazn bench smollm2 --against llama.cpp --users 1 8
    """
    if options.profile is not None:
        return _profile(model, options, options.profile, as_json)
    run = _session(model, options).run(print_note)
    if as_json:
        from wazn.bench.report import to_object

        print_json(to_object(run))
    else:
        _print(run)
    for reason in run.noise:
        print_error(f"machine not quiet: {reason}")
    if run.noise:
        raise typer.Exit(NOT_QUIET)


def _profile(model: str, options: BenchOptions, picture: Path, as_json: bool) -> None:
    from wazn.bench.profile import profile, to_object, to_table
    from wazn.bench.roofline import draw
    from wazn.cli.output_file import check_writable

    check_writable(picture)
    session = _session(model, options)
    profiled = profile(
        session.path, session.threads, session.plan.tasks, print_note, session.weights
    )
    picture.write_text(draw(profiled), encoding="utf-8")
    if as_json:
        return print_json(to_object(profiled))
    for task in profiled.tasks:
        print_facts([("task", str(task.task)), ("seconds", f"{task.seconds:.3f}")])
        print_table(*to_table(task, profiled.ceilings))
        print()
    print_note(f"drew {picture}")


def _session(model: str, options: BenchOptions) -> "Session":
    from wazn.bench.measure import Plan
    from wazn.bench.session import Session
    from wazn.cli.loading import fetch
    from wazn.machine import read_cpu
    from wazn.settings import load_settings

    session = Session(
        path=fetch(model).path,
        names=("wazn",) if options.against is None else ("wazn", options.against),
        threads=options.threads or read_cpu().useful_threads,
        plan=Plan(sorted(set(options.users or (1, 8))), options.repeats, options.context),
        records=load_settings().cache / "bench.json",
        weights=options.weights,
    )
    session.check()
    return session


def _print(run: "Run") -> None:
    from wazn.bench.quiet import MAX_DISTURBANCE
    from wazn.bench.report import to_facts, to_table

    print_facts(to_facts(run))
    print()
    print_table(*to_table(run))
    print()
    disturbance = run.meter.foreign_share + run.meter.steal_share
    print(f"other CPU time {disturbance:.1%} (limit {MAX_DISTURBANCE:.0%})")
