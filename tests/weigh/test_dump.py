"""A dump of the Hub in Parquet is weighed by the same lenses as the store."""

from datetime import date
from pathlib import Path

import pytest

from wazn.errors import BadFile, BadRequest
from wazn.weigh.dump import line_of_dump, require_one_row_each
from wazn.weigh.lens import load_lenses
from wazn.weigh.store import new_connection

DAY = date(2026, 9, 5)
LENSES = load_lenses()
ROWS = """
    ('Qwen/Qwen3-8B', 100, 900, 'text-generation', DATE '2025-04-27', ['license:mit']),
    ('meta-llama/Llama-3.1-8B', 50, 1800, 'text-generation', DATE '2024-07-18', []),
    ('nvidia/Qwen3.6-NVFP4', 30, 60, 'text-generation', DATE '2026-06-01',
     ['base_model:Qwen/Qwen3.6', 'base_model:quantized:Qwen/Qwen3.6']),
    ('sentence-transformers/all-MiniLM-L6-v2', 999, 9999, 'sentence-similarity',
     DATE '2022-03-02', []),
    ('trl-internal-testing/tiny-Qwen2ForCausalLM-2.5', 777, 7777, 'text-generation',
     DATE '2024-11-25', [])
"""


def dump(folder: Path, columns: str = "*") -> Path:
    path = folder / "models.parquet"
    named = "id, downloads, downloadsAllTime, pipeline_tag, createdAt, tags"
    new_connection().execute(
        f"COPY (SELECT {columns} FROM (VALUES {ROWS}) AS t({named})) TO '{path}'"
    )
    return path


def totals(path: Path, lens: str) -> dict[str, float]:
    line = line_of_dump(new_connection(), path, LENSES[lens], "country", DAY)
    assert line is not None
    return {name: group.total for name, group in line.snapshots[0].groups.items()}


def test_lenses_differ_in_universe_counter_and_country(tmp_path: Path) -> None:
    path = dump(tmp_path)
    assert totals(path, "hub-language-cumulative") == {"US": 1860, "CN": 900}
    assert totals(path, "hub-language-lineage") == {"CN": 130, "US": 50}
    assert totals(path, "hub-young-share") == {"US": 30}
    assert totals(path, "hub-all-panel") == {"UNKNOWN": 999, "CN": 100, "US": 80}


def test_tags_may_be_a_list_or_its_text(tmp_path: Path) -> None:
    path = dump(tmp_path, "* REPLACE (CAST(tags AS VARCHAR) AS tags)")
    assert totals(path, "hub-language-lineage") == {"CN": 130, "US": 50}


def test_a_missing_column_is_named_with_the_lens_that_needs_it(tmp_path: Path) -> None:
    path = dump(tmp_path, "id, downloads, downloadsAllTime, pipeline_tag")
    with pytest.raises(BadFile, match="no column createdAt or created_at, which lens hub-young"):
        totals(path, "hub-young-share")


@pytest.mark.parametrize("lens", ["ollama-pulls", "new-derivatives", "hub-year-share"])
def test_a_lens_that_a_dump_cannot_answer_is_refused(tmp_path: Path, lens: str) -> None:
    with pytest.raises(BadRequest, match=f"lens {lens} cannot be answered"):
        totals(dump(tmp_path), lens)


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.parquet"
    path.write_text("<html>")
    with pytest.raises(BadFile, match="cannot be read as a dump"):
        totals(path, "hub-all-panel")
    with pytest.raises(BadFile, match="cannot be read as a dump"):
        totals(tmp_path / "none.parquet", "hub-all-panel")


def test_a_repository_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    connection = new_connection()
    path = dump(tmp_path)
    require_one_row_each(connection, path)
    twice = tmp_path / "twice.parquet"
    connection.execute(f"COPY (FROM '{path}' UNION ALL FROM '{path}' LIMIT 6) TO '{twice}'")
    with pytest.raises(BadFile, match="has 6 rows for 5 repositories"):
        require_one_row_each(connection, twice)


def test_columns_of_other_types_are_refused(tmp_path: Path) -> None:
    path = dump(tmp_path, "id, 'many' AS downloads")
    with pytest.raises(BadFile, match="cannot be read as a dump of the Hub"):
        totals(path, "hub-all-panel")
    with pytest.raises(BadFile, match="has no column id"):
        require_one_row_each(new_connection(), dump(tmp_path, "downloads"))
