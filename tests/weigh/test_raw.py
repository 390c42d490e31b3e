"""Responses by hash: kept once, whole, and never believed when damaged."""

import gzip
import hashlib
from pathlib import Path

import pytest

from wazn.errors import BadFile, BadRequest, StorageError
from wazn.weigh.raw import RawStore


def test_what_was_put_comes_back_under_its_sha256(tmp_path: Path) -> None:
    store = RawStore(tmp_path / "raw")
    content = b'{"downloads": 1}' * 1000
    sha256 = store.put(content)
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert store.get(sha256) == content
    (path,) = (tmp_path / "raw").rglob("*.gz")
    assert path.stat().st_size < len(content) / 10
    assert gzip.decompress(path.read_bytes()) == content


def test_the_same_response_is_kept_once(tmp_path: Path) -> None:
    store = RawStore(tmp_path)
    assert store.put(b"") == store.put(b"")
    assert len([*tmp_path.rglob("*.gz")]) == 1


def test_a_hash_that_is_not_kept_is_refused_by_name(tmp_path: Path) -> None:
    store = RawStore(tmp_path)
    with pytest.raises(BadRequest, match="no response with the SHA-256 aaaa"):
        store.get("a" * 64)
    with pytest.raises(BadRequest, match="is not a SHA-256"):
        store.get("../../../etc/passwd")


@pytest.mark.parametrize(
    "damage", [b"", b"no gzip", gzip.compress(b"other", mtime=0), b"\x1f\x8b\x08"]
)
def test_damage_is_noticed(tmp_path: Path, damage: bytes) -> None:
    store = RawStore(tmp_path)
    sha256 = store.put(b"content")
    (path,) = tmp_path.rglob("*.gz")
    path.write_bytes(damage)
    with pytest.raises(BadFile, match="is damaged"):
        store.get(sha256)


def test_a_file_cut_short_is_noticed(tmp_path: Path) -> None:
    store = RawStore(tmp_path)
    sha256 = store.put(bytes(range(256)) * 50)
    (path,) = tmp_path.rglob("*.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadFile, match="is damaged"):
        store.get(sha256)


def test_a_folder_that_cannot_be_written_is_a_plain_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be used"):
        RawStore(tmp_path / "file").put(b"content")
