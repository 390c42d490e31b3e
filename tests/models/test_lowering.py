"""What lowering makes of recorded mathematics, and what it refuses."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.models.random_models import FAMILIES, random_config, random_model, random_weights
from wazn import native
from wazn.errors import BadFile, UnsupportedModel
from wazn.models.attention import AttentionKind
from wazn.models.blocks import Layer, Linear, Norm, attend, embed, gelu_tanh
from wazn.models.lowering import Shape, lower
from wazn.models.recorder import Recorder, Tensor
from wazn.weights.formats import Format

SHAPE = Shape(8, False, 2, 32, "float16", False)


def test_a_llama_block_becomes_eleven_operations() -> None:
    listing = random_model("llama", Format.Q4_1).describe_program().splitlines()
    block = listing[listing.index("segment embed") + 1 : listing.index("segment block 0")]
    assert len(block) == 11
    products = [line for line in block if "linear" in line]
    assert len(products) == 4
    assert products[0].count(" = ") == 3  # q, k and v share one quantised input
    assert " += " in products[1] and " += " in products[3]  # residuals are accumulated


def test_buffers_are_reused_from_block_to_block() -> None:
    words = random_model("llama", Format.Q4_1).describe_program().replace(":", " ").split()
    buffers = {word for word in words if word[0] == "b" and word[1:].isdigit()}
    assert len(buffers) == 10


def test_segments_can_be_told_apart() -> None:
    listing = random_model("qwen3", Format.Q4_K).describe_program()
    segments = [line for line in listing.splitlines() if line.startswith("segment")]
    expected = ["embed", "block 0", "block 1", "norm", "head", "hidden"]
    assert segments == [f"segment {name}" for name in expected]


def record_block(replaced: dict[str, str]) -> None:
    """Records one Llama block in which tensors are replaced by others of the same model."""
    weights = random_weights("llama", Format.Q4_0)
    for name, source in replaced.items():
        place = weights.places[f"model.layers.1.{source}.weight"]
        weights.places[f"model.layers.0.{name}.weight"] = place
    config = random_config("llama")
    lowered(lambda x: FAMILIES["llama"](config).block(x, Layer(weights, config, 0)))


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"self_attn.q_proj": "self_attn.k_proj"}, "do not fit 6 query and 2 KV heads"),
        ({"self_attn.o_proj": "mlp.down_proj"}, "512 columns where the model's shape needs 192"),
        ({"mlp.up_proj": "self_attn.q_proj"}, "a gate of 512 columns meets 192"),
        ({"mlp.down_proj": "mlp.gate_proj"}, "256 columns where the model's shape needs 512"),
        ({"input_layernorm": "self_attn.q_proj"}, "192 rows where a vector"),
        ({"mlp.down_proj": "input_layernorm"}, "is a vector where a matrix is expected"),
    ],
)
def test_tensors_of_other_shapes_are_refused(replaced: dict[str, str], message: str) -> None:
    with pytest.raises(BadFile, match=message):
        record_block(replaced)


def test_a_missing_tensor_is_named() -> None:
    weights = random_weights("llama", Format.Q4_0)
    del weights.places["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(BadFile, match=r"no tensor model\.layers\.1\.mlp\.up_proj\.weight"):
        FAMILIES["llama"](random_config("llama")).record(weights)


def test_a_norm_of_another_width_is_refused() -> None:
    def wrong(x: Tensor) -> Tensor:
        return Norm(np.ones(100, np.float32), 1e-5)(x)

    with pytest.raises(BadFile, match="a norm of 100 weights meets 256 columns"):
        lowered(wrong)


def test_mathematics_without_an_operation_are_refused() -> None:
    def double(x: Tensor) -> Tensor:
        return x + x

    with pytest.raises(UnsupportedModel, match="add in place of a value that is still needed"):
        lowered(double)
    with pytest.raises(UnsupportedModel, match="only what silu"):
        lowered(lambda x: x * x)


def test_a_bias_of_another_length_is_refused() -> None:
    weights = random_weights("llama", Format.Q4_0)
    name = "model.layers.0.self_attn.q_proj.weight"
    bias = np.zeros(7, np.float32)
    with pytest.raises(BadFile, match="has 7 elements"):
        lowered(Linear(name, weights.matrix(name), bias))


def test_an_attention_says_what_is_special_about_it() -> None:
    config, weights = random_config("llama"), random_weights("llama", Format.Q4_0)
    layer = Layer(weights, config, 0)

    def attention(how: AttentionKind) -> str:
        def record(x: Tensor) -> Tensor:
            q, k, v = (layer.linear(f"self_attn.{name}_proj")(x) for name in "qkv")
            return attend(q, k, v, config, how)

        return lowered(record)

    kind = AttentionKind(window=9, chunk=40, softcap=30.0, scale=0.5, sinks=np.zeros(6, np.float32))
    words = ", the last 9 positions, its chunk of 40 positions, scores up to 30, with sinks"
    assert words in attention(kind)
    assert "positions" not in attention(AttentionKind())
    with pytest.raises(BadFile, match="6 attention heads cannot have 5 sinks"):
        attention(AttentionKind(sinks=np.zeros(5, np.float32)))


def test_gates_are_named() -> None:
    weights = random_weights("llama", Format.Q4_0)
    layer = Layer(weights, random_config("llama"), 0)

    def network(x: Tensor) -> Tensor:
        gate, up = (layer.linear(f"mlp.{name}_proj")(x) for name in ("gate", "up"))
        return gelu_tanh(gate) * up

    assert "gelu_tanh(b" in lowered(network)


def lowered(function: Callable[[Tensor], Tensor]) -> str:
    """Records a function of the embedding and lowers it."""
    weights = random_weights("llama", Format.Q4_0)
    recorder = Recorder()
    function(embed(recorder, weights.matrix("model.embed_tokens.weight")))
    recorder.end_segment("all")
    return "\n".join(lower(recorder, SHAPE, native.Pool(1)).listing)
