"""ModelScope and its mirrors.

Protocol: `api/v1/models/ORG/NAME/repo/files?Revision=R&Recursive=True` (the capital matters) lists
Path, Type, Size, Sha256; `.../repo?Revision=R&FilePath=F` gives the bytes. An error may come with
status 200 and `"Success": false`. The listing names the commit only in part (`ShortId`, often no
`Id`), but most files carry the full commit that last changed them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

from wazn.errors import FetchError, ModelNotFound, WaznError
from wazn.settings import MODELSCOPE
from wazn.weights.quoting import quoted
from wazn.weights.references import Reference
from wazn.weights.sources import RemoteFile, Snapshot, Workspace
from wazn.weights.sources.download import Wanted, download
from wazn.weights.sources.listing import digest, is_commit, mapping, mappings, snapshot
from wazn.weights.sources.session import Refusal, Service, Session


class ModelScope:
    """One repository on ModelScope, or on a mirror that speaks its protocol."""

    def __init__(self, reference: Reference, workspace: Workspace) -> None:
        settings = workspace.settings
        self._reference = reference
        self._workspace = workspace
        self._asked = reference.revision or "master"
        service = Service("ModelScope", settings.ms_endpoint, "WAZN_MS_ENDPOINT")
        token = settings.ms_token
        # the older half of its API knows only the session cookie
        headers = (
            {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}
        )
        self._session = Session(service, headers)
        self._base = f"{service.endpoint}/api/v1/models/{reference.name}/repo"

    def close(self) -> None:
        self._session.close()

    def resolve(self) -> Snapshot:
        query = urlencode({"Revision": self._asked, "Recursive": "True"})
        try:
            answer = mapping(self._session.json(f"{self._base}/files?{query}"), "answer")
        except Refusal as refusal:
            raise self._explained(refusal) from refusal
        if answer.get("Code") != 200 or answer.get("Success") is False:
            raise ModelNotFound(
                f"ModelScope does not give {self._reference}: {quoted(str(answer.get('Message')))}."
            )
        data = mapping(answer.get("Data"), "Data")
        entries = [e for e in mappings(data.get("Files"), "Files") if e.get("Type") != "tree"]
        listed = {
            str(entry.get("Path")): (entry.get("Size"), digest("sha256", entry.get("Sha256")))
            for entry in entries
        }
        commit = _commit(data, entries, self._asked)
        found = snapshot(self._reference, commit or "", None, listed)
        if commit is None:
            return Snapshot(_content_id(found.files), None, found.files)
        self._asked = commit
        return found

    def fetch(self, file: RemoteFile, part: Path) -> str:
        assert file.digest is not None  # a snapshot of a hub has no file without
        query = urlencode({"Revision": self._asked, "FilePath": file.name})
        wanted = Wanted(f"{self._base}?{query}", file.name, file.size, file.digest)
        try:
            return download(self._session, wanted, part, self._workspace.progress)
        except Refusal as refusal:
            raise self._explained(refusal) from refusal

    def _explained(self, refusal: Refusal) -> WaznError:
        """What an error status means for the person who asked."""
        name, page = self._reference.name, f"{MODELSCOPE}/models/{self._reference.name}"
        token = f"set WAZN_MS_TOKEN to a token from {MODELSCOPE}/my/myaccesstoken"
        if refusal.status == 404:
            return ModelNotFound(
                f"ModelScope has no {self._reference} that you may see. Check the name; if it is "
                f"private, {token}."
            )
        if refusal.status in (401, 403):
            return FetchError(f"{name} needs permission: accept its terms at {page}, then {token}.")
        return refusal


def _commit(
    data: Mapping[str, object], entries: Sequence[Mapping[str, object]], asked: str
) -> str | None:
    """The commit of the listing in full, if it can be told."""
    latest = data.get("LatestCommitter")
    known = latest if isinstance(latest, dict) else {}
    short = known.get("ShortId")
    if is_commit(known.get("Id")):
        return str(known["Id"])
    if is_commit(asked):
        return asked
    for entry in entries:
        revision = entry.get("Revision")
        if is_commit(revision) and short and str(revision).startswith(str(short)):
            return str(revision)
    return None


def _content_id(files: Sequence[RemoteFile]) -> str:
    """A revision made of the promised digests, for a listing whose commit cannot be told."""
    lines = [f"{file.name} {file.digest.value}\n" for file in files if file.digest]
    return "content-" + hashlib.sha256("".join(lines).encode()).hexdigest()[:40]
