from pathlib import Path

import pytest

from wazn.bench.records import Records, record_key
from wazn.errors import BadFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "bench.json"


def test_without_a_record_nothing_is_missed(path: Path) -> None:
    assert Records(path, "key").shortfalls({"decode with 1": 1.0}) == []


def test_a_rate_below_85_percent_of_the_best_is_told_with_its_figures(path: Path) -> None:
    Records(path, "key").update({"decode with 1": 100.0, "prefill with 1": 100.0})
    found = Records(path, "key").shortfalls({"decode with 1": 84.0, "prefill with 1": 86.0})
    assert found == [
        "llama.cpp reached 84.0 tok/s in decode with 1, 84% of its best on this file (limit 85%)."
    ]


def test_only_a_better_figure_replaces_the_best(path: Path) -> None:
    for rate in (90.0, 100.0, 50.0):
        Records(path, "key").update({"decode with 1": rate})
    assert Records(path, "key").shortfalls({"decode with 1": 80.0})
    assert not Records(path, "key").shortfalls({"decode with 1": 85.0})


def test_other_files_versions_and_threads_have_records_of_their_own(
    path: Path, tmp_path: Path
) -> None:
    model, other = tmp_path / "a.gguf", tmp_path / "b.gguf"
    model.write_bytes(b"a")
    other.write_bytes(b"b")
    keys = {
        record_key(model, "0.3.36", 2),
        record_key(other, "0.3.36", 2),
        record_key(model, "0.3.37", 2),
        record_key(model, "0.3.36", 4),
    }
    assert len(keys) == 4
    first, *others = sorted(keys)
    Records(path, first).update({"decode with 1": 100.0})
    assert all(not Records(path, key).shortfalls({"decode with 1": 1.0}) for key in others)


def test_the_same_content_under_another_name_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    assert record_key(tmp_path / "a", "1", 2) == record_key(tmp_path / "b", "1", 2)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": 3}', b'{"key": {"a": "x"}}'])
def test_a_damaged_record_file_is_named(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"bench\.json does not hold benchmark records"):
        Records(path, "key")
