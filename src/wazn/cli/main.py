"""The door of the command line: which commands exist, and what becomes of their errors.

A command's module is imported when that command is called and not before, so ``wazn chat`` pays
for nothing that ``wazn serve`` needs; the list that ``--help`` prints stands here in full. Exit
statuses: 0 success, 1 an error, 2 wrong usage, 130 interrupted, 141 the reader of our output left.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup

from wazn.cli.global_options import root_callback
from wazn.cli.options import new_app
from wazn.errors import WaznError

SUCCESS, FAILURE, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


class CommandEntry(NamedTuple):
    """Where a command lives (``module:name``) and the line ``wazn --help`` prints about it."""

    home: str
    summary: str


COMMANDS = {
    "chat": CommandEntry("wazn.cli.chat:chat", "Talk with a model, or get one answer with -p."),
    "run": CommandEntry("wazn.cli.run:run", "Continue a text: raw completion, no chat template."),
    "serve": CommandEntry("wazn.cli.serve:serve", "Serve models over HTTP, as OpenAI's API does"),
    "pull": CommandEntry("wazn.cli.models:pull", "Download a model into the local store."),
    "list": CommandEntry("wazn.cli.models:list_models", "List the models in the local store."),
    "show": CommandEntry(
        "wazn.cli.models:show", "Show what a model is made of, and what it takes to run."
    ),
    "rm": CommandEntry("wazn.cli.models:remove", "Remove a model from the local store."),
    "verify": CommandEntry("wazn.cli.models:verify", "Hash stored models again and compare."),
    "cache": CommandEntry("wazn.cli.cache:cache", "List or free the cache of packed weights."),
    "bench": CommandEntry("wazn.cli.bench:bench", "Measure speed, alone or beside llama.cpp."),
    "plan": CommandEntry(
        "wazn.cli.plan:plan", "Say what a model would need here, before any download."
    ),
    "cost": CommandEntry(
        "wazn.cli.cost:cost", "Compare an API's price with running a model yourself."
    ),
    "weigh": CommandEntry(
        "wazn.cli.weigh:weigh", "Say who leads, by which definition, since when."
    ),
    "observe": CommandEntry(
        "wazn.cli.observe:observe", "Collect adoption counters and prices, or import series."
    ),
    "report": CommandEntry(
        "wazn.cli.report:report", "Write who leads as one HTML page, complete in itself."
    ),
    "doctor": CommandEntry(
        "wazn.cli.doctor:doctor", "Say what this machine can run, and how fast."
    ),
}


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, imported now; None for an unknown name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.home.partition(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            return typer.main.get_command(command)
        app = new_app()
        app.command(cmd_name)(command)
        return typer.main.get_command(app)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base class, but an unknown command gets a suggestion in the same sentence."""
        if args[0] in COMMANDS or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        from difflib import get_close_matches

        near = get_close_matches(args[0], COMMANDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "'wazn --help' lists the commands."
        ctx.fail(f"no command '{args[0]}'; {hint}")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One line for each command, from the table: nothing is imported for ``--help``."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


def build_app() -> typer.Typer:
    """The whole command line as one typer application."""
    app = new_app(cls=LazyGroup)
    app.callback()(root_callback())
    return app


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its status."""
    status = run_command(sys.argv[1:] if args is None else args)
    if status == INTERRUPTED:
        # At once: an orderly exit would wait for the model's current step, which may take seconds.
        _flush_or_forget()
        os._exit(status)
    sys.exit(status)


def run_command(args: Sequence[str]) -> int:
    """Run one command line; errors become one sentence on stderr. Returns the exit status."""
    from wazn.cli.console import prepare_streams

    prepare_streams()
    command = typer.main.get_command(build_app())
    context = None
    try:
        # Not command.main(): it would turn interrupts and broken pipes into statuses of its own.
        context = command.make_context("wazn", list(args) or ["--help"])
        with context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as wanted:
        return wanted.exit_code
    except BrokenPipeError:
        _flush_or_forget()
        return BROKEN_PIPE
    except (KeyboardInterrupt, typer.Abort):
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # the terminal has echoed ^C on the current line
        return INTERRUPTED
    except Exception as error:
        if context is not None and context.params["debug"]:
            import traceback

            traceback.print_exc()
        _flush_or_forget()
        return _report(error)
    return SUCCESS


def _flush_or_forget() -> None:
    """Flush, or forget what cannot be written: the interpreter would complain about it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: Exception) -> int:
    """Print what went wrong as one sentence; returns the exit status it deserves."""
    from wazn.cli.console import print_error

    # Usage errors are click's; typer brings its own copy of click under a private name, so they
    # are recognised by what they offer rather than by their class.
    format_message = getattr(error, "format_message", None)
    if format_message is not None:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "wazn"
        message = format_message().rstrip(". ")
        print_error(f"{message} (see '{path} --help')")
        return USAGE
    if isinstance(error, WaznError):
        print_error(str(error))
    elif isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        print_error(f"{where}{error.strerror}.")
    elif isinstance(error, MemoryError):
        print_error("not enough memory; choose a smaller model or a smaller --context.")
    else:
        print_error(
            f"unexpected {type(error).__name__}: {error}; this is a fault in wazn, "
            "'wazn --debug …' shows where."
        )
    return FAILURE
