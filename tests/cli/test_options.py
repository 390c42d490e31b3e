"""Options that commands share."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from wazn.cli.options import EngineOptions, SamplingOptions, new_app, parse_size, with_options
from wazn.engine.params import SamplingParams


@dataclass(frozen=True, slots=True)
class Asked:
    """An argument and a flag."""

    name: Annotated[str, typer.Argument()]
    loud: Annotated[bool, typer.Option("--loud")] = False


@with_options
def greet(asked: Asked, engine: EngineOptions, times: int = 1) -> None:
    """Greet."""
    print(asked, engine.threads, times)


def test_a_dataclass_becomes_one_option_a_field() -> None:
    app = new_app()
    app.command()(greet)
    result = CliRunner().invoke(app, ["you", "--loud", "--threads", "3", "--times", "2"])
    assert result.output == "Asked(name='you', loud=True) 3 2\n"


def test_a_field_without_default_is_required() -> None:
    app = new_app()
    app.command()(greet)
    assert CliRunner().invoke(app, []).exit_code == 2


def test_what_is_not_given_is_what_nobody_asked_for() -> None:
    assert SamplingOptions().to_params() == SamplingParams()


def test_an_illegal_value_is_wrong_usage() -> None:
    with pytest.raises(typer.BadParameter, match=r"top_p is 1\.5"):
        SamplingOptions(top_p=1.5).to_params()


@pytest.mark.parametrize(
    ("text", "size"), [("6G", 6 * 10**9), ("1.5 GiB", 3 << 29), ("512MiB", 1 << 29), ("7", 7)]
)
def test_a_size_is_read_like_those_of_the_settings(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "1e9", "six"])
def test_what_is_no_size_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a size such as"):
        parse_size(text)
