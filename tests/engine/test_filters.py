"""Each filter against a plain definition over sorted probabilities, and draws against counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tests.engine.sampling import candidates, draws
from wazn.engine.defaults import Sampling

Logits = NDArray[np.float32]

# Integers give many ties, which is where filters go wrong.
logit_rows = arrays.arrays(np.float32, st.integers(1, 40), elements=st.integers(-6, 6).map(float))


def support(logits: Logits, sampling: Sampling) -> set[int]:
    """The ids that can be drawn."""
    return set(candidates(logits, sampling)[0].tolist())


def softmax(logits: Logits) -> NDArray[np.float64]:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


def ranked(logits: Logits) -> list[int]:
    """Ids from likeliest to least likely, lowest id first among equals."""
    return sorted(range(len(logits)), key=lambda i: (-logits[i], i))


def shortest_prefix(order: list[int], probabilities: NDArray[np.float64], mass: float) -> set[int]:
    total, kept = 0.0, set()
    for i in order:
        kept.add(i)
        total += probabilities[i]
        if total >= mass - 1e-12:
            break
    return kept


@given(logit_rows, st.integers(1, 45))
def test_top_k_keeps_the_likeliest_and_ties_with_the_last(logits: Logits, k: int) -> None:
    least = sorted(logits, reverse=True)[min(k, len(logits)) - 1]
    kept = {i for i in range(len(logits)) if logits[i] >= least}
    assert support(logits, Sampling(top_k=k)) == kept


@given(logit_rows, st.sampled_from([0.0, 0.1, 0.35, 0.9, 0.99]))
def test_top_p_keeps_the_shortest_run_that_reaches_the_mass(logits: Logits, mass: float) -> None:
    kept = shortest_prefix(ranked(logits), softmax(logits), mass)
    found = support(logits, Sampling(top_p=mass))
    # float32 weights may decide a tie with the border itself either way by one id.
    order = ranked(logits)
    assert found in [set(order[: len(kept) + spare]) for spare in (-1, 0, 1)]


@given(logit_rows, st.sampled_from([0.001, 0.1, 0.5, 1.0]))
def test_min_p_keeps_what_is_near_the_likeliest(logits: Logits, share: float) -> None:
    gaps = logits - logits.max()
    kept = {i for i in range(len(logits)) if gaps[i] >= np.log(share) - 1e-6}
    assert support(logits, Sampling(min_p=share)) == kept


@given(logit_rows, st.sampled_from([0.2, 0.5, 0.9]))
def test_typical_p_keeps_what_is_nearest_the_entropy(logits: Logits, mass: float) -> None:
    probabilities = softmax(logits)
    surprise = -np.log(probabilities)
    entropy = float((probabilities * surprise).sum())
    distances = np.round(np.abs(surprise - entropy), 5)
    order = sorted(range(len(logits)), key=lambda i: (distances[i], i))
    found = support(logits, Sampling(typical_p=mass))
    kept = shortest_prefix(order, probabilities, mass)
    border = max(distances[i] for i in kept)
    assert all(distances[i] <= border + 1e-4 for i in found)
    assert {i for i in kept if distances[i] < border - 1e-4} <= found


def test_filters_apply_in_the_documented_order() -> None:
    # Probabilities 0.5, 0.3, 0.1, 0.1: of the top two, 0.5 is 62%, so top_p=0.6 keeps it alone;
    # of all four, top_p=0.6 would keep two.
    logits = np.log(np.array([0.5, 0.3, 0.1, 0.1], dtype=np.float32))
    assert support(logits, Sampling(top_p=0.6)) == {0, 1}
    assert support(logits, Sampling(top_k=2, top_p=0.6)) == {0}
    # The temperature comes first: flattened, 0.5 is only 31% and 0.3 is 27%.
    assert support(logits, Sampling(temperature=4, top_p=0.6)) == {0, 1, 2}
    assert support(logits, Sampling(temperature=4, top_p=0.3)) == {0}


FILTERS = [
    Sampling(),
    Sampling(top_k=7),
    Sampling(top_p=0.8),
    Sampling(min_p=0.05),
    Sampling(typical_p=0.8),
    Sampling(temperature=0.5, top_k=30, typical_p=0.95, top_p=0.9, min_p=0.01),
]


@pytest.mark.parametrize("sampling", FILTERS)
@pytest.mark.parametrize("size", [5, 64, 65, 3000])
def test_draws_follow_the_distribution(sampling: Sampling, size: int) -> None:
    logits = np.full(size, -40, dtype=np.float32)
    chosen = np.linspace(0, size - 1, 5).astype(int)
    logits[chosen] = np.log([0.1, 0.2, 0.3, 0.25, 0.15])
    ids, weights = candidates(logits, sampling)
    expected = np.bincount(ids, weights, size)[chosen] / weights.sum(dtype=np.float64) * 4000
    counts = np.bincount(draws(logits, sampling, 4000, seed=12), minlength=size)[chosen]
    assert counts.sum() == 4000
    assert (counts[expected == 0] == 0).all()
    kept = expected > 0
    # Chi-squared with 4 degrees of freedom exceeds 18.5 once in a thousand; the seed is fixed.
    assert ((counts - expected)[kept] ** 2 / expected[kept]).sum() < 18.5


def test_draws_without_filters_follow_a_wide_distribution() -> None:
    logits = np.random.default_rng(5).standard_normal(2000, dtype=np.float32)
    found = draws(logits, Sampling(temperature=0.8), 20_000, seed=2)
    probabilities = np.array([part.sum() for part in np.split(softmax(logits / 0.8), 20)])
    counts, expected = np.bincount(found // 100, minlength=20), probabilities * 20_000
    # Chi-squared with 19 degrees of freedom exceeds 43.8 once in a thousand; the seed is fixed.
    assert ((counts - expected) ** 2 / expected).sum() < 43.8


@given(logit_rows, st.integers(0, 2**32), st.sampled_from([1e-30, 0.3, 1.0, 100.0]))
@settings(max_examples=50)
def test_any_draw_is_an_id_of_some_weight(logits: Logits, seed: int, heat: float) -> None:
    barred = np.concatenate([[-np.inf], logits, [-np.inf]]).astype(np.float32)
    extras: list[dict[str, float]] = [
        {},
        {"top_k": 3},
        {"top_p": 0.7},
        {"typical_p": 0.7},
        {"min_p": 0.2},
    ]
    for extra in extras:
        sampling = Sampling(temperature=heat, **extra)  # type: ignore[arg-type]  # top_k is whole
        found = draws(barred, sampling, 5, seed)
        assert ((0 < found) & (found <= len(logits))).all()


@pytest.mark.parametrize("mass", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_flat_distribution_passes_every_filter(size: int, mass: float) -> None:
    flat = np.full(size, 3, dtype=np.float32)
    kept = max(1, int(np.ceil(mass * size - 1e-9)))
    assert len(support(flat, Sampling(top_p=mass))) == pytest.approx(kept, abs=1)
    assert len(support(flat, Sampling(typical_p=mass))) == pytest.approx(kept, abs=1)
    assert len(support(flat, Sampling(min_p=1))) == size


def test_a_colder_distribution_is_drawn_nearer_its_peak() -> None:
    logits = np.array([0, 1, 2, 3], dtype=np.float32)
    shares = [np.mean(draws(logits, Sampling(heat), 1000) == 3) for heat in (0.2, 1.0, 5.0)]
    assert shares[0] > shares[1] > shares[2] > 0.25
