"""The local store: finding, sharing, removing and verifying what was pulled."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.weights.hub_server import HubServer, Recorder, Repository, running_hub, settings_for
from wazn.errors import BadRequest, FetchError, ModelNotFound, StorageError
from wazn.weights.sources import session
from wazn.weights.store import Problem, Store

FIRST, SECOND, TOKENIZER = b"first weights", b"second weights!", b"tokenizer"
NEXT_COMMIT = "f" * 40


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setattr(session, "BACKOFF_S", 0.0)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with running_hub() as hub:
        hub.repositories["org/model"] = Repository({"m-Q4_0.gguf": FIRST, "m-Q8_0.gguf": SECOND})
        yield hub


@pytest.fixture
def store(hub: HubServer, tmp_path: Path) -> Store:
    return Store(settings=settings_for(tmp_path / "home", hub.url))


def stored_files(store: Store) -> set[str]:
    return {path.name for path in (store.root / "models").rglob("*") if path.is_file()}


def test_what_was_pulled_is_found_without_any_request(hub: HubServer, store: Store) -> None:
    assert store.find("hf:org/model:Q4_0") is None
    pulled = store.pull("hf:org/model:Q4_0")
    hub.seen.clear()
    assert store.find("hf:org/model:Q4_0") == pulled
    assert store.get("hf:org/model:Q4_0") == pulled
    assert Store(store.root, settings_for(store.root, "http://unused.invalid")).list() == [pulled]
    assert not hub.seen


def test_an_alias_finds_what_its_reference_pulled(
    hub: HubServer, store: Store, tmp_path: Path
) -> None:
    hub.repositories["Qwen/Qwen3-0.6B-GGUF"] = Repository({"Qwen3-0.6B-Q8_0.gguf": FIRST})
    pulled = store.pull("qwen3-0.6b")
    assert pulled.reference == "hf:Qwen/Qwen3-0.6B-GGUF:Q8_0"
    assert store.find("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0") == pulled


def test_the_store_can_be_moved(store: Store, tmp_path: Path) -> None:
    store.pull("hf:org/model:Q4_0")
    store.root.rename(tmp_path / "elsewhere")
    moved = Store(tmp_path / "elsewhere", settings_for(tmp_path, "http://unused.invalid"))
    found = moved.find("hf:org/model:Q4_0")
    assert found is not None
    assert found.path.read_bytes() == FIRST


def test_a_second_pull_of_the_same_revision_fetches_nothing(hub: HubServer, store: Store) -> None:
    store.pull("hf:org/model:Q4_0")
    hub.seen.clear()
    progress = Recorder()
    store.pull("hf:org/model:Q4_0", progress)
    assert not hub.content_requests()
    assert progress.tasks() == [("checking m-Q4_0.gguf", len(FIRST), 0, len(FIRST))]


def test_a_new_revision_replaces_the_old_one_on_pull_only(hub: HubServer, store: Store) -> None:
    old = store.pull("hf:org/model:Q4_0")
    hub.repositories["org/model"] = Repository({"m-Q4_0.gguf": SECOND}, commit=NEXT_COMMIT)
    assert store.get("hf:org/model:Q4_0") == old
    new = store.pull("hf:org/model:Q4_0")
    assert (new.revision, new.path.read_bytes()) == (NEXT_COMMIT, SECOND)
    assert not old.path.exists() and not old.path.parent.exists()
    assert store.list() == [new]


def test_an_old_revision_stays_while_another_reference_pins_it(
    hub: HubServer, store: Store
) -> None:
    old = store.pull("hf:org/model:Q4_0")
    pinned = store.pull(f"hf:org/model:Q4_0@{old.revision}")
    hub.repositories["org/model"] = Repository({"m-Q4_0.gguf": SECOND}, commit=NEXT_COMMIT)
    store.pull("hf:org/model:Q4_0")
    assert pinned.path == old.path
    assert pinned.path.read_bytes() == FIRST


def test_unchanged_content_of_a_new_revision_is_linked_and_not_fetched(
    hub: HubServer, store: Store
) -> None:
    old = store.pull("hf:org/model:Q4_0")
    inode = old.path.stat().st_ino
    hub.repositories["org/model"].commit = NEXT_COMMIT
    hub.seen.clear()
    new = store.pull("hf:org/model:Q4_0")
    assert new.path != old.path and new.path.stat().st_ino == inode
    assert not hub.content_requests()


def test_the_same_content_elsewhere_is_linked_and_not_fetched(hub: HubServer, store: Store) -> None:
    hub.repositories["other/copy"] = Repository({"copy.gguf": FIRST})
    first = store.pull("hf:org/model:Q4_0")
    hub.seen.clear()
    second = store.pull("ms:other/copy")
    assert not hub.content_requests()
    assert os.path.samefile(first.path, second.path)
    assert store.remove("hf:org/model:Q4_0") == 0
    assert second.path.read_bytes() == FIRST
    assert store.remove("ms:other/copy") == len(FIRST)


def test_damaged_content_elsewhere_is_not_linked(hub: HubServer, store: Store) -> None:
    hub.repositories["other/copy"] = Repository({"copy.gguf": FIRST})
    store.pull("hf:org/model:Q4_0").path.write_bytes(bytes(len(FIRST)))
    assert store.pull("hf:other/copy").path.read_bytes() == FIRST


def test_without_hard_links_the_content_is_fetched(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise PermissionError("this file system has no hard links")

    hub.repositories["other/copy"] = Repository({"copy.gguf": FIRST})
    store.pull("hf:org/model:Q4_0")
    monkeypatch.setattr(os, "link", no_links)
    assert store.pull("hf:other/copy").path.read_bytes() == FIRST


def test_removing_frees_the_bytes_and_leaves_nothing(store: Store) -> None:
    store.pull("hf:org/model:Q4_0")
    store.pull("hf:org/model:Q8_0")
    assert store.remove("hf:org/model:Q4_0") == len(FIRST)
    assert stored_files(store) == {"m-Q8_0.gguf"}
    assert store.find("hf:org/model:Q4_0") is None
    assert store.remove("hf:org/model:Q8_0") == len(SECOND)
    assert not stored_files(store) and not (store.root / "models/hf/org/model").exists()
    assert store.list() == []


def test_a_file_that_two_references_share_stays_until_both_are_removed(store: Store) -> None:
    store.pull("hf:org/model:Q4_0")
    model = store.pull("hf:org/model:m-Q4_0.gguf")
    assert store.remove("hf:org/model:Q4_0") == 0
    assert model.path.read_bytes() == FIRST
    assert store.remove("hf:org/model:m-Q4_0.gguf") == len(FIRST)


def test_removing_what_was_never_completed_frees_the_part(hub: HubServer, store: Store) -> None:
    hub.faults.drops = [5] + [0] * 50
    with pytest.raises(FetchError):
        store.pull("hf:org/model:Q4_0")
    assert store.remove("hf:org/model:Q4_0") == 5
    assert not stored_files(store)


def test_removing_what_is_not_there_is_an_error(store: Store) -> None:
    with pytest.raises(ModelNotFound, match=r"hf:org/model is not in the store.*wazn list"):
        store.remove("hf:org/model")


def test_a_path_is_neither_removed_nor_verified(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(FIRST)
    with pytest.raises(BadRequest, match="outside the store"):
        store.remove(str(path))
    with pytest.raises(BadRequest, match="no digest"):
        store.verify(str(path))
    assert path.read_bytes() == FIRST


def test_verify_finds_missing_shortened_and_changed_files(hub: HubServer, store: Store) -> None:
    names = ["config.json", "model.safetensors", "tokenizer.json", "vocab.json"]
    hub.repositories["org/directory"] = Repository(dict.fromkeys(names, TOKENIZER))
    model = store.pull("hf:org/directory")
    progress = Recorder()
    assert store.verify("hf:org/directory", progress) == []
    assert sum(task[3] for task in progress.tasks()) == 4 * len(TOKENIZER)
    (model.path / "config.json").unlink()
    (model.path / "model.safetensors").write_bytes(TOKENIZER[:-1])
    (model.path / "tokenizer.json").write_bytes(TOKENIZER[::-1])
    problems = {problem.file: problem for problem in store.verify("hf:org/directory")}
    assert {name: problem.kind for name, problem in problems.items()} == {
        "config.json": "missing",
        "model.safetensors": "size",
        "tokenizer.json": "hash",
    }
    reversed_digest = hashlib.sha256(TOKENIZER[::-1]).hexdigest()
    assert isinstance(problems["tokenizer.json"], Problem)
    assert reversed_digest in problems["tokenizer.json"].detail
    with pytest.raises(ModelNotFound, match="is not in the store"):
        store.verify("hf:org/model")


def test_pull_repairs_what_verify_finds(store: Store) -> None:
    model = store.pull("hf:org/model:Q4_0")
    model.path.write_bytes(bytes(len(FIRST)))
    store.pull("hf:org/model:Q4_0")
    assert model.path.read_bytes() == FIRST
    assert store.verify("hf:org/model:Q4_0") == []


def test_a_model_with_a_missing_file_is_not_found_but_fetched_again(store: Store) -> None:
    model = store.pull("hf:org/model:Q4_0")
    model.path.unlink()
    assert store.find("hf:org/model:Q4_0") is None
    assert store.get("hf:org/model:Q4_0").path.read_bytes() == FIRST


def test_an_interrupted_pull_of_one_file_keeps_the_others(hub: HubServer, store: Store) -> None:
    parts = {f"m-0000{k}-of-00002.gguf": b"part %d" % k for k in (1, 2)}
    hub.repositories["org/split"] = Repository(parts)
    hub.faults.drops = [6] + [0] * 50
    with pytest.raises(FetchError):
        store.pull("hf:org/split")
    hub.faults.drops = []
    hub.seen.clear()
    model = store.pull("hf:org/split")
    assert [Path(seen.path).name for seen in hub.content_requests()] == ["m-00002-of-00002.gguf"]
    assert [(model.path.parent / name).read_bytes() for name in parts] == list(parts.values())


def test_a_manifest_is_written_for_people_too(store: Store) -> None:
    store.pull("hf:org/model:Q4_0")
    (path,) = (store.root / "manifests").iterdir()
    assert path.name.startswith("hf-org-model-Q4-0-")
    content = json.loads(path.read_text())
    assert content["files"] == [
        {"name": "m-Q4_0.gguf", "size": len(FIRST), "sha256": hashlib.sha256(FIRST).hexdigest()}
    ]
    assert content["license"] == "apache-2.0"


def test_a_full_disk_while_writing_the_manifest_leaves_the_old_one(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = store.pull("hf:org/model:Q4_0")
    hub.repositories["org/model"].commit = NEXT_COMMIT

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="is full"):
            store.pull("hf:org/model:Q4_0")
    assert store.find("hf:org/model:Q4_0") == old
    assert not list((store.root / "manifests").glob("*.tmp"))


def test_a_gguf_path_is_found_where_it_is(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(FIRST)
    for found in (store.find(str(path)), store.get(str(path)), store.pull(str(path))):
        assert found is not None
        assert (found.path, found.source, found.revision) == (path, "path", "")
        assert [(file.name, file.size, file.sha256) for file in found.files] == [
            ("mine.gguf", len(FIRST), None)
        ]
    assert store.list() == []


def test_any_part_of_a_split_path_brings_the_others(store: Store, tmp_path: Path) -> None:
    names = [f"m-0000{k}-of-00002.gguf" for k in (1, 2)]
    for name in (*names, "m-00001-of-00003.gguf"):
        (tmp_path / name).write_bytes(FIRST)
    found = store.find(str(tmp_path / names[1]))
    assert found is not None
    assert [file.name for file in found.files] == names


def test_a_directory_path_is_found_where_it_is(store: Store, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json", "notes.txt"):
        (tmp_path / name).write_bytes(FIRST)
    found = store.find(str(tmp_path))
    assert found is not None and found.path == tmp_path
    assert {file.name for file in found.files} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }


def test_a_directory_of_gguf_files_asks_for_the_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(FIRST)
    with pytest.raises(ModelNotFound, match=r"name the GGUF file in it: .*a\.gguf"):
        store.find(str(tmp_path))


def test_a_path_where_nothing_is_suggests_the_hub(store: Store) -> None:
    with pytest.raises(ModelNotFound, match=r'written "hf:Qwen/Qwen3-0\.6B"'):
        store.find("Qwen/Qwen3-0.6B")
    with pytest.raises(ModelNotFound, match=r"no file or folder /nowhere/x\.gguf\.$"):
        store.get("/nowhere/x.gguf")


def test_the_home_of_the_settings_is_the_root(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a", "http://unused.invalid")
    assert Store(settings=settings).root == tmp_path / "a"
    assert Store(tmp_path / "b", settings).root == tmp_path / "b"
    assert Store(settings=dataclasses.replace(settings, offline=True)).list() == []
