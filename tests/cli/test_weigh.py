"""``wazn weigh`` and ``wazn report`` on the command line."""

import csv
import json
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.command_line import Run
from tests.weigh.observed import snapshot
from tests.weigh.test_dump import dump
from wazn.settings import load_settings
from wazn.weigh.folders import Folders
from wazn.weigh.published import facts_path

ARTICLE = ("weigh", "--as-of", "2025-10-31")


@pytest.fixture
def one_day() -> None:
    """A store with one snapshot of all repositories of two publishers."""
    store = Folders(load_settings().home).store
    store.append(snapshot(date(2025, 10, 1), {"Qwen/a": 30, "google/b": 20}, "hub-api"))


def test_the_article_is_answered_without_a_store_and_a_network(wazn: Run) -> None:
    done = wazn(*ARTICLE)
    assert done.status == 0
    assert done.stdout.startswith("China against United States, as of 2025-10-31\n")
    assert "China 550.0 M, United States 475.0 M downloads" in done.stdout
    assert "[hub-young-share]" in done.stdout
    assert not Folders(load_settings().home).observations.exists()


def test_deleting_the_row_removes_the_answer(wazn: Run, tmp_path: Path) -> None:
    rows = facts_path().read_text(encoding="utf-8").splitlines(keepends=True)
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("".join(row for row in rows if not row.startswith(("o001", "a001"))))
    for day, figure in (("2025-10-31", "550.0 M"), ("2023-12-31", "60 percent")):
        assert figure in wazn("weigh", "--as-of", day).stdout
        assert figure not in wazn("weigh", "--as-of", day, "--facts", str(fewer)).stdout


def test_explain_shows_readings_and_citations(wazn: Run, one_day: None) -> None:
    shown = wazn(*ARTICLE, "--explain").stdout
    assert "Rows behind the figure" in shown
    assert "hf:google/b" in shown
    assert "0" * 64 in shown
    assert "<https://arxiv.org/abs/2604.07190>" in shown
    assert "hf:google/b" not in wazn(*ARTICLE, "--lens", "ollama-pulls", "--explain").stdout


def test_json_has_plain_integers(wazn: Run, one_day: None) -> None:
    answer = json.loads(wazn(*ARTICLE, "--json", "--lens", "hub-all-panel").stdout)
    (lens,) = answer["lenses"]
    standing = lens["measured"][0]["standing"]
    assert standing["first"]["value"] == 30
    assert '"value": 30,' in wazn(*ARTICLE, "--json", "--lens", "hub-all-panel").stdout
    assert standing["leader"] == "CN"


def test_csv_is_a_table(wazn: Run) -> None:
    rows = list(csv.DictReader(wazn(*ARTICLE, "--csv").stdout.splitlines()))
    assert {"first_value": "550000000", "second_value": "475000000"}.items() <= rows[0].items()


def test_a_plot_is_an_svg_file(wazn: Run, one_day: None, tmp_path: Path) -> None:
    picture = tmp_path / "ratio.svg"
    assert wazn(*ARTICLE, "--plot", str(picture)).stderr == f"drew {picture}\n"
    assert ElementTree.fromstring(picture.read_text()).tag.endswith("svg")


def test_nothing_to_plot_is_an_error(wazn: Run, tmp_path: Path) -> None:
    done = wazn(*ARTICLE, "--plot", str(tmp_path / "ratio.svg"))
    assert (done.status, done.stdout) == (2, "")
    assert "there is nothing measured to plot" in done.stderr


def test_another_pair_and_another_grouping(wazn: Run, one_day: None) -> None:
    by_lab = wazn(*ARTICLE, "--by", "lab", "--lens", "hub-all-panel").stdout
    assert "qwen ahead 1.50 to 1" in by_lab
    pair = wazn(*ARTICLE, "--pair", "US:CN", "--lens", "hub-all-panel", "--json").stdout
    assert json.loads(pair)["lenses"][0]["measured"][0]["standing"]["first"]["group"] == "US"


def test_a_dump_is_weighed_instead_of_the_store(wazn: Run, tmp_path: Path) -> None:
    path = str(dump(tmp_path))
    done = wazn("weigh", "--as-of", "2026-09-05", "--dump", path, "--json")
    assert done.status == 0
    measured = {
        lens["id"]: lens["measured"][0]["standing"]["ratio"]
        for lens in json.loads(done.stdout)["lenses"]
        if lens["measured"] and lens["measured"][0]["standing"]
    }
    assert measured["hub-language-cumulative"] == pytest.approx(900 / 1860)
    refused = wazn("weigh", "--dump", path, "--lens", "ollama-pulls")
    assert refused.status == 1
    assert "a dump of the Hub cannot answer ollama-pulls" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--as-of", "yesterday"), "'yesterday' is not a day such as 2025-10-31"),
        (("--pair", "CN"), "'CN' is not a pair such as CN:US"),
        (("--pair", "CN:CN"), "'CN:CN' is not a pair"),
        (("--by", "continent"), "continent"),
        (("--lang", "fr"), "fr"),
        (("--json", "--csv"), "--json and --csv exclude each other"),
    ],
)
def test_wrong_usage_is_named(wazn: Run, arguments: tuple[str, ...], complaint: str) -> None:
    done = wazn("weigh", *arguments)
    assert (done.status, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_an_unknown_lens_and_a_missing_file_are_errors(wazn: Run) -> None:
    assert "there is no lens 'atom'; known are" in wazn("weigh", "--lens", "atom").stderr
    missing = wazn("weigh", "--facts", "/nowhere.csv")
    assert (missing.status, missing.stderr) == (
        1,
        "wazn: /nowhere.csv: No such file or directory.\n",
    )


def test_a_back_test_without_series_says_too_few(wazn: Run) -> None:
    assert wazn("weigh", "--backtest").stdout == "No series has 20 independent origins: too few.\n"
    assert json.loads(wazn("weigh", "--backtest", "--json").stdout)["series"] == []


def test_a_report_is_written_in_either_language(wazn: Run, tmp_path: Path) -> None:
    for language, direction in (("en", "ltr"), ("ar", "rtl")):
        path = tmp_path / f"{language}.html"
        done = wazn("report", str(path), "--as-of", "2025-10-31", "--lang", language, "--json")
        assert json.loads(done.stdout) == {"path": str(path), "size_bytes": path.stat().st_size}
        assert f'dir="{direction}"' in path.read_text(encoding="utf-8")
    assert wazn("report", str(tmp_path / "no" / "x.html")).status == 1


def test_a_report_has_a_name_of_its_own(
    wazn: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wazn("report").stderr == "wrote wazn-report.html\n"
    assert (tmp_path / "wazn-report.html").exists()
