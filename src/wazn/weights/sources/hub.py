"""The Hugging Face Hub and its mirrors.

Plain HTTP rather than huggingface_hub: one client for metadata and bytes, so that proxies, mirrors,
tokens, redirects and the offline rule hold in one place, with no telemetry or Xet to switch off.
Protocol: `api/models/ORG/NAME/revision/REV?blobs=true` lists files with sizes, SHA-256 (LFS) or git
blob ids (the rest); `ORG/NAME/resolve/COMMIT/FILE` gives the bytes, often from another host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from wazn.errors import FetchError, ModelNotFound, WaznError
from wazn.settings import HUGGING_FACE
from wazn.weights.references import Reference
from wazn.weights.sources import Digest, RemoteFile, Snapshot, Workspace
from wazn.weights.sources.download import Wanted, download
from wazn.weights.sources.listing import digest, is_commit, mapping, mappings, snapshot
from wazn.weights.sources.session import Refusal, Service, Session

_TOKEN_FILE_BYTES = 4096


class HuggingFace:
    """One repository on the Hugging Face Hub, or on a mirror that speaks its protocol."""

    def __init__(self, reference: Reference, workspace: Workspace) -> None:
        settings = workspace.settings
        self._reference = reference
        self._workspace = workspace
        self._revision = ""
        self._token = settings.hf_token or stored_token()
        service = Service("Hugging Face", settings.hf_endpoint, "WAZN_HF_ENDPOINT")
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._session = Session(service, headers)

    def close(self) -> None:
        self._session.close()

    def resolve(self) -> Snapshot:
        name = self._reference.name
        asked = quote(self._reference.revision or "main", safe="")
        url = f"{self._session.service.endpoint}/api/models/{name}/revision/{asked}?blobs=true"
        try:
            answer = mapping(self._session.json(url), "model")
        except Refusal as refusal:
            raise self._explained(refusal) from refusal
        revision = answer.get("sha")
        if not isinstance(revision, str) or not is_commit(revision):
            raise FetchError(f"Hugging Face names no commit for {self._reference}.")
        self._revision = revision
        listed: dict[str, tuple[object, Digest | None]] = {}
        for entry in mappings(answer.get("siblings"), "siblings"):
            lfs = mapping(entry.get("lfs") or {}, "lfs")
            promised = digest("sha256", lfs.get("sha256")) or digest(
                "git-sha1", entry.get("blobId")
            )
            listed[str(entry.get("rfilename"))] = (lfs.get("size", entry.get("size")), promised)
        return snapshot(self._reference, revision, _license(answer), listed)

    def fetch(self, file: RemoteFile, part: Path) -> str:
        assert file.digest is not None  # a snapshot of a hub has no file without
        base = f"{self._session.service.endpoint}/{self._reference.name}"
        url = f"{base}/resolve/{self._revision}/{quote(file.name)}"
        wanted = Wanted(url, file.name, file.size, file.digest)
        try:
            return download(self._session, wanted, part, self._workspace.progress)
        except Refusal as refusal:
            raise self._explained(refusal) from refusal

    def _explained(self, refusal: Refusal) -> WaznError:
        """What an error status means for the person who asked."""
        name, page = self._reference.name, f"{HUGGING_FACE}/{self._reference.name}"
        token = f"set WAZN_HF_TOKEN to a token from {HUGGING_FACE}/settings/tokens"
        if refusal.code == "RevisionNotFound":
            return ModelNotFound(f"hf:{name} has no revision {self._reference.revision!r}.")
        if refusal.code == "RepoNotFound" or refusal.status == 404:
            return ModelNotFound(
                f"Hugging Face has no repository {name} that you may see. Check the name; if it "
                f"is private, {token}."
            )
        if refusal.status not in (401, 403):
            return refusal
        if self._token and refusal.status == 401:
            return FetchError(
                f"Hugging Face does not accept the token it was given for {name}; {token}."
            )
        if self._token:
            return FetchError(
                f"{name} is gated and the token in use may not read it: accept its licence at "
                f"{page} with the account of that token, or {token}."
            )
        return FetchError(
            f"{name} is gated: accept its licence at {page}, then {token} of the same account."
        )


def stored_token() -> str | None:
    """The token that `hf auth login` keeps, from the places where it keeps it."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    path = Path(os.path.expanduser(os.environ.get("HF_TOKEN_PATH") or f"{home}/token"))
    try:
        with open(path, encoding="ascii") as file:
            token = file.read(_TOKEN_FILE_BYTES).strip()
    except (OSError, UnicodeDecodeError):
        return None  # public repositories need none, and for others the refusal says what to do
    return token if token and token.isprintable() else None


def _license(facts: Mapping[str, object]) -> str | None:
    """The licence's short name, if what is said of it can be one."""
    card, tags = facts.get("cardData"), facts.get("tags")
    named = card.get("license") if isinstance(card, dict) else None
    if not isinstance(named, str) and isinstance(tags, list):
        tagged = (tag[8:] for tag in tags if isinstance(tag, str) and tag.startswith("license:"))
        named = next(tagged, None)
    return named if isinstance(named, str) and named.isprintable() and len(named) < 100 else None
