"""The options that stand before the command: every setting of the schema, --config, --debug.

A setting given here becomes the environment of this process, so that everything that reads
settings later, worker processes included, sees the flag win without being handed it.
"""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from wazn.settings import SCHEMA, Setting, load_settings


def print_version(wanted: bool) -> None:
    """The callback of --version."""
    if wanted:
        import wazn

        print(f"wazn {wazn.__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=print_version),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print a traceback when something fails.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="Read this file instead of the user's wazn.toml.")
    ] = None,
    **settings: Any,
) -> None:
    """Run, serve and weigh open-weight language models on this machine's CPU.

    \b
    Example:
      wazn chat -p "What is the capital of France?"
    """
    given = {key: value for key, value in settings.items() if value is not None}
    if given or config is not None:
        _export(config, given)


def root_callback() -> Callable[..., None]:
    """``root`` with one option for each row of the settings' schema."""
    fixed = [
        parameter
        for parameter in inspect.signature(root).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]

    def callback(**values: Any) -> None:
        root(**values)

    parameters = [
        *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in fixed),
        *(_parameter(setting) for setting in SCHEMA),
    ]
    callback.__doc__ = root.__doc__
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {p.name: p.annotation for p in parameters}
    return callback


def _parameter(setting: Setting) -> inspect.Parameter:
    is_switch = isinstance(setting.default({}), bool)
    meaning = f"{setting.meaning[:1].upper()}{setting.meaning[1:]}."
    option = typer.Option(setting.flag, help=meaning)
    return inspect.Parameter(
        setting.key,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[bool | None if is_switch else str | None, option],
    )


def _export(config: Path | None, flags: dict[str, object]) -> None:
    """Put the settings in force into the environment; raises what ``load_settings`` raises."""
    settings = load_settings(config, flags)
    for setting in SCHEMA:
        value = getattr(settings, setting.key)
        if value is not None:
            os.environ[setting.variable] = str(value).lower() if value is True else str(value)
