from pathlib import Path

import pytest

from wazn.cli.output_file import check_writable
from wazn.errors import StorageError


def test_checking_changes_nothing(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("kept")
    check_writable(old)
    check_writable(new)
    assert old.read_text() == "kept" and not new.exists()


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="missing/page' cannot be written: No such file"):
        check_writable(tmp_path / "missing" / "page")
