"""Make ``tiny_shapes.json``: tiny configurations of every family, and how many numbers they have.

    python -m tests.plan.make_tiny_shapes CONFIGS.json

CONFIGS.json maps a model_type to the values that differ from the family's defaults. The models are
built by transformers on the meta device, so the counts owe nothing to ``wazn.plan``. Models that
transformers has only without an output matrix get one counted in.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parent / "tiny_shapes.json"
DROPPED = ("id2label", "label2id", "architectures", "transformers_version", "problem_type")


def main(configs: Path) -> None:
    """Count the parameters of every configuration and write the file."""
    shapes = {name: _shape(name, values) for name, values in _read(configs).items()}
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(one)}" for name, one in shapes.items())
    OUTPUT.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def _read(path: Path) -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def _shape(name: str, values: dict[str, Any]) -> dict[str, Any]:
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    build_without_head: Any = AutoModel.from_config
    config = AutoConfig.for_model(name, **values)
    with torch.device("meta"):
        try:
            model = build(config)
            head = 0
        except ValueError:
            model = build_without_head(config)
            head = config.vocab_size * config.hidden_size
    written = {key: value for key, value in config.to_dict().items() if key not in DROPPED}
    saved = model.state_dict()
    buffers = sum(held.numel() for name, held in model.named_buffers() if name in saved)
    return {"parameters": model.num_parameters() + buffers + head, "config": written}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
