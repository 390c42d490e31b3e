"""Series from files: recognised by their header, whole or not at all, the wrong line named."""

import gzip
from datetime import date
from pathlib import Path

import pytest

from tests.weigh.capturing import Observer
from tests.weigh.shared_data import shared_data
from wazn.errors import BadFile, BadRequest
from wazn.weigh.importing import import_file

OLLAMA = "date,model,region_guess,pulls_cumulative_rounded\n"


@pytest.fixture
def observer(tmp_path: Path) -> Observer:
    return Observer(tmp_path / "home")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "series.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_series_is_stored_once_and_its_file_kept(tmp_path: Path, observer: Observer) -> None:
    path = written(tmp_path, OLLAMA + "2025-07-17,alfred,other/unknown,17700\n")
    first = import_file(path, observer.folders)
    assert (first.format, first.num_rows, first.num_new) == ("Ollama pulls by model", 1, 1)
    assert import_file(path, observer.folders).num_new == 0
    assert observer.values("pulls") == {("ollama:alfred", date(2025, 7, 17)): 17_700}
    (row,) = observer.folders.store.query().fetchall()
    assert observer.folders.raw.get(row[-1]) == path.read_bytes()


def test_gzip_and_a_byte_order_mark_are_understood(tmp_path: Path, observer: Observer) -> None:
    path = tmp_path / "series.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + (OLLAMA + "2025-07-17,a,us,5\r\n").encode()))
    assert import_file(path, observer.folders).num_rows == 1


def test_an_unknown_header_names_what_is_known(tmp_path: Path, observer: Observer) -> None:
    with pytest.raises(BadFile, match=r"begins with 'when, who'.*known are OSIR-LMTS models"):
        import_file(written(tmp_path, "when,who\n2025,x\n"), observer.folders)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("2025-07-17,a,us\n", r"line 2: it does not have 4 fields"),
        ("2025-07-17,a,us,5,6\n", r"line 2: it does not have 4 fields"),
        ("2025-07-17,a,us,5\nsoon,a,us,5\n", r"line 3: date is 'soon', not a date"),
        ("2025-07-17,a,us,many\n", r"pulls_cumulative_rounded is 'many', not a number"),
        ("2025-07-17,a,us,nan\n", r"value of an observation of 'ollama:a' is 'nan'"),
        ("2025-07-17,a,us,-1\n", r"value .* is '-1.0'"),
        ("2025-07-17,a,us,inf\n", r"value .* is 'inf'"),
        ("2025-07-17,a b,us,1\n", r"entity .* is 'ollama:a b'"),
        ("0001-07-17,a,us,1\n", r"as_of .* is '0001-07-17'"),
        ('2025-07-17,"a,us,1\n', r"unexpected end of data"),
        ("", r"has a header and no numbers"),
    ],
)
def test_a_cell_that_is_wrong_refuses_the_file_and_is_named(
    tmp_path: Path, observer: Observer, rows: str, complaint: str
) -> None:
    with pytest.raises(BadFile, match=complaint):
        import_file(written(tmp_path, OLLAMA + rows), observer.folders)
    assert observer.num_stored() == 0


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x1f\x8bno gzip", b"\x1f\x8b\x08"])
def test_what_is_no_text_is_refused(tmp_path: Path, observer: Observer, content: bytes) -> None:
    path = tmp_path / "series.csv"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"series\.csv"):
        import_file(path, observer.folders)


def test_a_gzip_bomb_is_refused(
    tmp_path: Path, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wazn.weigh.importing.MAX_BYTES", 1 << 20)
    path = tmp_path / "series.csv.gz"
    path.write_bytes(gzip.compress(bytes(3 << 20)))
    with pytest.raises(BadFile, match="holds more than 1 MiB"):
        import_file(path, observer.folders)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path, observer: Observer) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(BadRequest, match="is not a file that can be read"):
            import_file(path, observer.folders)


@pytest.mark.parametrize(
    ("name", "definitions", "num_rows"),
    [
        ("osir_hf_models_timeseries_tracked.csv", ("osir-atom-listed", "osir-modelscope"), 25_077),
        ("osir_hf_downloads30d_by_org.csv", ("osir-org-all", "osir-org-atom-listed"), 1_860),
        ("osir_constant_panel_cn_us.csv", ("osir-constant-panel",), 18),
        ("ollama_pulls_monthly_by_region.csv", ("ollama-by-region",), 56),
        ("sample_hf_textgen_top_2026-09-05.csv", ("hub-top-text-generation",), 272),
        ("litellm_price_history.csv", ("list-price",), 564),
        ("litellm_price_changes_2025-08_2026-08.csv", ("list-price",), 157),
        ("models_dev_price_history.csv", ("list-price",), 294),
        ("genai_prices_0.2.3_selected.csv", ("list-price",), 893),
    ],
)
def test_the_public_series_are_understood(
    observer: Observer, name: str, definitions: tuple[str, ...], num_rows: int
) -> None:
    imported = import_file(shared_data(name), observer.folders)
    assert (imported.definitions, imported.num_rows) == (definitions, num_rows)
    assert imported.num_new == num_rows


def test_empty_cells_are_numbers_nobody_counted(observer: Observer) -> None:
    import_file(shared_data("osir_hf_models_timeseries_tracked.csv"), observer.folders)
    day = date(2024, 11, 14)
    totals = observer.values("downloads_all_time")
    assert ("ms:EleutherAI/llemma_7b", day) not in totals
    assert observer.values("downloads_30d")["hf:EleutherAI/llemma_7b", day] == 7_836
    assert totals["ms:Qwen/Qwen3-0.6B", date(2025, 8, 7)] == 210


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("observations.csv", "come with wazn as facts"),
        ("atom_organization_regions.csv", "a map of publishers, not a series"),
    ],
)
def test_what_belongs_elsewhere_is_said_to(observer: Observer, name: str, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        import_file(shared_data(name), observer.folders)
