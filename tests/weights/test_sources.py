"""Both hubs, through the store, against a server that speaks their protocols."""

import dataclasses
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.weights.hub_server import (
    COMMIT,
    HubServer,
    Recorder,
    Repository,
    running_hub,
    settings_for,
)
from wazn.errors import BadFile, BadRequest, FetchError, ModelNotFound
from wazn.weights.sources import session
from wazn.weights.store import Store

SMALL = b"GGUF small"
LARGE = b"GGUF large and different"
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()
PARTS = {f"Q5_K_M/big-Q5_K_M-0000{k}-of-00002.gguf": b"part %d" % k for k in (1, 2)}
GGUFS = {"m-Q4_K_M.gguf": SMALL, "m-Q8_0.gguf": LARGE, **PARTS, "README.md": b"text"}
DIRECTORY = {
    "config.json": b"{}",
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "model-00001-of-00002.safetensors": b"first",
    "model-00002-of-00002.safetensors": b"second",
    "consolidated.safetensors": b"the same again",
    "tokenizer.json": b"tokens",
    "tokenizer_config.json": b"{}",
    "generation_config.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "pytorch_model.bin": b"pickle",
    "modeling.py": b"print()",
    "README.md": b"text",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session, "BACKOFF_S", 0.0)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for variable in ("HF_TOKEN_PATH", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with running_hub() as hub:
        hub.repositories["org/ggufs"] = Repository(dict(GGUFS))
        hub.repositories["org/directory"] = Repository(dict(DIRECTORY))
        yield hub


@pytest.fixture
def store(hub: HubServer, tmp_path: Path) -> Store:
    return Store(settings=settings_for(tmp_path / "home", hub.url))


@pytest.mark.parametrize("source", ["hf", "ms"])
def test_a_quantisation_is_chosen_inside_a_repository(store: Store, source: str) -> None:
    model = store.pull(f"{source}:org/ggufs:q8_0")
    assert model.path.name == "m-Q8_0.gguf"
    assert model.path.read_bytes() == LARGE
    assert model.revision == COMMIT
    assert [file.sha256 for file in model.files] == [LARGE_SHA256]


@pytest.mark.parametrize("source", ["hf", "ms"])
def test_without_a_choice_the_usual_quantisation_is_taken(store: Store, source: str) -> None:
    assert store.pull(f"{source}:org/ggufs").path.name == "m-Q4_K_M.gguf"


@pytest.mark.parametrize("source", ["hf", "ms"])
def test_split_files_lie_together_under_their_own_names(store: Store, source: str) -> None:
    model = store.pull(f"{source}:org/ggufs:Q5_K_M")
    assert model.path.name == "big-Q5_K_M-00001-of-00002.gguf"
    assert [path.read_bytes() for path in sorted(model.path.parent.iterdir())] == [
        b"part 1",
        b"part 2",
    ]


@pytest.mark.parametrize("source", ["hf", "ms"])
def test_a_safetensors_repository_becomes_a_directory_without_anything_else(
    store: Store, source: str
) -> None:
    model = store.pull(f"{source}:org/directory")
    assert model.path.is_dir()
    unwanted = {"consolidated.safetensors", "pytorch_model.bin", "modeling.py", "README.md"}
    assert {path.name for path in model.path.iterdir()} == DIRECTORY.keys() - unwanted
    for path in model.path.iterdir():
        assert path.read_bytes() == DIRECTORY[path.name]


@pytest.mark.parametrize(
    ("facts", "license"),
    [
        ({"cardData": {"license": "apache-2.0"}, "tags": ["license:other"]}, "apache-2.0"),
        ({"cardData": None, "tags": ["gguf", "license:mit"]}, "mit"),
        ({"cardData": {"license": ["a", "b"]}, "tags": []}, None),
        ({"cardData": {"license": "\x1b[31m"}}, None),
        ({}, None),
    ],
)
def test_the_licence_that_the_hub_names_is_kept(
    hub: HubServer, store: Store, facts: dict[str, object], license: str | None
) -> None:
    content = {"rfilename": "m-Q8_0.gguf", "lfs": {"size": len(LARGE), "sha256": LARGE_SHA256}}
    hub.faults.listing = json.dumps({"sha": COMMIT, "siblings": [content], **facts}).encode()
    assert store.pull("hf:org/ggufs").license == license


def test_small_files_are_checked_by_their_git_id(hub: HubServer, store: Store) -> None:
    hub.faults.corrupts = True
    hub.repositories["org/directory"].files.pop("model.safetensors.index.json")
    hub.repositories["org/directory"].files["model.safetensors"] = b""
    with pytest.raises(FetchError, match="arrived with git-sha1"):
        store.pull("hf:org/directory")


@pytest.mark.parametrize("source", ["hf", "ms"])
def test_every_byte_is_asked_for_at_the_resolved_commit(
    hub: HubServer, store: Store, source: str
) -> None:
    store.pull(f"{source}:org/ggufs")
    (seen,) = hub.content_requests()
    assert COMMIT in (seen.query.get("Revision"), seen.path.split("/resolve/")[-1].split("/")[0])


def test_a_revision_can_be_named(hub: HubServer, store: Store) -> None:
    assert store.pull(f"hf:org/ggufs@{COMMIT}").revision == COMMIT
    assert store.pull(f"ms:org/ggufs@{COMMIT}").revision == COMMIT


@pytest.mark.parametrize("source", ["hf", "ms"])
def test_a_revision_that_does_not_exist_is_named(store: Store, source: str) -> None:
    with pytest.raises(ModelNotFound, match="v9"):
        store.pull(f"{source}:org/ggufs@v9")


@pytest.mark.parametrize("source", ["hf", "ms"])
def test_a_repository_that_does_not_exist_is_named(store: Store, source: str) -> None:
    with pytest.raises(ModelNotFound, match=r"org/nothing that you may see. Check the name"):
        store.pull(f"{source}:org/nothing")


def test_a_modelscope_listing_without_commits_is_pinned_by_its_digests(
    hub: HubServer, store: Store
) -> None:
    hub.faults.ms_commit_hidden = True
    model = store.pull("ms:org/ggufs")
    assert model.revision.startswith("content-")
    assert model.path.read_bytes() == SMALL


def test_an_error_of_modelscope_inside_status_200_is_told(hub: HubServer, store: Store) -> None:
    hub.faults.listing = b'{"Code": 500, "Success": false, "Message": "out of order"}'
    with pytest.raises(ModelNotFound, match="out of order"):
        store.pull("ms:org/ggufs")


@pytest.mark.parametrize(
    ("source", "page", "variable"),
    [
        ("hf", "https://huggingface.co/org/gated", "WAZN_HF_TOKEN"),
        ("ms", "https://modelscope.cn/models/org/gated", "WAZN_MS_TOKEN"),
    ],
)
def test_a_gated_repository_says_where_to_accept_and_how_to_set_the_token(
    hub: HubServer, store: Store, source: str, page: str, variable: str
) -> None:
    hub.repositories["org/gated"] = Repository(dict(GGUFS), token="hf_secret")
    with pytest.raises(FetchError) as caught:
        store.pull(f"{source}:org/gated")
    assert page in str(caught.value) and variable in str(caught.value)


def test_a_token_without_access_is_told_so_and_never_shown(hub: HubServer, tmp_path: Path) -> None:
    hub.repositories["org/gated"] = Repository(dict(GGUFS), token="hf_secret")
    store = Store(settings=settings_for(tmp_path, hub.url, token="hf_other"))
    with pytest.raises(FetchError, match="the token in use may not read it") as caught:
        store.pull("hf:org/gated")
    assert "hf_other" not in str(caught.value)


@pytest.mark.parametrize("source", ["hf", "ms"])
def test_the_token_of_the_settings_opens_a_gated_repository(
    hub: HubServer, tmp_path: Path, source: str
) -> None:
    hub.repositories["org/gated"] = Repository(dict(GGUFS), token="hf_secret")
    store = Store(settings=settings_for(tmp_path, hub.url, token="hf_secret"))
    assert store.pull(f"{source}:org/gated").path.read_bytes() == SMALL


def test_the_token_file_of_the_hub_is_used(hub: HubServer, store: Store, tmp_path: Path) -> None:
    hub.repositories["org/gated"] = Repository(dict(GGUFS), token="hf_secret")
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_secret\n")
    assert store.pull("hf:org/gated").path.read_bytes() == SMALL


@pytest.mark.parametrize("source", ["hf", "ms"])
def test_a_redirect_to_another_host_never_gets_the_token(
    hub: HubServer, tmp_path: Path, source: str
) -> None:
    with running_hub() as cdn:
        cdn.repositories["org/ggufs"] = Repository(dict(GGUFS))
        hub.faults.redirect_to = cdn.url
        store = Store(settings=settings_for(tmp_path, hub.url, token="hf_secret"))
        cdn.faults.drops = [4]
        assert store.pull(f"{source}:org/ggufs").path.read_bytes() == SMALL
    assert all("hf_secret" in str(seen.headers) for seen in hub.seen)
    assert [seen.range for seen in cdn.seen] == [None, "bytes=4-"]
    assert not any("hf_secret" in str(seen.headers) for seen in cdn.seen)


def test_a_redirect_without_end_is_an_error(hub: HubServer, store: Store) -> None:
    hub.faults.redirect_to = hub.url
    with pytest.raises(FetchError, match="redirects"):
        store.pull("hf:org/ggufs")


def test_a_mirror_with_a_path_of_its_own_is_spoken_to(hub: HubServer, tmp_path: Path) -> None:
    hub.prefix = "/mirrors/hf"
    store = Store(settings=settings_for(tmp_path, f"{hub.url}/mirrors/hf"))
    assert store.pull("hf:org/ggufs").path.read_bytes() == SMALL


def test_the_proxy_of_the_environment_is_used(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    store = Store(settings=settings_for(tmp_path, "http://hub.invalid"))
    assert store.pull("hf:org/ggufs").path.read_bytes() == SMALL
    assert {seen.host for seen in hub.seen} == {"hub.invalid"}


def test_a_proxy_setting_that_is_no_address_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "nonsense://proxy")
    with pytest.raises(FetchError, match="proxy or certificate settings of the environment"):
        store.pull("hf:org/ggufs")


@pytest.mark.parametrize(("source", "variable"), [("hf", "WAZN_HF_"), ("ms", "WAZN_MS_")])
def test_no_network_is_one_sentence_that_names_the_address(
    tmp_path: Path, source: str, variable: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = Store(settings=settings_for(tmp_path, url))
        with pytest.raises(FetchError, match=rf"at {url} cannot be reached: .*{variable}ENDPOINT"):
            store.pull(f"{source}:org/ggufs")


def test_offline_refuses_before_any_request_and_names_the_setting(
    hub: HubServer, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match=r"offline \(WAZN_OFFLINE, --offline\)"):
        store.get("hf:org/ggufs", offline=True)
    settings = dataclasses.replace(settings_for(tmp_path, hub.url), offline=True)
    for reference in ("hf:org/ggufs", "ms:org/ggufs", "pypi:tiny"):
        with pytest.raises(FetchError, match="offline"):
            Store(settings=settings).pull(reference)
    assert not hub.seen


def test_offline_does_not_hinder_what_is_here(store: Store) -> None:
    pulled = store.pull("hf:org/ggufs")
    assert store.get("hf:org/ggufs", offline=True) == pulled


@pytest.mark.parametrize("source", ["hf", "ms"])
@pytest.mark.parametrize(
    "name",
    ["../m-Q4_K_M.gguf", "/m-Q4_K_M.gguf", "a/../../m-Q4_K_M.gguf", "a\\m-Q4_K_M.gguf", "\0.gguf"],
)
def test_a_hostile_file_name_is_refused(
    hub: HubServer, store: Store, source: str, name: str
) -> None:
    hub.repositories["org/evil"] = Repository({name: SMALL})
    with pytest.raises(FetchError, match="which is not a plain name"):
        store.pull(f"{source}:org/evil")
    assert not hub.content_requests()


@pytest.mark.parametrize("source", ["hf", "ms"])
@pytest.mark.parametrize("size", [-1, 2**63, "12", None, True, 1.5])
def test_a_size_that_is_no_size_is_refused(
    hub: HubServer, store: Store, source: str, size: object
) -> None:
    hub.faults.sizes["m-Q4_K_M.gguf"] = size
    with pytest.raises(FetchError, match="with a size of"):
        store.pull(f"{source}:org/ggufs")


@pytest.mark.parametrize("source", ["hf", "ms"])
@pytest.mark.parametrize("digest", [None, "", "0123", "../../etc/passwd"])
def test_a_file_without_a_usable_checksum_is_refused(
    hub: HubServer, store: Store, source: str, digest: str | None
) -> None:
    hub.faults.digests["m-Q4_K_M.gguf"] = digest
    if source == "hf" and digest is not None:
        hub.faults.digests["m-Q4_K_M.gguf"] = None
    with pytest.raises(FetchError, match="publishes no checksum for m-Q4_K_M"):
        store.pull(f"{source}:org/ggufs")


@pytest.mark.parametrize("commit", ["../../x", "", "main", "0" * 39, "G" * 40])
def test_a_commit_that_is_no_commit_is_refused(hub: HubServer, store: Store, commit: str) -> None:
    hub.repositories["org/ggufs"].commit = commit
    with pytest.raises(FetchError, match="names no commit"):
        store.pull("hf:org/ggufs")


@pytest.mark.parametrize("source", ["hf", "ms"])
@pytest.mark.parametrize(
    "listing",
    [
        b"<html>a captive portal</html>",
        b"[]",
        b"[" * 100_000,
        json.dumps({"sha": COMMIT, "Code": 200}).encode(),
        json.dumps({"sha": COMMIT, "siblings": [1], "Code": 200, "Data": {"Files": [1]}}).encode(),
    ],
)
def test_a_listing_that_is_no_listing_is_one_clear_error(
    hub: HubServer, store: Store, source: str, listing: bytes
) -> None:
    hub.faults.listing = listing
    with pytest.raises(FetchError, match=r"JSON|is this address a hub"):
        store.pull(f"{source}:org/ggufs")


def test_a_listing_without_end_is_cut_off(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_METADATA_BYTES", 1000)
    hub.faults.listing = b" " * 2000
    with pytest.raises(FetchError, match="more than 1000 bytes"):
        store.pull("hf:org/ggufs")


def test_control_characters_of_a_hub_never_reach_a_message(hub: HubServer, store: Store) -> None:
    hub.repositories["org/evil"] = Repository({"a\x1b[2J.gguf": SMALL, "b\x1b[2J.gguf": LARGE})
    with pytest.raises(BadRequest) as caught:
        store.pull("hf:org/evil")
    assert str(caught.value).isprintable()
    hub.faults.listing = b'{"Code": 500, "Message": "\\u001b[2J"}'
    with pytest.raises(ModelNotFound) as told:
        store.pull("ms:org/evil")
    assert str(told.value).isprintable()


def test_an_open_choice_lists_what_exists(hub: HubServer, store: Store) -> None:
    hub.repositories["org/two"] = Repository({"a-Q4_0.gguf": SMALL, "b-Q4_0.gguf": LARGE})
    with pytest.raises(BadRequest, match=r"a-Q4_0\.gguf, b-Q4_0\.gguf"):
        store.pull("hf:org/two")
    with pytest.raises(ModelNotFound, match=r"m-Q4_K_M\.gguf, m-Q8_0\.gguf"):
        store.pull("hf:org/ggufs:Q2_K")


def test_a_damaged_manifest_is_named(store: Store) -> None:
    store.pull("hf:org/ggufs")
    (manifest,) = (store.root / "manifests").iterdir()
    for damage in (b"", b"{}", b"[]", manifest.read_bytes().replace(b"m-Q4", b"../m-Q4")):
        manifest.write_bytes(damage)
        with pytest.raises(BadFile, match=f"{manifest.name} is damaged"):
            store.find("hf:org/ggufs")


def test_a_hub_that_answers_in_time_reports_each_file(store: Store) -> None:
    progress = Recorder()
    store.pull("hf:org/ggufs:Q5_K_M", progress)
    assert [(name, total) for name, total, _, _ in progress.tasks()] == [
        (name, len(content)) for name, content in PARTS.items()
    ]
