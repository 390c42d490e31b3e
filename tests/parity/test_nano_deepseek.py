"""DeepSeek-V4 against a second, independent program, the package nano-deepseek-v4 (0.2.0).

Both read the same directory, in published names and settings. Two things of the package are not as
transformers, vLLM and the makers have them, and are put right here: the weights of streams, which
are replaced, and layers with compressed rows, whose queries and own keys it rotates by the angles
of the other layers: so both kinds of angles are given one base.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from nano_deepseek_v4 import modeling
from nano_deepseek_v4.checkpoint import load_deepseek_official_checkpoint
from nano_deepseek_v4.config import DeepSeekV4Config

from tests.golden.weights import token_ids
from tests.parity.test_later_families import (
    CASES,
    NUM_TOKENS,
    SEED,
    TOLERANCE,
    relative_error,
    write_published,
)
from wazn import LLM

BASE = 10000.0


def weights_of_streams(module: Any, streams: Any) -> tuple[Any, Any, Any]:
    """``HyperConnection.forward`` as published: twice a sigmoid; a softmax, made doubly stochastic
    by Sinkhorn's steps and applied transposed."""
    n = module.hc_mult
    mixed = module.input_norm(streams.flatten(start_dim=2)) @ module.fn.T
    parts = (mixed.split([n, n, n * n], -1), module.scale, module.base.split([n, n, n * n]))
    pre, post, comb = (part * scale + base for part, scale, base in zip(*parts, strict=True))
    comb = comb.unflatten(-1, (n, n)).softmax(dim=-1) + module.eps
    for step in range(2 * module.sinkhorn_iters - 1):
        comb = comb / (comb.sum(dim=-1 if step % 2 else -2, keepdim=True) + module.eps)
    collapsed = ((pre.sigmoid() + module.eps).unsqueeze(-1) * streams).sum(dim=2)
    return 2 * post.sigmoid(), comb.transpose(-1, -2), collapsed


@pytest.mark.parametrize("case", range(CASES))
def test_logits_are_those_of_the_package(
    case: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = SEED * 10**6 + case
    _, settings = write_published(tmp_path, "nano", seed, compress_base=BASE)
    monkeypatch.setattr(modeling.HyperConnection, "forward", weights_of_streams)
    model = modeling.DeepSeekV4ForCausalLM(DeepSeekV4Config.from_official_json(settings)).eval()
    report = load_deepseek_official_checkpoint(model, tmp_path)
    unused = (".tid2eid", ".e_score_correction_bias")  # of layers that choose in the other way
    assert all(name.endswith(unused) for name in report.missing_keys)
    assert not report.unexpected_keys and not report.conversion.unconverted_keys
    print(settings["compress_ratios"], settings["num_hash_layers"])
    ids = token_ids(f"nano/{seed}", NUM_TOKENS, settings["vocab_size"])
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    with LLM(tmp_path, precision="exact") as llm:
        error = relative_error(llm.logits(ids), expected)
    print(f"largest relative difference {error:.2e}")
    assert error < TOLERANCE
