"""Computes the answers of the tiny models with transformers and checks that they mean something.

For every model of the catalogue: config.json, logits.npz (one array of some rows per number format)
and continuations.json. Refuses to write answers that a faulty implementation could reach: a greedy
choice that is nearly a tie, or logits that hardly move when a feature is switched off. Run from
the root: ``python -m tests.golden.make [NAME…]``.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from tests.golden import later_families, later_shapes, reference, window_families
from tests.golden.answers import FORMAT_ROWS, ROWS, sequence
from tests.golden.build import read_config, tiny_directory, tiny_gguf, write_safetensors
from tests.golden.catalogue import CATALOGUE, FOLDER, Tiny
from tests.golden.converted import has_gguf
from tests.golden.tensors import draw
from tests.golden.texts import CONVERSATION, PROMPTS

NARROWEST_LEAD = 5e-3  # of a greedy choice, in logits; float32 sums differ by about 1e-5
LEAST_EFFECT = 1e-2  # of switching a feature off, relative; the tests allow 1e-4


def make(tiny: Tiny, scratch: Path) -> None:
    """Writes one model's folder."""
    tiny.folder.mkdir(exist_ok=True)
    (tiny.folder / "config.json").write_text(json.dumps(tiny.config, indent=1) + "\n")
    folder = tiny_directory(tiny, scratch / tiny.name)
    model = reference.from_directory(folder)
    found = {"F32": reference.logits(model, sequence(tiny))[list(ROWS)]}
    print(f"{tiny.name}: logits {found['F32'].std():.2f} ± std")
    _check_features(tiny, scratch, found["F32"])
    _write_continuations(tiny, model, folder)
    if tiny.bfloat16_shards:
        sharded = tiny_directory(tiny, scratch / f"{tiny.name}-sharded", tiny.bfloat16_shards)
        found["sharded"] = _format_rows(tiny, reference.from_directory(sharded))
    config = read_config(tiny)
    # Files of the later families have a converter's word for it: tests/parity/test_converter.py.
    is_plain = has_gguf(config) and not later_shapes.has_shapes(config)
    plain = (GGMLQuantizationType.F32,) if is_plain else ()
    for kind in (*plain, *tiny.formats):
        path = tiny_gguf(tiny, scratch / f"{tiny.name}-{kind.name}.gguf", kind)
        rows = _format_rows(tiny, reference.from_gguf(path, config))
        if kind == GGMLQuantizationType.F32:
            _check_same(rows, found["F32"][[ROWS.index(row) for row in FORMAT_ROWS]])
        else:
            found[kind.name] = rows
    np.savez_compressed(tiny.folder / "logits.npz", allow_pickle=False, **found)


def _format_rows(tiny: Tiny, model: reference.Model) -> NDArray[np.float32]:
    return reference.logits(model, sequence(tiny))[list(FORMAT_ROWS)]


def _check_same(gguf: NDArray[np.float32], directory: NDArray[np.float32]) -> None:
    difference = float(np.abs(gguf - directory).max())
    if difference > 1e-6:
        raise SystemExit(f"the GGUF file and the directory disagree by {difference}")


def _write_continuations(tiny: Tiny, model: reference.Model, folder: Path) -> None:
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    prompts: list[dict[str, Any]] = [
        {"prompt": text, "prompt_ids": tokenizer(text)["input_ids"]} for text in PROMPTS
    ]
    text = tokenizer.apply_chat_template(
        list(CONVERSATION), add_generation_prompt=True, tokenize=False
    )
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    prompts.append({"prompt": list(CONVERSATION), "prompt_ids": ids})
    for entry in prompts:
        entry["continuation"], lead = reference.greedy(model, entry["prompt_ids"], 64)
        variety = len(set(entry["continuation"]))
        print(f"  {len(entry['prompt_ids'])} tokens, lead {lead:.4f}, {variety} different tokens")
        if lead < NARROWEST_LEAD or variety < 8:
            raise SystemExit(f"{tiny.name}: nearly a tie or monotonous; take another seed")
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in prompts)
    (tiny.folder / "continuations.json").write_text(f"[\n{lines}\n]\n")


def _check_features(tiny: Tiny, scratch: Path, answers: NDArray[np.float32]) -> None:
    for index, (feature, change) in enumerate(tiny.ablations.items()):
        folder = scratch / f"{tiny.name}-without-{index}"
        tiny_directory(tiny, folder)
        if isinstance(change, str):
            tensors = draw(tiny.config, tiny.seed)
            neutral = {
                name: 0.0 if name.endswith((".bias", "_bias", "ape", "_base")) else 1.0
                for name in tensors
            } | {name: -50.0 for name in tensors if name.endswith(("attn_sink", ".sinks"))}
            for name in (name for name in tensors if name.endswith(change)):
                tensors[name][:] = neutral[name]
            write_safetensors(tensors, folder / "model.safetensors", GGMLQuantizationType.F32)
        else:
            changed: Mapping[str, Any] = {**tiny.config, **change}
            (folder / "config.json").write_text(json.dumps(changed))
        without = reference.logits(reference.from_directory(folder), sequence(tiny))[list(ROWS)]
        effect = float(np.abs(without - answers).max() / np.abs(answers).max())
        print(f"  without {feature}: {effect:.3f}")
        if effect < LEAST_EFFECT:
            raise SystemExit(f"{tiny.name}: {feature} does not show in the answers")


def main() -> None:
    """Makes the named models, or all."""
    torch.set_num_threads(1)
    logging: Any = transformers.utils.logging
    logging.disable_progress_bar()
    every = (*CATALOGUE, *later_families.CATALOGUE, *window_families.CATALOGUE)
    wanted = sys.argv[1:] or [tiny.name for tiny in every]
    with tempfile.TemporaryDirectory() as scratch:
        for tiny in every:
            if tiny.name in wanted:
                make(tiny, Path(scratch))
    size = sum(path.stat().st_size for path in FOLDER.rglob("*.*") if path.suffix != ".pyc")
    print(f"{size / 1000:.0f} kB in all")


if __name__ == "__main__":
    main()
