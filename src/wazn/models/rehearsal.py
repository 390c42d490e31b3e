"""A model recorded on empty weights: whether its tensors suffice, before any of them is packed.

Only names, shapes and number formats count; not one weight is read. It refuses to know what
packing does.
"""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter

from wazn import native
from wazn.errors import BadFile, MissingTensor, WaznError
from wazn.models.checkpoint import FAMILIES, Checkpoint
from wazn.models.decoder import Decoder
from wazn.weights.packed import PackedWeights
from wazn.weights.quoting import quoted


def empty_weights(checkpoint: Checkpoint) -> PackedWeights:
    """What packing would give, on memory that is reserved and never touched.

    All tensors lie at one place, so that it takes no more address space than the largest.
    """
    places = checkpoint.packing.plan()
    size = max((place.num_bytes for place in places.values()), default=0)
    together = {name: replace(place, offset=0) for name, place in places.items()}
    return PackedWeights(native.Memory.allocate(size), together)


def check_tensors(checkpoint: Checkpoint) -> None:
    """Raise BadFile when a tensor that the family needs is missing or has another shape.

    The message for a missing one names it, and the supported family that the tensors do fit.
    """
    weights = empty_weights(checkpoint)
    try:
        checkpoint.decoder.record(weights)
    except MissingTensor as error:
        name, family = error.tensor, checkpoint.config.family
        stored = checkpoint.unread.get(name)
        fact = (
            "is missing"
            if stored is None
            else f"is of type {stored}, and no quantization_config says what it is worth"
        )
        raise BadFile(
            f"{checkpoint.path}: tensor {quoted(name)} {fact}, and the family {family} needs it; "
            f"{_advice(checkpoint, weights)}"
        ) from None
    except BadFile as error:
        raise BadFile(f"{checkpoint.path}: {error}") from None


def _advice(checkpoint: Checkpoint, weights: PackedWeights) -> str:
    fitting = (family for family in FAMILIES if _fits(family, checkpoint, weights))
    nearest = next(fitting, None)
    if nearest is None:
        return (
            f"the nearest supported family is {checkpoint.decoder.gguf_architecture} itself: the "
            "files are incomplete or damaged, fetch them again"
        )
    return (
        f"the nearest supported family is {nearest.gguf_architecture}, which has all its tensors: "
        "the configuration is that of another model, fetch both again"
    )


def _fits(family: type[Decoder], checkpoint: Checkpoint, weights: PackedWeights) -> bool:
    """Whether the mathematics of a family can be recorded on these tensors."""
    config = checkpoint.config
    if family.has_experts != (config.experts is not None):
        return False
    if not all(attrgetter(fact)(config) is not None for fact in family.facts):
        return False
    try:
        family(config).record(weights)
    except WaznError:
        return False
    return True
