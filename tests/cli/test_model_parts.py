"""Names of tensors, and what they are for."""

import pytest

from wazn.cli.labs import lab_of
from wazn.cli.model_parts import part_of


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("token_embd.weight", "embedding"),
        ("model.language_model.embed_tokens.weight", "embedding"),
        ("lm_head.weight", "head"),
        ("output.weight", "head"),
        ("output_norm.weight", "norms"),
        ("model.layers.3.self_attn.q_proj.weight", "attention"),
        ("model.layers.3.self_attn.q_norm.weight", "norms"),
        ("blk.3.attn_output.weight", "attention"),
        ("model.layers.3.linear_attn.in_proj_qkvz.weight", "attention"),
        ("blk.3.ssm_a", "attention"),
        ("model.layers.3.mlp.down_proj.weight", "feed-forward"),
        ("blk.3.ffn_down.weight", "feed-forward"),
        ("model.layers.3.mlp.gate.weight", "router"),
        ("model.layers.3.mlp.gate.e_score_correction_bias", "router"),
        ("blk.3.ffn_gate_inp.weight", "router"),
        ("blk.3.exp_probs_b.bias", "router"),
        ("layers.3.ffn.gate.tid2eid", "router"),
        ("model.layers.3.mlp.experts.7.up_proj.weight", "experts"),
        ("model.layers.3.mlp.experts.gate_up_proj_blocks", "experts"),
        ("blk.3.ffn_up_exps.weight", "experts"),
        ("model.layers.3.mlp.shared_experts.up_proj.weight", "shared experts"),
        ("blk.3.ffn_up_shexp.weight", "shared experts"),
        ("model.visual.blocks.40.attn.qkv.weight", "vision and audio"),
        ("vision_tower.encoder.layers.40.mlp.fc1.weight", "vision and audio"),
        ("multi_modal_projector.linear_1.weight", "vision and audio"),
        ("v.blk.2.attn_q.weight", "vision and audio"),
        ("mtp.layers.0.mlp.down_proj.weight", "draft layers (MTP)"),
        ("model.mtp_block.0.mlp.down_proj.weight", "draft layers (MTP)"),
        ("model.layers.4.mlp.down_proj.weight", "draft layers (MTP)"),
        ("blk.4.nextn.eh_proj.weight", "draft layers (MTP)"),
        ("rope_freqs.weight", "something else"),
    ],
)
def test_a_tensor_belongs_to_the_part_its_name_says(name: str, part: str) -> None:
    assert part_of(name, num_layers=4) == part


def test_without_a_number_of_layers_none_is_beyond_it() -> None:
    assert part_of("model.layers.4.mlp.down_proj.weight", None) == "feed-forward"


def test_a_lab_is_known_by_the_beginning_of_the_architecture() -> None:
    assert lab_of("qwen3_moe") == "Alibaba (Qwen)"
    assert lab_of("DeepSeek4") == "DeepSeek"
    assert lab_of("ernie4_5-moe") == "Baidu"
    assert lab_of("mamba") is lab_of(None) is None
