"""The operations that model files are written in; each records one node (see recorder).

Shapes in comments are (tokens, columns). Formulas: RMSNorm (Zhang and Sennrich 2019), rotary
embedding (Su 2021), SwiGLU (Shazeer 2020), grouped-query attention (Ainslie 2023), mixture of
experts (Shazeer 2017).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.errors import BadFile, MissingTensor
from wazn.models.attention import PLAIN, AttentionKind
from wazn.models.config import Config
from wazn.models.expert_config import ExpertConfig
from wazn.models.latent import LayerNorm, PerHead
from wazn.models.recorder import (
    LOGITS,
    SILU,
    Choice,
    ExpertBiases,
    ExpertNetworks,
    ExpertWeights,
    Gate,
    Recorder,
    Rotation,
    Tensor,
)
from wazn.weights.packed import PackedWeights


class Linear:
    """y = W x (+ b), W of shape (out, in)."""

    def __init__(self, name: str, weight: native.Weight, bias: NDArray[np.float32] | None) -> None:
        self._name = name
        self._weight = weight
        self._bias = bias

    def __call__(self, x: Tensor, to_logits: bool = False) -> Tensor:
        if x.columns != self._weight.columns:
            raise BadFile(
                f"tensor {self._name} has {self._weight.columns} columns where the model's "
                f"shape needs {x.columns}"
            )
        if self._bias is not None and len(self._bias) != self._weight.rows:
            raise BadFile(f"the bias of {self._name} has {len(self._bias)} elements")
        return x.recorder.node(
            "linear",
            self._weight.rows,
            (x,),
            self._weight,
            self._bias,
            heads=LOGITS if to_logits else 0,
        )


class Norm:
    """RMS norm with a learned weight, over rows or over each head of a row."""

    def __init__(self, weight: NDArray[np.float32], eps: float) -> None:
        self._weight = weight
        self._eps = eps

    def __call__(self, x: Tensor, heads: int = 1) -> Tensor:
        return x.recorder.node(
            "norm", x.columns, (x,), vector=self._weight, number=self._eps, heads=heads
        )


class RouterParts(NamedTuple):
    """What a router may have besides its matrix.

    ``logit_bias`` (experts,) is added to the products; ``choice_bias`` (experts,) to the scores,
    for the choice only and not for the weights. ``table`` (vocab * per token,) names the experts
    of each token id in place of a choice.
    """

    logit_bias: NDArray[np.float32] | None = None
    choice_bias: NDArray[np.float32] | None = None
    table: NDArray[np.int32] | None = None


class Router:
    """Scores of W x, W of shape (experts, in); a token goes to the experts with the most of it."""

    def __init__(
        self, name: str, weight: native.Weight, experts: ExpertConfig, parts: RouterParts
    ) -> None:
        if weight.rows != experts.count:
            raise BadFile(
                f"tensor {name} has {weight.rows} rows where the model has {experts.count} experts"
            )
        for bias in parts[:2]:
            if bias is not None and len(bias) != experts.count:
                raise BadFile(f"the bias of {name} has {len(bias)} elements, not {experts.count}")
        self._name = name
        self._weight = weight
        self._bias = parts.choice_bias
        self._choice = Choice(
            experts.per_token,
            experts.normalize,
            experts.scoring,
            experts.groups,
            experts.top_groups,
            experts.sums_two,
            experts.scale,
            parts.table,
            parts.logit_bias,
            experts.least_sum,
            experts.softcap,
            experts.by_logits,
            experts.on_input,
        )

    def __call__(self, x: Tensor) -> Tensor:
        if x.columns != self._weight.columns:
            raise BadFile(
                f"tensor {self._name} has {self._weight.columns} columns where the model's "
                f"shape needs {x.columns}"
            )
        return x.recorder.node(
            "route", self._weight.rows, (x,), self._weight, self._bias, detail=self._choice
        )


class Experts:
    """y = sum over a token's experts e of weight_e * down_e(silu(gate_e x) * (up_e x)), or with
    another gate; each product has a bias if the checkpoint has one."""

    def __init__(
        self, name: str, weights: ExpertWeights, biases: ExpertBiases, experts: ExpertConfig
    ) -> None:
        width, hidden = experts.intermediate_size, weights.gate.columns
        shapes = [(w.count, w.rows, w.columns) for w in weights]
        wanted = (experts.count, width, hidden)
        if shapes != [wanted, wanted, (experts.count, hidden, width)]:
            raise BadFile(
                f"the matrices of {name} have the shapes {', '.join(map(str, shapes))}, which do "
                f"not fit {experts.count} experts of width {width}"
            )
        for bias, weight in zip(biases, weights, strict=True):
            if bias is not None and len(bias) != experts.count * weight.rows:
                raise BadFile(
                    f"the biases of {name} have {len(bias)} elements where {experts.count} experts "
                    f"have {weight.rows} rows each"
                )
        self._name = name
        self._weights = weights
        self._biases = biases

    def __call__(self, x: Tensor, chosen: Tensor, gate: Gate = SILU) -> Tensor:
        if x.columns != self._weights.gate.columns:
            raise BadFile(
                f"{self._name} takes {self._weights.gate.columns} columns where the model's shape "
                f"needs {x.columns}"
            )
        networks = ExpertNetworks(self._weights, self._biases, gate)
        return x.recorder.node("experts", x.columns, (x, chosen), detail=networks)


class Layer:
    """The weights of one decoder layer under their Hugging Face names, found when first used."""

    def __init__(self, weights: PackedWeights, config: Config, index: int) -> None:
        self._weights = weights
        self._config = config
        self.index = index
        self._prefix = f"model.layers.{index}."

    def linear(self, name: str) -> Linear:
        """The projection ``name``, with its bias if the checkpoint has one."""
        full = self._prefix + name
        bias = f"{full}.bias"
        return Linear(
            f"{full}.weight",
            self._weights.matrix(f"{full}.weight"),
            self._weights.vector(bias) if bias in self._weights else None,
        )

    def per_head(self, name: str) -> PerHead:
        """The projection ``name``, one matrix for each head."""
        full = f"{self._prefix}{name}.weight"
        return PerHead(full, self._weights.stack(full))

    def router(self, name: str, table: NDArray[np.int32] | None = None) -> Router:
        """The router ``name`` of the layer's experts, with the biases that the checkpoint has.

        ``table`` (vocab * per token,) names the experts of each token id.
        """
        full = f"{self._prefix}{name}.weight"
        parts = RouterParts(
            self._vector_if_any(f"{name}.bias"),
            self._vector_if_any(f"{name}.e_score_correction_bias"),
            table,
        )
        return Router(full, self._weights.matrix(full), self._experts, parts)

    def experts(self, name: str) -> Experts:
        """The gated networks ``name``, one for each expert, with biases if there are some."""
        full, matrices = self._prefix + name, ("gate", "up", "down")
        stacks = (self._weights.stack(f"{full}.{matrix}_proj.weight") for matrix in matrices)
        biases = (self._vector_if_any(f"{name}.{matrix}_proj.bias") for matrix in matrices)
        return Experts(full, ExpertWeights(*stacks), ExpertBiases(*biases), self._experts)

    @property
    def has_experts(self) -> bool:
        """Whether this is a layer with experts in a model that has some."""
        experts = self._config.experts
        return experts is not None and experts.in_layer(self.index)

    @property
    def _experts(self) -> ExpertConfig:
        assert self._config.experts is not None, "families with experts are opened with them only"
        return self._config.experts

    def norm(self, name: str, eps: float | None = None, offset: float | None = None) -> Norm:
        """The norm ``name``, with the model's epsilon and offset unless the family says others."""
        weight = self._weights.vector(f"{self._prefix}{name}.weight")
        weight = weight + np.float32(self._config.norm_offset if offset is None else offset)
        return Norm(weight, self._config.norm_eps if eps is None else eps)

    def layer_norm(self, name: str, eps: float) -> LayerNorm:
        """The norm ``name`` that has a bias."""
        return LayerNorm(self.vector(f"{name}.weight"), self.vector(f"{name}.bias"), eps)

    def has(self, name: str) -> bool:
        """Whether the checkpoint has the tensor ``name`` here."""
        return self._prefix + name in self._weights

    def require(self, *names: str) -> None:
        """Raises MissingTensor unless the checkpoint has all of these here."""
        for name in names:
            if not self.has(name):
                raise MissingTensor(self._prefix + name)

    def vector(self, name: str) -> NDArray[np.float32]:
        """The tensor ``name`` as a vector."""
        return self._weights.vector(self._prefix + name)

    def _vector_if_any(self, name: str) -> NDArray[np.float32] | None:
        return self.vector(name) if self.has(name) else None


def embed(recorder: Recorder, table: native.Weight) -> Tensor:
    """Rows of the embedding table for the batch's token ids."""
    return recorder.node("embed", table.columns, weight=table)


def rope(x: Tensor, heads: int, rotation: Rotation | None = None) -> Tensor:
    """Rotates each head of x by the angles of its position, whole or as ``rotation`` says."""
    if rotation is not None and (x.columns % heads or x.columns // heads < rotation.width):
        raise BadFile(f"{heads} heads of {x.columns} columns have no {rotation.width} to rotate")
    return x.recorder.node("rope", x.columns, (x,), heads=heads, detail=rotation)


def silu(x: Tensor, limit: float = 0.0) -> Tensor:
    """x * sigmoid(x); only as the gate of a product.

    With a ``limit``, x is no larger, and what it gates is within it on both sides.
    """
    return x.recorder.node("silu", x.columns, (x,), number=limit)


def gelu_tanh(x: Tensor) -> Tensor:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) (Hendrycks and Gimpel 2016); only as
    the gate of a product."""
    return x.recorder.node("gelu_tanh", x.columns, (x,))


def scaled(x: Tensor, factor: float, cap: float = 0.0) -> Tensor:
    """factor * x, or with a cap cap * tanh(factor * x / cap) (Bello 2017)."""
    heads = LOGITS if x.heads == LOGITS else 0
    return x.recorder.node("scale", x.columns, (x,), number=factor, heads=heads, detail=float(cap))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x) of one column; only as the gate of what is added to a residual."""
    return x.recorder.node("sigmoid", x.columns, (x,))


def attend(
    query: Tensor, key: Tensor, value: Tensor, config: Config, how: AttentionKind = PLAIN
) -> Tensor:
    """Causal attention of grouped query heads over the KV cache, which gains key and value."""
    expected = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    if (query.columns, key.columns) != expected or value.columns != key.columns:
        raise BadFile(
            f"queries, keys and values of {query.columns}, {key.columns} and {value.columns} "
            f"columns do not fit {config.num_heads} query and {config.num_kv_heads} KV heads of "
            f"{config.head_dim}"
        )
    if how.sinks is not None and len(how.sinks) != config.num_heads:
        raise BadFile(f"{config.num_heads} attention heads cannot have {len(how.sinks)} sinks")
    return query.recorder.node(
        "attend",
        query.columns,
        (query, key, value),
        number=float(config.head_dim) ** -0.5 if how.scale is None else how.scale,
        heads=config.num_heads,
        detail=how,
    )


def wanted_rows(x: Tensor) -> Tensor:
    """The rows whose logits are wanted; everything after works on those only."""
    return x.recorder.node("gather", x.columns, (x,))


def emit(x: Tensor) -> None:
    """Makes x the result of the step."""
    x.recorder.node("emit", x.columns, (x,))
